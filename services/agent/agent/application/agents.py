"""Agents: drafts that people edit, versions that never change."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agent.domain import ids
from agent.domain.definition import Definition, violations_of
from agent.domain.errors import AgentDefinitionInvalid, AgentNameTaken, AgentNotFound, AgentVersionNotFound
from agent.models import Agent, AgentVersion
from agent.unit_of_work import AgentUnitOfWork
from chassis.data.database import check_etag
from chassis.errors import ValidationFailed, Violation
from definable.agent.v1.events_pb2 import AgentCreated, AgentDeleted, AgentPublished, AgentUpdated


@dataclass(frozen=True, kw_only=True)
class Change:
    """New values of an agent; None leaves one as it is."""

    display_name: str | None = None
    description: str | None = None
    definition: Definition | None = None


async def create(work: AgentUnitOfWork, *, display_name: str, description: str, definition: Definition) -> Agent:
    """Create an agent and announce it. Raises AgentNameTaken, AgentDefinitionInvalid."""
    _check(definition)
    await _check_name(work, display_name)
    agent = Agent(
        id=work.new_id(),
        display_name=display_name,
        description=description,
        definition=definition.as_json(),
        creator=work.actor.subject,
        published_version=0,
        create_time=work.now(),
        update_time=work.now(),
    )
    work.agents.add(agent)
    await work.session.flush()
    shown = ids.AGENT.show(agent.id)
    work.outbox.add(AgentCreated(agent_id=shown), target=shown, after=digested(agent), revision=agent.revision)
    return agent


async def get(work: AgentUnitOfWork, agent_id: UUID) -> Agent:
    """Return an agent. Raises AgentNotFound."""
    agent = await work.agents.get(agent_id)
    if agent is None:
        raise AgentNotFound
    return agent


async def update(work: AgentUnitOfWork, agent_id: UUID, change: Change) -> Agent:
    """Change an agent that is as the caller read it.

    Raises AgentNotFound, EtagMismatch, AgentNameTaken, AgentDefinitionInvalid.
    """
    agent = await _locked(work, agent_id)
    before = digested(agent)
    if change.display_name is not None:
        await _rename(work, agent, change.display_name)
    if change.description is not None:
        agent.description = change.description
    if change.definition is not None:
        _check(change.definition)
        agent.definition = change.definition.as_json()
    agent.update_time = work.now()
    await work.session.flush()
    shown = ids.AGENT.show(agent.id)
    work.outbox.add(
        AgentUpdated(agent_id=shown), target=shown, before=before, after=digested(agent), revision=agent.revision
    )
    return agent


async def delete(work: AgentUnitOfWork, agent_id: UUID) -> None:
    """Delete an agent and its versions. Raises AgentNotFound, EtagMismatch."""
    agent = await _locked(work, agent_id)
    shown = ids.AGENT.show(agent.id)
    work.outbox.add(AgentDeleted(agent_id=shown), target=shown, before=digested(agent), revision=agent.revision + 1)
    await work.agents.delete(agent)
    await work.session.flush()


async def publish(work: AgentUnitOfWork, agent_id: UUID, *, checked: Definition, note: str) -> AgentVersion:
    """Freeze the draft that was checked as the next version.

    Raises AgentNotFound, EtagMismatch, and AgentDefinitionInvalid when the draft was changed since the check.
    """
    agent = await _locked(work, agent_id)
    if Definition.from_json(agent.definition) != checked:
        changed = Violation(
            field="definition", description="was changed while it was checked; try again", rule="stable"
        )
        raise AgentDefinitionInvalid(violations=[changed])
    agent.published_version += 1
    agent.update_time = work.now()
    version = AgentVersion(
        id=work.new_id(),
        agent_id=agent.id,
        version=agent.published_version,
        definition=agent.definition,
        note=note,
        creator=work.actor.subject,
        create_time=work.now(),
    )
    work.agent_versions.add(version)
    await work.session.flush()
    shown = ids.AGENT.show(agent.id)
    published = AgentPublished(agent_id=shown, version=version.version)
    work.outbox.add(published, target=shown, after=digested(agent), revision=agent.revision)
    return version


async def get_version(work: AgentUnitOfWork, agent_id: UUID, version: int) -> AgentVersion:
    """Return a version. Raises AgentNotFound, AgentVersionNotFound."""
    agent = await get(work, agent_id)
    found = await work.agent_versions.numbered(agent.id, version)
    if found is None:
        raise AgentVersionNotFound(version=version)
    return found


def digested(agent: Agent) -> dict[str, Any]:
    """Return what the audit's digests are of."""
    return {
        "display_name": agent.display_name,
        "description": agent.description,
        "definition": agent.definition,
        "published_version": agent.published_version,
    }


def _check(definition: Definition) -> None:
    if violations := violations_of(definition):
        raise AgentDefinitionInvalid(violations=violations)


async def _check_name(work: AgentUnitOfWork, display_name: str) -> None:
    if await work.agents.named(display_name):
        raise AgentNameTaken


async def _rename(work: AgentUnitOfWork, agent: Agent, display_name: str) -> None:
    if not display_name:
        raise ValidationFailed([Violation("agent.display_name", "must not be empty", "string.min_len")])
    if display_name.lower() != agent.display_name.lower():
        await _check_name(work, display_name)
    agent.display_name = display_name


async def _locked(work: AgentUnitOfWork, agent_id: UUID) -> Agent:
    agent = await work.agents.locked(agent_id)
    if agent is None:
        raise AgentNotFound
    check_etag(agent)
    return agent
