"""What auth is made of."""

from dataclasses import dataclass

from auth.adapters.access_tokens import IssuerAccessTokens
from auth.adapters.context_tokens import IssuerContextTokens, OwnFleetKeys
from auth.adapters.fleet import AuthAuthenticator, OwnRevocations, OwnTokens
from auth.adapters.org import OrgMemberships
from auth.adapters.passwords import Argon2Passwords
from auth.adapters.trust import TrustFolder
from auth.application.accounts import LogIn, Provisioning, RefreshSession, SignUp, SwitchOrganization
from auth.application.authentication import Authenticate, MintServiceContext
from auth.application.issuer import KeyRing
from auth.application.key_usage import KeyUsage
from auth.application.purge import Purge
from auth.application.revocations import RevocationFeed
from auth.application.rights import RightsDirectory
from auth.application.throttling import Throttling
from auth.consumers import MembershipChanged
from auth.jobs import ProvisionOrganization
from auth.servicers.account import Accounts
from auth.servicers.api_keys import ApiKeys
from auth.servicers.authentication import Authentication
from auth.servicers.key_set import KeySet
from auth.servicers.users import UserDirectory, Users
from auth.settings import AuthSettings
from auth.unit_of_work import AuthUnitOfWork
from chassis.crypto import Sealer, keys_from_settings
from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.rpc.client import Peers
from chassis.rpc.descriptors import catalogue
from chassis.rpc.tokens import ContextTokenVerifier
from chassis.service import Service


@dataclass(frozen=True)
class Parts:
    """What several parts of auth are made from."""

    settings: AuthSettings
    acquire: Acquire[AuthUnitOfWork]
    keys: KeyRing
    access_tokens: IssuerAccessTokens
    context_tokens: IssuerContextTokens
    org: OrgMemberships
    provision: Provisioning
    rights: RightsDirectory
    usage: KeyUsage
    revocations: RevocationFeed


def build(settings: AuthSettings) -> Service:
    """Wire auth: keys, tokens, org, units of work, servicers."""
    database, acquire, keys = build_key_ring(settings)
    context_tokens = IssuerContextTokens(keys)
    peers = Peers(settings, tokens=OwnTokens(context_tokens))
    org = OrgMemberships(peers)
    parts = Parts(
        settings=settings,
        acquire=acquire,
        keys=keys,
        access_tokens=IssuerAccessTokens(keys, issuer=settings.issuer, life=settings.sessions.access_token_life),
        context_tokens=context_tokens,
        org=org,
        provision=Provisioning(acquire, org),
        rights=RightsDirectory(acquire, org),
        usage=KeyUsage(acquire),
        revocations=RevocationFeed(database, acquire),
    )
    verifier = ContextTokenVerifier(OwnFleetKeys(keys))
    return Service(
        name="auth",
        settings=settings,
        database=database,
        unit_of_work=acquire,
        peers=peers,
        authenticate=AuthAuthenticator(verifier, acquire, TrustFolder(settings.trust.folder)),
        servicers=[
            _accounts(parts),
            Users(acquire, org, catalogue()),
            UserDirectory(acquire),
            ApiKeys(acquire, keys, catalogue()),
            KeySet(keys),
            _authentication(parts),
        ],
        consumers=[MembershipChanged(acquire)],
        jobs=[ProvisionOrganization(parts.provision)],
        background=[
            keys,
            parts.usage,
            parts.revocations,
            OwnRevocations(parts.revocations, verifier.revocations),
            Purge(acquire),
        ],
        readiness=[database.ping, keys.check],
    )


def build_key_ring(settings: AuthSettings) -> tuple[Database, Acquire[AuthUnitOfWork], KeyRing]:
    """Wire the issuer's keys with what they are kept in."""
    database = Database(settings.database, service="auth")
    sealer = Sealer(keys_from_settings(settings.encryption))
    acquire = AuthUnitOfWork.factory(database, sealer=sealer)
    return database, acquire, KeyRing(acquire, sealer)


def _accounts(parts: Parts) -> Accounts:
    settings, acquire = parts.settings, parts.acquire
    hasher = Argon2Passwords(concurrency=settings.passwords.concurrency)
    throttling = Throttling(acquire, parts.keys)
    return Accounts(
        acquire,
        sign_up=SignUp(
            acquire, hasher=hasher, provision=parts.provision, throttling=throttling, limits=settings.throttles
        ),
        log_in=LogIn(
            acquire,
            hasher=hasher,
            provision=parts.provision,
            memberships=parts.org,
            throttling=throttling,
            limits=settings.throttles,
            access_tokens=parts.access_tokens,
            session_settings=settings.sessions,
        ),
        refresh=RefreshSession(
            acquire, keys=parts.keys, access_tokens=parts.access_tokens, session_settings=settings.sessions
        ),
        switch=SwitchOrganization(
            acquire, memberships=parts.org, access_tokens=parts.access_tokens, session_settings=settings.sessions
        ),
    )


def _authentication(parts: Parts) -> Authentication:
    return Authentication(
        authenticate=Authenticate(
            parts.acquire,
            keys=parts.keys,
            rights=parts.rights,
            access_tokens=parts.access_tokens,
            context_tokens=parts.context_tokens,
            usage=parts.usage,
            catalogue=catalogue(),
            default_requests_per_minute=parts.settings.api_key_requests_per_minute,
        ),
        mint=MintServiceContext(
            parts.acquire, rights=parts.rights, context_tokens=parts.context_tokens, catalogue=catalogue()
        ),
        keys=parts.keys,
        revocations=parts.revocations,
    )
