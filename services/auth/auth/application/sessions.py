"""Sessions and their refresh tokens, inside a unit of work bound to their user."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from auth import models
from auth.domain import ids, refresh
from auth.domain.errors import CredentialRevoked, RefreshTokenInvalid
from auth.domain.refresh import Verdict
from auth.unit_of_work import AuthUnitOfWork
from chassis.ids import ORGANIZATION, USER
from definable.auth.v1.events_pb2 import (
    SESSION_END_CAUSE_LOGGED_OUT,
    SESSION_END_CAUSE_LOGGED_OUT_EVERYWHERE,
    SESSION_END_CAUSE_TOKEN_REUSED,
    OrganizationSwitched,
    SessionEndCause,
    SessionRefreshed,
    SessionRevoked,
    SessionStarted,
)

# A session never comes back, so its revocation may outrun clocks that differ between replicas.
CLOCK_ALLOWANCE = timedelta(seconds=60)


@dataclass(frozen=True)
class Continued:
    """A session that goes on with a new refresh token; `refresh_token` is None when the old one was used before."""

    session_id: UUID
    organization_id: UUID
    refresh_token: str | None


def start(
    work: AuthUnitOfWork, *, organization_id: UUID, client_address: str, refresh_life: timedelta
) -> tuple[models.Session, str]:
    """Start a session of the unit's user; return it with its first refresh token."""
    session = models.Session(id=work.new_id(), client_address=client_address, create_time=work.now())
    work.sessions.add(session)
    token = _start_family(work, session, organization_id=organization_id, refresh_life=refresh_life)
    work.outbox.add(
        SessionStarted(session_id=ids.SESSION.show(session.id), user_id=USER.show(session.user_id)),
        target=ids.SESSION.show(session.id),
        organization_id=organization_id,
    )
    return session, token


async def continue_with(
    work: AuthUnitOfWork, *, token: str, token_id: UUID, pepper: bytes, refresh_life: timedelta
) -> Continued:
    """Exchange a refresh token of the unit's user.

    A reuse ends the session and gives no token: the caller refuses after the commit. Raises RefreshTokenInvalid.
    """
    found = await work.refresh_tokens.get(token_id)
    if found is None:
        raise RefreshTokenInvalid
    session = await work.sessions.locked(found.session_id)
    if session is None or session.end_time is not None:
        raise RefreshTokenInvalid
    await work.session.refresh(found)  # what was read before the lock may be stale
    verdict = refresh.judge(used_time=found.used_time, expire_time=found.expire_time, now=work.now())
    if verdict is Verdict.EXPIRED:
        raise RefreshTokenInvalid
    if verdict is Verdict.REUSED:
        await _end(work, session, SESSION_END_CAUSE_TOKEN_REUSED, found.organization_id)
        return Continued(session_id=session.id, organization_id=found.organization_id, refresh_token=None)
    if verdict is Verdict.ROTATE:
        _rotate(work, found, token=token, pepper=pepper, refresh_life=refresh_life)
    if found.child_id is None:
        raise RefreshTokenInvalid
    child = refresh.derive_child(token, child_id=found.child_id, pepper=pepper)
    return Continued(session_id=session.id, organization_id=found.organization_id, refresh_token=child)


async def switch(work: AuthUnitOfWork, *, session_id: UUID, from_id: UUID, to_id: UUID, refresh_life: timedelta) -> str:
    """Give the session a refresh family for another organization. Raises CredentialRevoked when it has ended."""
    session = await _alive(work, session_id)
    token = _start_family(work, session, organization_id=to_id, refresh_life=refresh_life)
    work.outbox.add(
        OrganizationSwitched(
            session_id=ids.SESSION.show(session.id),
            user_id=USER.show(session.user_id),
            from_organization_id=ORGANIZATION.show(from_id),
            to_organization_id=ORGANIZATION.show(to_id),
        ),
        target=ids.SESSION.show(session.id),
        organization_id=to_id,
    )
    return token


async def end(work: AuthUnitOfWork, session_id: UUID, *, organization_id: UUID) -> None:
    """Log out of one session, as its user did in an organization. Raises CredentialRevoked when it has ended."""
    await _end(work, await _alive(work, session_id), SESSION_END_CAUSE_LOGGED_OUT, organization_id)


async def end_all(work: AuthUnitOfWork, *, organization_id: UUID) -> int:
    """Log out of every session of the unit's user; return how many there were."""
    alive = await work.sessions.all_alive_locked()
    for session in alive:
        await _end(work, session, SESSION_END_CAUSE_LOGGED_OUT_EVERYWHERE, organization_id)
    return len(alive)


def _start_family(
    work: AuthUnitOfWork, session: models.Session, *, organization_id: UUID, refresh_life: timedelta
) -> str:
    token, family_id = refresh.mint(secrets.token_bytes(32)), work.new_id()
    work.refresh_tokens.add(
        models.RefreshToken(
            id=family_id,
            session_id=session.id,
            family_id=family_id,
            organization_id=organization_id,
            secret_hash=refresh.digest(token),
            create_time=work.now(),
            expire_time=work.now() + refresh_life,
        )
    )
    return token


def _rotate(
    work: AuthUnitOfWork, parent: models.RefreshToken, *, token: str, pepper: bytes, refresh_life: timedelta
) -> None:
    parent.used_time, parent.child_id = work.now(), work.new_id()
    child = refresh.derive_child(token, child_id=parent.child_id, pepper=pepper)
    work.refresh_tokens.add(
        models.RefreshToken(
            id=parent.child_id,
            session_id=parent.session_id,
            family_id=parent.family_id,
            organization_id=parent.organization_id,
            secret_hash=refresh.digest(child),
            create_time=work.now(),
            expire_time=work.now() + refresh_life,
        )
    )
    work.outbox.add(
        SessionRefreshed(session_id=ids.SESSION.show(parent.session_id), user_id=USER.show(parent.user_id)),
        target=ids.SESSION.show(parent.session_id),
        organization_id=parent.organization_id,
    )


async def _alive(work: AuthUnitOfWork, session_id: UUID) -> models.Session:
    session = await work.sessions.locked(session_id)
    if session is None or session.end_time is not None:
        raise CredentialRevoked
    return session


async def _end(
    work: AuthUnitOfWork, session: models.Session, cause: SessionEndCause.ValueType, organization_id: UUID
) -> None:
    session.end_time, session.end_cause = work.now(), SessionEndCause.Name(cause)
    await work.revocations.add(time=_safely_after(work.now()), session_id=session.id)
    work.outbox.add(
        SessionRevoked(session_id=ids.SESSION.show(session.id), user_id=USER.show(session.user_id), cause=cause),
        target=ids.SESSION.show(session.id),
        organization_id=organization_id,
    )


def _safely_after(now: datetime) -> datetime:
    return now + CLOCK_ALLOWANCE
