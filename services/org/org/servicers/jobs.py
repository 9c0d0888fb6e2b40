"""JobListService: the jobs of all services. Each service answers for a single job of its own."""

from chassis.data.unit_of_work import Acquire
from chassis.rpc.server import Context
from definable.jobs.v1.job_service_pb2 import JobState
from definable.org.v1.job_list_service_pb2 import ListJobsRequest, ListJobsResponse
from definable.org.v1.job_list_service_pb2_grpc import JobListServiceServicer
from org import convert
from org.unit_of_work import OrgUnitOfWork


class Jobs(JobListServiceServicer):
    """Lists jobs."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork]) -> None:
        self._acquire = acquire

    async def ListJobs(self, request: ListJobsRequest, context: Context) -> ListJobsResponse:
        async with self._acquire() as work:
            page = await work.job_views.newest_first(
                state=JobState.Name(request.state) if request.state else "",
                kind=request.kind,
                service=request.service,
                page_size=request.page_size,
                page_token=request.page_token,
            )
        return ListJobsResponse(jobs=[convert.job(row) for row in page.items], next_page_token=page.next_page_token)
