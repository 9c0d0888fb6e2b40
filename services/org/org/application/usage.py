"""Adding usage up."""

from datetime import datetime, timedelta

from chassis.data.pagination import decode_token, encode_token, page_limit
from org.domain.errors import UsagePeriodInvalid
from org.repositories.usage import UsageSum
from org.unit_of_work import OrgUnitOfWork

LONGEST_PERIOD = timedelta(days=366)
USUAL_PERIOD = timedelta(days=30)


async def add_up(
    work: OrgUnitOfWork,
    *,
    dimensions: frozenset[str],
    start_time: datetime | None,
    end_time: datetime | None,
    page_size: int,
    page_token: str,
) -> tuple[list[UsageSum], str]:
    """Sum usage of a period by "day", "model", "agent_id" and "user_id"; answers a page and the token of the next.

    Raises UsagePeriodInvalid and PageTokenInvalid.
    """
    filter_key = f"usage:{','.join(sorted(dimensions))}:{start_time}:{end_time}"
    end = end_time or work.now()
    start = start_time or end - USUAL_PERIOD
    if not timedelta(0) < end - start <= LONGEST_PERIOD:
        raise UsagePeriodInvalid()
    limit = page_limit(page_size)
    bound_to = work.page_binding(filter_key, scope=work.organization_id)
    after = _position(page_token, bound_to=bound_to) if page_token else None
    sums = await work.usage.sums(dimensions=dimensions, start_time=start, end_time=end, after=after, limit=limit + 1)
    if len(sums) <= limit:
        return sums, ""
    return sums[:limit], encode_token(bound_to, sums[limit - 1].position)


def _position(page_token: str, *, bound_to: bytes) -> tuple[str, int, str, str, str]:
    day, cost, model, agent_id, user_id = decode_token(page_token, bound_to=bound_to)
    return str(day), int(str(cost)), str(model), str(agent_id), str(user_id)
