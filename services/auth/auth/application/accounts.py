"""Signing up, logging in and going on: use cases that call org or hash passwords between units of work."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from auth import models
from auth.application import sessions
from auth.application.issuer import KeyRing
from auth.application.throttling import Throttling
from auth.domain import refresh
from auth.domain.errors import (
    CredentialsInvalid,
    EmailTaken,
    OrganizationNotFound,
    RefreshTokenInvalid,
    RefreshTokenReused,
)
from auth.domain.membership import Memberships
from auth.domain.passwords import PasswordHasher
from auth.domain.tokens import AccessClaims, AccessTokens
from auth.settings import SessionSettings, ThrottleSettings
from auth.unit_of_work import AuthUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable
from chassis.ids import ORGANIZATION, USER, new_id
from definable.auth.v1.events_pb2 import UserSignedUp

RETRY_PROVISION_AFTER = timedelta(seconds=5)
PROVISION_JOB = "provision_organization"


@dataclass(frozen=True)
class TokenPair:
    """What a client holds after logging in."""

    access_token: str
    expires_in: timedelta
    refresh_token: str
    organization_id: UUID


class Provisioning:
    """Sees to it that a user's first organization exists."""

    def __init__(self, acquire: Acquire[AuthUnitOfWork], memberships: Memberships) -> None:
        self._acquire = acquire
        self._memberships = memberships

    async def __call__(self, user_id: UUID) -> None:
        """Ask org for the organization unless it has confirmed it. Safe to repeat.

        Raises DependencyUnavailable while org is down.
        """
        async with self._acquire.as_user(user_id) as work:
            user = await work.users.own()
        if user is None or user.home_organization_id is None or user.provision_time is not None:
            return
        await self._memberships.provision_organization(
            organization_id=user.home_organization_id,
            owner_id=user.id,
            display_name=user.home_organization_name or user.display_name,
        )
        async with self._acquire.as_user(user_id) as work:
            user = await work.users.own()
            if user is not None and user.provision_time is None:
                user.provision_time = work.now()


class SignUp:
    """Create a user, then their organization."""

    def __init__(
        self,
        acquire: Acquire[AuthUnitOfWork],
        *,
        hasher: PasswordHasher,
        provision: Provisioning,
        throttling: Throttling,
        limits: ThrottleSettings,
    ) -> None:
        self._acquire = acquire
        self._hasher = hasher
        self._provision = provision
        self._throttling = throttling
        self._limits = limits

    async def __call__(
        self, *, email: str, password: str, display_name: str, organization_name: str, client_address: str
    ) -> tuple[models.User, UUID]:
        """Commit the user and a job, then ask org; return the user and their organization.

        Raises EmailTaken, RateLimited, or DependencyUnavailable when org can't answer: the job goes on then.
        """
        await self._throttling.count((self._limits.sign_up, client_address))
        await self._refuse_taken(email)
        password_hash = await self._hasher.hash(password)
        name = display_name or email.partition("@")[0]
        organization_id = new_id()
        user = models.User(
            id=new_id(),
            email=email,
            email_key=email.lower(),
            display_name=name,
            password_hash=password_hash,
            home_organization_id=organization_id,
            home_organization_name=organization_name or f"{name[:85]}'s organization",
        )
        await self._commit(user, organization_id)
        try:
            await self._provision(user.id)
        except DependencyUnavailable as error:
            raise DependencyUnavailable(dependency="org", retry_after=RETRY_PROVISION_AFTER) from error
        return user, organization_id

    async def _refuse_taken(self, email: str) -> None:
        async with self._acquire.anonymous() as work:
            if await work.lookups.user_by_email(email.lower()):
                raise EmailTaken

    async def _commit(self, user: models.User, organization_id: UUID) -> None:
        user_id, organization = USER.show(user.id), ORGANIZATION.show(organization_id)
        async with self._acquire.as_user(user.id) as work:
            user.create_time = user.update_time = work.now()
            work.users.add(user)
            work.outbox.add(
                UserSignedUp(user_id=user_id, organization_id=organization),
                target=user_id,
                organization_id=organization_id,
            )
            # Later than the call below needs, so that the job finds the work done unless the call failed.
            work.jobs.enqueue(
                PROVISION_JOB,
                {"user_id": user_id},
                target=organization,
                run_after=work.now() + RETRY_PROVISION_AFTER,
            )


class LogIn:
    """Exchange a password for a session."""

    def __init__(
        self,
        acquire: Acquire[AuthUnitOfWork],
        *,
        hasher: PasswordHasher,
        provision: Provisioning,
        memberships: Memberships,
        throttling: Throttling,
        limits: ThrottleSettings,
        access_tokens: AccessTokens,
        session_settings: SessionSettings,
    ) -> None:
        self._acquire = acquire
        self._hasher = hasher
        self._provision = provision
        self._memberships = memberships
        self._throttling = throttling
        self._limits = limits
        self._access_tokens = access_tokens
        self._settings = session_settings

    async def __call__(self, *, email: str, password: str, client_address: str) -> tuple[models.User, TokenPair]:
        """Start a session.

        Raises CredentialsInvalid, RateLimited, OrganizationNotFound when the user belongs to none any more,
        DependencyUnavailable while the first organization is being set up.
        """
        account, address = (self._limits.account, email.lower()), (self._limits.address, client_address)
        await self._throttling.count(account, address)
        async with self._acquire.anonymous() as work:
            found = await work.lookups.user_by_email(email.lower())
        is_right = await self._hasher.verify(password, found.password_hash if found else None)
        if found is None or not is_right:
            raise CredentialsInvalid
        await self._throttling.forgive(account=account, address=address)
        await self._provision(found.id)
        organization_id = await self._choose_organization(found.id)
        return await self._start(found.id, organization_id=organization_id, client_address=client_address)

    async def _choose_organization(self, user_id: UUID) -> UUID:
        """Prefer the home organization, take another when the user has left it, trust it while org is down."""
        async with self._acquire.as_user(user_id) as work:
            user = await work.users.own()
            home = user.home_organization_id if user else None
        try:
            own = [membership.organization_id for membership in await self._memberships.list_of_user(user_id)]
        except DependencyUnavailable:
            if home is None:
                raise
            return home
        if not own:
            raise OrganizationNotFound
        return home if home in own and home is not None else own[0]

    async def _start(
        self, user_id: UUID, *, organization_id: UUID, client_address: str
    ) -> tuple[models.User, TokenPair]:
        life = self._settings.refresh_token_life
        async with self._acquire.as_user(user_id) as work:
            user = await work.users.own()
            if user is None:
                raise CredentialsInvalid
            session, refresh_token = sessions.start(
                work, organization_id=organization_id, client_address=client_address, refresh_life=life
            )
            claims = AccessClaims(user_id=user.id, session_id=session.id, organization_id=organization_id)
        return user, pair(self._access_tokens, claims, refresh_token)


class RefreshSession:
    """Exchange a refresh token for a new pair."""

    def __init__(
        self,
        acquire: Acquire[AuthUnitOfWork],
        *,
        keys: KeyRing,
        access_tokens: AccessTokens,
        session_settings: SessionSettings,
    ) -> None:
        self._acquire = acquire
        self._keys = keys
        self._access_tokens = access_tokens
        self._settings = session_settings

    async def __call__(self, refresh_token: str) -> TokenPair:
        """Rotate. Raises RefreshTokenInvalid, or RefreshTokenReused after ending the session."""
        if not refresh.is_well_formed(refresh_token):
            raise RefreshTokenInvalid
        async with self._acquire.anonymous() as work:
            found = await work.lookups.refresh_token(refresh.digest(refresh_token))
        if found is None:
            raise RefreshTokenInvalid
        async with self._acquire.as_user(found.user_id) as work:
            continued = await sessions.continue_with(
                work,
                token=refresh_token,
                token_id=found.id,
                pepper=self._keys.pepper,
                refresh_life=self._settings.refresh_token_life,
            )
        if continued.refresh_token is None:
            raise RefreshTokenReused
        claims = AccessClaims(
            user_id=found.user_id, session_id=continued.session_id, organization_id=continued.organization_id
        )
        return pair(self._access_tokens, claims, continued.refresh_token)


class SwitchOrganization:
    """Give a session tokens for another organization."""

    def __init__(
        self,
        acquire: Acquire[AuthUnitOfWork],
        *,
        memberships: Memberships,
        access_tokens: AccessTokens,
        session_settings: SessionSettings,
    ) -> None:
        self._acquire = acquire
        self._memberships = memberships
        self._access_tokens = access_tokens
        self._settings = session_settings

    async def __call__(self, *, user_id: UUID, session_id: UUID, from_id: UUID, to_id: UUID) -> TokenPair:
        """Check the membership, then start a family.

        Raises OrganizationNotFound, CredentialRevoked, DependencyUnavailable.
        """
        if await self._memberships.resolve(organization_id=to_id, user_id=user_id) is None:
            raise OrganizationNotFound
        async with self._acquire.as_user(user_id) as work:
            token = await sessions.switch(
                work,
                session_id=session_id,
                from_id=from_id,
                to_id=to_id,
                refresh_life=self._settings.refresh_token_life,
            )
        claims = AccessClaims(user_id=user_id, session_id=session_id, organization_id=to_id)
        return pair(self._access_tokens, claims, token)


def pair(access_tokens: AccessTokens, claims: AccessClaims, refresh_token: str) -> TokenPair:
    """Put a fresh access token beside a refresh token."""
    return TokenPair(
        access_token=access_tokens.mint(claims, now=datetime.now(UTC)),
        expires_in=access_tokens.life,
        refresh_token=refresh_token,
        organization_id=claims.organization_id,
    )
