"""What the tool service is made of."""

from chassis.data.database import Database
from chassis.rpc.client import Peers
from chassis.safe_fetch import SafeFetcher
from chassis.service import Service
from tool.adapters.builtin import BuiltinExecutor
from tool.adapters.http import HttpExecutor
from tool.application.executing import ExecuteTool
from tool.domain.kinds import Kind
from tool.servicers.run_tools import RunTools
from tool.servicers.tools import Tools
from tool.settings import ToolSettings
from tool.unit_of_work import ToolUnitOfWork


def build(settings: ToolSettings) -> Service:
    """Wire tool: units of work, an executor for each kind of tool, servicers."""
    database = Database(settings.database, service="tool")
    acquire = ToolUnitOfWork.factory(database)
    fetcher = SafeFetcher(allow_private=settings.allowed_private_addresses)
    execute = ExecuteTool(
        acquire,
        {
            Kind.BUILTIN: BuiltinExecutor(fetcher, max_page_bytes=settings.fetch_max_bytes),
            Kind.HTTP: HttpExecutor(fetcher),
        },
    )
    return Service(
        name="tool",
        settings=settings,
        database=database,
        unit_of_work=acquire,
        peers=Peers(settings),
        servicers=[Tools(acquire, execute), RunTools(acquire, execute)],
        readiness=[database.ping],
    )
