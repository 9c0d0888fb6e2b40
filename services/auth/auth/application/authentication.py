"""Turning credentials into context tokens, for clients and for processes of the fleet."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from auth.application.issuer import KeyRing
from auth.application.key_usage import KeyUsage
from auth.application.rights import AUTH, RightsDirectory
from auth.domain import addresses, api_keys, delegation, ids, scopes
from auth.domain.delegation import ActorKind
from auth.domain.errors import (
    ActorRightsLost,
    AddressNotAllowed,
    CredentialInvalid,
    CredentialRevoked,
    DelegationNotAllowed,
)
from auth.domain.scopes import Rights
from auth.domain.tokens import AccessTokens, ContextClaims, ContextToken, ContextTokens
from auth.repositories import FoundApiKey
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import InvalidId, TokenExpired
from chassis.ids import ORGANIZATION, USER, parse_any


class Authenticate:
    """Exchange an access token or an API key for a context token."""

    def __init__(
        self,
        acquire: Acquire[AuthUnitOfWork],
        *,
        keys: KeyRing,
        rights: RightsDirectory,
        access_tokens: AccessTokens,
        context_tokens: ContextTokens,
        usage: KeyUsage,
        catalogue: Mapping[str, int],
        default_requests_per_minute: int,
    ) -> None:
        self._acquire = acquire
        self._keys = keys
        self._rights = rights
        self._access_tokens = access_tokens
        self._context_tokens = context_tokens
        self._usage = usage
        self._catalogue = catalogue
        self._default_requests_per_minute = default_requests_per_minute

    async def __call__(self, *, credential: str, client_address: str) -> ContextToken:
        """Verify the credential and look its rights up.

        The token counts as issued before the look-ups: a revocation during them ends it, too.
        Raises CredentialInvalid, TokenExpired, CredentialRevoked, AddressNotAllowed, DependencyUnavailable.
        """
        now = datetime.now(UTC)
        if api_keys.looks_like_key(credential):
            claims = await self._of_key(credential, client_address=client_address, now=now)
        else:
            claims = await self._of_session(credential, now=now)
        return self._context_tokens.mint(claims, now=now)

    async def _of_session(self, credential: str, *, now: datetime) -> ContextClaims:
        access = self._access_tokens.read(credential, now=now)
        async with self._acquire.as_user(access.user_id) as work:
            session = await work.sessions.get(access.session_id)
        if session is None or session.end_time is not None:
            raise CredentialRevoked
        rights = await self._rights.of(user_id=access.user_id, organization_id=access.organization_id)
        if rights is None:
            raise CredentialRevoked
        return ContextClaims(
            subject=USER.show(access.user_id),
            kind="user",
            organization_id=access.organization_id,
            user_id=access.user_id,
            rights=rights,
            credential_id=ids.SESSION.show(access.session_id),
            expire_time=access.expire_time,
        )

    async def _of_key(self, credential: str, *, client_address: str, now: datetime) -> ContextClaims:
        key = await self._find_key(credential)
        if key.revoke_time is not None:
            raise CredentialRevoked
        if key.expire_time is not None and key.expire_time <= now:
            raise TokenExpired
        if not addresses.is_allowed(client_address, key.allowed_addresses):
            raise AddressNotAllowed
        rights = await self._rights.of(user_id=key.creator_id, organization_id=key.organization_id)
        if rights is None:
            raise CredentialRevoked
        self._usage.note(key.id, now)
        shown = ids.API_KEY.show(key.id)
        return ContextClaims(
            subject=shown,
            kind="api_key",
            organization_id=key.organization_id,
            user_id=key.creator_id,
            rights=Rights(rank=rights.rank, grants=scopes.narrow(rights, key.scopes, self._catalogue)),
            credential_id=shown,
            end_user=key.end_user,
            requests_per_minute=key.requests_per_minute or self._default_requests_per_minute,
            allowed_addresses=tuple(key.allowed_addresses),
            expire_time=key.expire_time,
        )

    async def _find_key(self, credential: str) -> FoundApiKey:
        text = api_keys.parse(credential)
        if text is None:
            raise CredentialInvalid
        digest = text.digest(pepper=self._keys.pepper)
        async with self._acquire.anonymous() as work:
            found = await work.lookups.api_key(public_id=text.public_id, secret_hmac=digest)
        if found is None:
            raise CredentialInvalid
        return found


class MintServiceContext:
    """Give a process of the fleet a token, as itself or for an actor it may act for."""

    def __init__(
        self,
        acquire: Acquire[AuthUnitOfWork],
        *,
        rights: RightsDirectory,
        context_tokens: ContextTokens,
        catalogue: Mapping[str, int],
    ) -> None:
        self._acquire = acquire
        self._rights = rights
        self._context_tokens = context_tokens
        self._catalogue = catalogue

    async def __call__(
        self, *, process: str, organization_id: UUID | None, actor_subject: str, end_user: str
    ) -> ContextToken:
        """Look the actor's rights up and mint.

        Raises DelegationNotAllowed, ActorRightsLost, InvalidId, DependencyUnavailable.
        """
        now = datetime.now(UTC)
        if not actor_subject:
            claims = self._of_process(process, organization_id)
        elif organization_id is None:
            raise InvalidId(field="organization_id", expected=ORGANIZATION.prefix)
        else:
            claims = await self._of_actor(
                process, organization_id, *_parse_actor(actor_subject), end_user=end_user, now=now
            )
        return self._context_tokens.mint(claims, now=now)

    def _of_process(self, process: str, organization_id: UUID | None) -> ContextClaims:
        if not delegation.may_act_as_itself(process):
            raise DelegationNotAllowed(process=process)
        return service_claims(process, organization_id)

    async def _of_actor(
        self, process: str, organization_id: UUID, kind: ActorKind, actor_id: UUID, *, end_user: str, now: datetime
    ) -> ContextClaims:
        if not delegation.may_act_for(process, kind):
            raise DelegationNotAllowed(process=process, actor_kind=kind)
        if kind is ActorKind.USER:
            return ContextClaims(
                subject=USER.show(actor_id),
                kind="user",
                organization_id=organization_id,
                user_id=actor_id,
                rights=await self._member_rights(actor_id, organization_id),
                end_user=end_user,
                service=process,
            )
        return await self._of_key(process, organization_id, actor_id, end_user=end_user, now=now)

    async def _of_key(
        self, process: str, organization_id: UUID, key_id: UUID, *, end_user: str, now: datetime
    ) -> ContextClaims:
        async with self._acquire.as_organization(organization_id, AUTH) as work:
            key = await work.api_keys.get(key_id)
        if key is None or key.revoke_time is not None or (key.expire_time is not None and key.expire_time <= now):
            raise ActorRightsLost
        rights = await self._member_rights(key.creator_id, organization_id)
        return ContextClaims(
            subject=ids.API_KEY.show(key.id),
            kind="api_key",
            organization_id=organization_id,
            user_id=key.creator_id,
            rights=Rights(rank=rights.rank, grants=scopes.narrow(rights, key.scopes, self._catalogue)),
            credential_id=ids.API_KEY.show(key.id),
            end_user=key.end_user or end_user,
            service=process,
            expire_time=key.expire_time,
        )

    async def _member_rights(self, user_id: UUID, organization_id: UUID) -> Rights:
        rights = await self._rights.of(user_id=user_id, organization_id=organization_id)
        if rights is None:
            raise ActorRightsLost
        return rights


def service_claims(process: str, organization_id: UUID | None) -> ContextClaims:
    """Describe a process of the fleet that acts as itself."""
    return ContextClaims(
        subject=f"service:{process}",
        kind="service",
        organization_id=organization_id,
        user_id=None,
        rights=Rights(rank=0, grants=delegation.own_grants(process)),
        service=process,
    )


def _parse_actor(subject: str) -> tuple[ActorKind, UUID]:
    prefix, value = parse_any(subject, field="actor_subject")
    kinds = {USER.prefix: ActorKind.USER, ids.API_KEY.prefix: ActorKind.API_KEY}
    if prefix not in kinds:
        raise InvalidId(field="actor_subject", expected=f"{USER.prefix} or {ids.API_KEY.prefix}")
    return kinds[prefix], value
