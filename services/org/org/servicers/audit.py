"""AuditService."""

from chassis.data.unit_of_work import Acquire
from chassis.rpc.server import Context
from definable.org.v1.audit_service_pb2 import ListAuditEntriesRequest, ListAuditEntriesResponse
from definable.org.v1.audit_service_pb2_grpc import AuditServiceServicer
from org import convert
from org.unit_of_work import OrgUnitOfWork


class Audit(AuditServiceServicer):
    """Answers from the audit log."""

    def __init__(self, acquire: Acquire[OrgUnitOfWork]) -> None:
        self._acquire = acquire

    async def ListAuditEntries(self, request: ListAuditEntriesRequest, context: Context) -> ListAuditEntriesResponse:
        async with self._acquire() as work:
            page = await work.audit.newest_first(
                actor=request.actor,
                subject_prefix=request.subject_prefix,
                target=request.target,
                start_time=convert.moment(request, "start_time"),
                end_time=convert.moment(request, "end_time"),
                page_size=request.page_size,
                page_token=request.page_token,
            )
        shown = [convert.audit_entry(row) for row in page.items]
        return ListAuditEntriesResponse(audit_entries=shown, next_page_token=page.next_page_token)
