"""UsageService."""

from chassis.data.unit_of_work import Acquire
from chassis.rpc.server import Context
from definable.org.v1.usage_service_pb2 import ListUsageRequest, ListUsageResponse
from definable.org.v1.usage_service_pb2_grpc import UsageServiceServicer
from org import convert
from org.application import usage
from org.unit_of_work import OrgUnitOfWork


class Usage(UsageServiceServicer):
    """Adds usage up."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork]) -> None:
        self._acquire = acquire

    async def ListUsage(self, request: ListUsageRequest, context: Context) -> ListUsageResponse:
        async with self._acquire() as work:
            sums, token = await usage.add_up(
                work,
                dimensions=convert.dimensions(request.group_by),
                start_time=convert.moment(request, "start_time"),
                end_time=convert.moment(request, "end_time"),
                page_size=request.page_size,
                page_token=request.page_token,
            )
        return ListUsageResponse(usage=[convert.usage_row(row) for row in sums], next_page_token=token)
