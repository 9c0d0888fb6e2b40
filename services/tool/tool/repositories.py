"""All SQL of the tool service, scoped to one organization."""

from uuid import UUID

from sqlalchemy import func

from chassis.data.pagination import Page
from chassis.data.repository import Repository
from tool.models import Execution, Tool, ToolVersion


class ToolRepository(Repository[Tool]):
    """Tools of the organization, without the built-in ones."""

    model = Tool

    async def named(self, name: str) -> Tool | None:
        """Return the tool of that name, compared without case."""
        return await self.first(self.query().where(func.lower(Tool.name) == name.lower()))

    async def lock(self, tool_id: UUID) -> Tool | None:
        """Return a tool and hold its row until the unit ends."""
        return await self.first(self.query().where(Tool.id == tool_id).with_for_update())

    async def page_newest_first(self, *, page_size: int, page_token: str) -> Page[Tool]:
        """Return a page of tools, newest first."""
        return await self.page(
            self.query(),
            order=[(Tool.create_time, "desc"), (Tool.id, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key="tools",
        )


class ToolVersionRepository(Repository[ToolVersion]):
    """Versions of the organization's tools."""

    model = ToolVersion

    async def of(self, tool_id: UUID, version: int) -> ToolVersion | None:
        """Return one version of a tool."""
        return await self.first(self.query().where(ToolVersion.tool_id == tool_id, ToolVersion.version == version))


class ExecutionRepository(Repository[Execution]):
    """Executions of the organization."""

    model = Execution

    async def of_call(self, run_id: UUID, call_id: str) -> Execution | None:
        """Return the execution of a run's call."""
        return await self.first(self.query().where(Execution.run_id == run_id, Execution.call_id == call_id))

    async def page_newest_first(
        self, *, tool_id: UUID | None, run_id: UUID | None, page_size: int, page_token: str
    ) -> Page[Execution]:
        """Return a page of executions, newest first."""
        statement = self.query()
        if tool_id is not None:
            statement = statement.where(Execution.tool_id == tool_id)
        if run_id is not None:
            statement = statement.where(Execution.run_id == run_id)
        return await self.page(
            statement,
            order=[(Execution.create_time, "desc"), (Execution.id, "desc")],
            page_size=page_size,
            page_token=page_token,
            filter_key=f"executions:{tool_id}:{run_id}",
        )
