"""Acting for somebody: work outside of a call, in jobs and consumers, asks auth for a token of whoever it works for."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from chassis import ids
from chassis.rpc.caller import Actor, CallerKind
from definable.auth.v1.authentication_service_pb2 import MintServiceContextRequest
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub

RENEW_BEFORE = timedelta(seconds=15)
_CAPACITY = 4096

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Acting:
    """In which organization, and for whom, calls are made; without an actor as the process itself."""

    organization_id: UUID | None
    subject: str = ""
    end_user: str = ""


_acting: ContextVar[Acting | None] = ContextVar("acting", default=None)


def acting() -> Acting | None:
    """Return for whom calls of this task are made, None when they go in the name of the call being answered."""
    return _acting.get()


@asynccontextmanager
async def acting_for(organization_id: UUID, actor: Actor) -> AsyncIterator[None]:
    """Make calls inside the block in the name of an actor, with the rights that the actor has then.

    Nothing is asked before the first call. That raises RemoteError with ACTOR_RIGHTS_LOST when the actor may no more.
    """
    subject = "" if actor.kind == CallerKind.SERVICE else actor.subject
    with_actor = Acting(organization_id, subject, actor.end_user or "")
    async with _set(with_actor):
        yield


@asynccontextmanager
async def as_service(organization_id: UUID | None = None) -> AsyncIterator[None]:
    """Make calls inside the block as this process, in an organization or outside any."""
    async with _set(Acting(organization_id)):
        yield


@asynccontextmanager
async def _set(value: Acting) -> AsyncIterator[None]:
    before = _acting.get()
    _acting.set(value)
    try:
        yield
    finally:
        # Not by token: an async generator may be closed in another context than it was started in.
        _acting.set(before)


class Tokens(Protocol):
    """Where tokens to act with come from."""

    async def token(self, wanted: Acting) -> str:
        """Return a token that is valid for a while. Raises FleetError when there is none."""
        ...

    def forget(self, wanted: Acting) -> None:
        """Drop what is kept: it was refused."""
        ...


class RemoteTokens:
    """Asks auth, and keeps each token until 15 seconds before its end."""

    def __init__(self, stub: Callable[[type[AuthenticationServiceStub]], AuthenticationServiceStub]) -> None:
        self._stub = stub
        self._kept: OrderedDict[Acting, tuple[str, datetime]] = OrderedDict()
        self._asking: dict[Acting, Awaitable[str]] = {}

    async def token(self, wanted: Acting) -> str:
        """Return a token for the actor; many who want the same one at once share one question."""
        kept = self._kept.get(wanted)
        if kept is not None and kept[1] - RENEW_BEFORE > datetime.now(UTC):
            self._kept.move_to_end(wanted)
            return kept[0]
        asking = self._asking.get(wanted)
        if asking is None:
            asking = self._asking[wanted] = asyncio.ensure_future(self._ask(wanted))
        # Shielded: the question is everybody's, and the first who leaves must not take the answer along.
        return await asyncio.shield(asking)

    def forget(self, wanted: Acting) -> None:
        """Drop the token that is kept."""
        self._kept.pop(wanted, None)

    async def _ask(self, wanted: Acting) -> str:
        try:
            organization = ids.ORGANIZATION.show(wanted.organization_id) if wanted.organization_id else ""
            answer = await self._stub(AuthenticationServiceStub).MintServiceContext(
                MintServiceContextRequest(
                    organization_id=organization, actor_subject=wanted.subject, end_user=wanted.end_user
                )
            )
            self._kept[wanted] = (answer.context_token, answer.expire_time.ToDatetime(UTC))
            if len(self._kept) > _CAPACITY:
                self._kept.popitem(last=False)
            return answer.context_token
        finally:
            self._asking.pop(wanted, None)
