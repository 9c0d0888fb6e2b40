"""All SQL of auth."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth import models
from auth.domain.membership import MembershipAnswer
from auth.domain.scopes import Rights
from chassis.data.pagination import Page
from chassis.data.repository import Repository, UserRepository

# Tokens are dated at the start of their look-ups. One that is looked up between the writing of a revocation and its
# commit sees the old state, and has to count as older.
COMMIT_ALLOWANCE = timedelta(milliseconds=20)
REVOCATION_CHANNEL = "auth_revocations"
_REVOCATION_LOCK = "auth.revocations"
_ISSUER_LOCK = "auth.issuer_keys"


class UserRows(UserRepository[models.User]):
    """The user whose id the unit of work is bound to."""

    model = models.User
    scope_column = "id"

    async def own(self) -> models.User | None:
        """Return the user of the unit of work."""
        return await self.first(self.query())


class SessionRows(UserRepository[models.Session]):
    """Sessions of one user."""

    model = models.Session

    async def locked(self, session_id: UUID) -> models.Session | None:
        """Return a session and keep others from changing it until the commit."""
        return await self.first(self.query().where(models.Session.id == session_id).with_for_update())

    async def all_alive_locked(self) -> Sequence[models.Session]:
        """Return every session that has not ended, in the order in which all lock them."""
        alive = self.query().where(models.Session.end_time.is_(None)).order_by(models.Session.id)
        return await self.all(alive.with_for_update())


class RefreshTokenRows(UserRepository[models.RefreshToken]):
    """Refresh tokens of one user."""

    model = models.RefreshToken


class ApiKeyRows(Repository[models.ApiKey]):
    """Keys of one organization."""

    model = models.ApiKey

    async def newest_first(self, *, page_size: int, page_token: str) -> Page[models.ApiKey]:
        """Return a page of keys, the newest first."""
        return await self.page(
            self.query(),
            order=[(models.ApiKey.create_time, "desc"), (models.ApiKey.id, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key="api_keys",
        )


class MembershipAnswerRows(Repository[models.MembershipAnswer]):
    """What org last said about members of one organization."""

    model = models.MembershipAnswer

    async def remember(self, *, user_id: UUID, answer: MembershipAnswer, now: datetime) -> None:
        """Keep an answer, unless a later one is known."""
        values = {
            "rank": answer.rights.rank,
            "grants": list(answer.rights.grants),
            "revision": answer.revision,
            "answer_time": now,
        }
        row = insert(models.MembershipAnswer).values(organization_id=self.organization_id, id=user_id, **values)
        await self.session.execute(
            row.on_conflict_do_update(
                index_elements=[models.MembershipAnswer.organization_id, models.MembershipAnswer.id],
                set_=values,
                where=models.MembershipAnswer.revision <= row.excluded.revision,
            )
        )

    async def recall(self, *, user_id: UUID, since: datetime) -> MembershipAnswer | None:
        """Return an answer that is not older than `since`."""
        row = await self.first(
            self.query().where(models.MembershipAnswer.id == user_id, models.MembershipAnswer.answer_time >= since)
        )
        if row is None:
            return None
        return MembershipAnswer(rights=Rights(rank=row.rank, grants=tuple(row.grants)), revision=row.revision)

    async def forget(self, user_id: UUID) -> None:
        """Drop the answer about a user."""
        await self.session.execute(
            delete(models.MembershipAnswer).where(
                models.MembershipAnswer.organization_id == self.organization_id, models.MembershipAnswer.id == user_id
            )
        )


class FoundUser(NamedTuple):
    """A user found by e-mail address."""

    id: UUID
    password_hash: str | None


class FoundRefreshToken(NamedTuple):
    """Whose refresh token a hash is."""

    user_id: UUID
    id: UUID


class FoundApiKey(NamedTuple):
    """A key found by its secret, with what is needed to use it."""

    organization_id: UUID
    id: UUID
    creator_id: UUID
    scopes: list[str]
    allowed_addresses: list[str]
    requests_per_minute: int
    end_user: str
    expire_time: datetime | None
    revoke_time: datetime | None


class Profile(NamedTuple):
    """What others may know of a user."""

    id: UUID
    display_name: str
    email: str


class Lookups:
    """The few reads across users and organizations: functions of the owner that take a secret and return one row."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def user_by_email(self, email_key: str) -> FoundUser | None:
        """Find a user by address in lower case."""
        row = await self._one("SELECT * FROM auth.find_user_by_email(:email_key)", {"email_key": email_key})
        return None if row is None else FoundUser(*row)

    async def refresh_token(self, secret_hash: bytes) -> FoundRefreshToken | None:
        """Find a refresh token by hash."""
        row = await self._one("SELECT * FROM auth.find_refresh_token(:secret_hash)", {"secret_hash": secret_hash})
        return None if row is None else FoundRefreshToken(*row)

    async def api_key(self, *, public_id: str, secret_hmac: bytes) -> FoundApiKey | None:
        """Find a key by its public part and the digest of its secret."""
        row = await self._one(
            "SELECT * FROM auth.find_api_key(:public_id, :secret_hmac)",
            {"public_id": public_id, "secret_hmac": secret_hmac},
        )
        return None if row is None else FoundApiKey(*row)

    async def profiles(self, user_ids: Sequence[UUID]) -> list[Profile]:
        """Name at most 200 users."""
        rows = await self._session.execute(
            text("SELECT * FROM auth.get_user_profiles(CAST(:ids AS uuid[]))"), {"ids": list(user_ids)}
        )
        return [Profile(*row) for row in rows]

    async def touch_api_keys(self, used: Mapping[UUID, datetime]) -> None:
        """Note when keys were last used, of all organizations at once."""
        await self._session.execute(
            text("SELECT auth.touch_api_keys(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[]))"),
            {"ids": list(used), "times": list(used.values())},
        )

    async def purge(self, now: datetime) -> None:
        """Delete what has been of no use for long: spent tokens, ended sessions, old revocations and counters."""
        await self._session.execute(text("SELECT auth.purge(:now)"), {"now": now})

    async def _one(self, statement: str, values: Mapping[str, object]) -> tuple[Any, ...] | None:  # columns vary
        row = (await self._session.execute(text(statement), values)).one_or_none()
        return None if row is None else tuple(row)


class IssuerKeyRows:
    """Keys of the issuer."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Keep other replicas from creating or rotating keys until the commit."""
        await _lock(self._session, _ISSUER_LOCK)

    async def all_published(self, now: datetime) -> Sequence[models.IssuerKey]:
        """Return the keys that are in use, the oldest first."""
        retired = models.IssuerKey.retire_time
        statement = select(models.IssuerKey).where(retired.is_(None) | (retired > now))
        return (await self._session.scalars(statement.order_by(models.IssuerKey.create_time))).all()

    def add(self, key: models.IssuerKey) -> None:
        """Store a new key."""
        self._session.add(key)


class RevocationRows:
    """Revocations of the whole installation."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        *,
        time: datetime,
        session_id: UUID | None = None,
        api_key_id: UUID | None = None,
        user_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> None:
        """Revoke tokens issued at `time` or before that carry all the ids given.

        Waits for other units that revoke, so that sequences are committed in order and readers can trust them.
        """
        await _lock(self._session, _REVOCATION_LOCK)
        await self._session.execute(
            insert(models.Revocation).values(
                time=time,
                session_id=session_id,
                api_key_id=api_key_id,
                user_id=user_id,
                organization_id=organization_id,
            )
        )
        await self._session.execute(select(func.pg_notify(REVOCATION_CHANNEL, "")))

    async def after(self, sequence: int, *, limit: int) -> Sequence[models.Revocation]:
        """Return revocations that follow a sequence, in order."""
        statement = select(models.Revocation).where(models.Revocation.sequence > sequence)
        return (await self._session.scalars(statement.order_by(models.Revocation.sequence).limit(limit))).all()

    async def last_sequence_before(self, time: datetime) -> int:
        """Return the last sequence written before a time; 0 when there is none."""
        statement = select(func.max(models.Revocation.sequence)).where(models.Revocation.create_time < time)
        return (await self._session.scalar(statement)) or 0


class ThrottleRows:
    """Counters of attempts."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def count(self, *, key: bytes, window: timedelta, now: datetime) -> tuple[int, datetime]:
        """Count one more attempt; return how many there were in this window, and its end."""
        row = insert(models.Throttle).values(key=key, attempts=1, window_end=now + window)
        is_over = models.Throttle.window_end <= now
        counted = row.on_conflict_do_update(
            index_elements=[models.Throttle.key],
            set_={
                "attempts": case((is_over, 1), else_=models.Throttle.attempts + 1),
                "window_end": case((is_over, row.excluded.window_end), else_=models.Throttle.window_end),
            },
        ).returning(models.Throttle.attempts, models.Throttle.window_end)
        attempts, window_end = (await self._session.execute(counted)).one()
        return attempts, window_end

    async def clear(self, key: bytes) -> None:
        """Forget all attempts."""
        await self._session.execute(delete(models.Throttle).where(models.Throttle.key == key))

    async def give_back(self, key: bytes) -> None:
        """Take one attempt back: it did no harm."""
        await self._session.execute(
            update(models.Throttle)
            .where(models.Throttle.key == key, models.Throttle.attempts > 0)
            .values(attempts=models.Throttle.attempts - 1)
        )


class UsedAssertionRows:
    """Assertions that were accepted."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def use(self, *, jti: str, expire_time: datetime) -> bool:
        """Note an assertion; False when it was used before."""
        noted = await self._session.execute(
            insert(models.UsedAssertion)
            .values(jti=jti, expire_time=expire_time)
            .on_conflict_do_nothing()
            .returning(models.UsedAssertion.jti)
        )
        return noted.one_or_none() is not None


async def _lock(session: AsyncSession, name: str) -> None:
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
