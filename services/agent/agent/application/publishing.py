"""Publishing: the draft is checked against kb and tool while no transaction is open, then frozen."""

from uuid import UUID

from agent.application import agents
from agent.application.run_loop import ActingFor
from agent.domain.definition import Definition
from agent.domain.errors import AgentDefinitionInvalid, ModelNotFound
from agent.domain.models import ModelCatalogue
from agent.domain.ports import Knowledge, Tools
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.unit_of_work import Acquire
from chassis.errors import Code, FleetError, Violation
from chassis.rpc.caller import Actor


class PublishAgent:
    """Publishes an agent's draft."""

    def __init__(
        self,
        acquire: Acquire[AgentUnitOfWork],
        *,
        models: ModelCatalogue,
        knowledge: Knowledge,
        tools: Tools,
        acting_for: ActingFor,
    ) -> None:
        self._acquire = acquire
        self._models = models
        self._knowledge = knowledge
        self._tools = tools
        self._acting_for = acting_for

    async def check(self, agent_id: UUID) -> Definition:
        """Read the draft and check that what it names exists for the caller.

        Raises AgentNotFound, AgentDefinitionInvalid with all violations, and what kb and tool raise when they are away.
        """
        async with self._acquire() as work:
            agent = await agents.get(work, agent_id)
            definition = Definition.from_json(agent.definition)
            organization_id, actor = work.organization_id, work.actor
        violations = await self._violations(definition, organization_id, actor)
        if violations:
            raise AgentDefinitionInvalid(violations=violations)
        return definition

    async def _violations(self, definition: Definition, organization_id: UUID, actor: Actor) -> list[Violation]:
        found = self._unknown_model(definition)
        if definition.knowledge_base_ids or definition.tools:
            async with self._acting_for(organization_id, actor):
                found += await self._unknown_knowledge(definition)
                found += await self._unknown_tools(definition)
        return found

    def _unknown_model(self, definition: Definition) -> list[Violation]:
        try:
            self._models.find(definition.model)
        except ModelNotFound:
            return [Violation("definition.model", "no model of this id is configured", "exists")]
        return []

    async def _unknown_knowledge(self, definition: Definition) -> list[Violation]:
        unknown = await self._knowledge.unknown(definition.knowledge_base_ids)
        return [
            Violation(f"definition.knowledge_base_ids[{position}]", "there is no such knowledge base", "exists")
            for position, base in enumerate(definition.knowledge_base_ids)
            if base in unknown
        ]

    async def _unknown_tools(self, definition: Definition) -> list[Violation]:
        """Find the tools that are unknown; tool names one a call, so the others are asked for again."""
        wanted, found = [tool.tool_id for tool in definition.tools], list[Violation]()
        while wanted:
            try:
                await self._tools.describe(wanted)
            except FleetError as error:
                if error.code is not Code.NOT_FOUND and error.code is not Code.INVALID_ARGUMENT:
                    raise
                unknown = error.metadata.get("id", "") or error.metadata.get("tool_id", "")
                found.append(_unknown_tool(definition, unknown))
                if unknown not in wanted:
                    break
                wanted.remove(unknown)
            else:
                break
        return found


def _unknown_tool(definition: Definition, tool_id: str) -> Violation:
    listed = [tool.tool_id for tool in definition.tools]
    where = f"definition.tools[{listed.index(tool_id)}].tool_id" if tool_id in listed else "definition.tools"
    return Violation(where, "there is no such tool", "exists")
