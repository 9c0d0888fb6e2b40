"""EventService: the feed as its callers may see it."""

from collections.abc import AsyncIterator, Callable, Mapping
from uuid import UUID

from chassis.data.pagination import decode_token, encode_token, page_limit
from chassis.data.unit_of_work import Acquire
from chassis.rpc.caller import Actor, Caller, current_caller
from chassis.rpc.server import Context
from definable.org.v1.event_service_pb2 import (
    FeedEvent,
    ListEventsRequest,
    ListEventsResponse,
    WatchEventsRequest,
)
from definable.org.v1.event_service_pb2_grpc import EventServiceServicer
from org import convert, models
from org.application import feed
from org.application.feed import WatchFeed
from org.domain.errors import OrganizationNotFound
from org.domain.facts import visibility_of
from org.domain.ports import Bell
from org.domain.roles import ADMIN_RANK
from org.unit_of_work import OrgUnitOfWork


class Events(EventServiceServicer):
    """Answers what happened."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork], bell: Bell, catalogue: Mapping[str, int]) -> None:
        self._acquire = acquire
        self._watch = WatchFeed(acquire, bell)
        self._catalogue = catalogue

    async def ListEvents(self, request: ListEventsRequest, context: Context) -> ListEventsResponse:
        caller = current_caller()
        async with self._acquire() as work:
            bound_to = work.page_binding(f"events:{request.after}:{request.type_prefix}", scope=work.organization_id)
            token = decode_token(request.page_token, bound_to=bound_to) if request.page_token else [request.after]
            page = await feed.page(
                work,
                after=int(str(token[0])),
                type_prefix=request.type_prefix,
                limit=page_limit(request.page_size),
                is_visible=self._visible_to(caller),
            )
            last_seq = await work.feed.last_sequence()
        return ListEventsResponse(
            events=[convert.feed_event(row) for row in page.entries],
            next_page_token=encode_token(bound_to, [page.read_to]) if page.has_more else "",
            last_seq=last_seq,
        )

    async def WatchEvents(self, request: WatchEventsRequest, context: Context) -> AsyncIterator[FeedEvent]:
        caller = current_caller()
        entries = self._watch(
            organization_id=_organization_of(caller),
            actor=Actor.of(caller),
            after=request.after,
            type_prefix=request.type_prefix,
            from_now=request.from_now,
            is_visible=self._visible_to(caller),
        )
        async for entry in entries:
            yield convert.feed_event(entry)

    def _visible_to(self, caller: Caller) -> Callable[[models.FeedEntry], bool]:
        def is_visible(entry: models.FeedEntry) -> bool:
            rule = visibility_of(entry.subject, catalogue=self._catalogue, admin_rank=ADMIN_RANK)
            if caller.may(rule.permission, rule.granted_to):
                return True
            own = rule.owner_permission
            return own is not None and _caused(entry, caller) and caller.may(*own)

        return is_visible


def _caused(entry: models.FeedEntry, caller: Caller) -> bool:
    """Tell whether the caller did it. Who calls for an end user is the key, not the person who made it."""
    if entry.actor == caller.subject:
        return True
    return not caller.end_user and caller.principal_id is not None and entry.principal_id == caller.principal_id


def _organization_of(caller: Caller) -> UUID:
    if caller.organization_id is None:
        raise OrganizationNotFound()
    return caller.organization_id
