"""Use cases of tools."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from chassis.data.database import check_etag
from definable.tool.v1.events_pb2 import ToolCreated, ToolDeleted, ToolUpdated
from tool import models
from tool.domain import ids
from tool.domain.builtins import BUILTINS, NAMES, VERSION
from tool.domain.definition import ToolDefinition
from tool.domain.errors import ToolBuiltIn, ToolDisabled, ToolNameTaken, ToolNotFound, ToolVersionNotFound
from tool.unit_of_work import ToolUnitOfWork


@dataclass(frozen=True)
class PinnedTool:
    """A tool at one version, built-in or the organization's."""

    id: UUID
    version: int
    definition: ToolDefinition
    disabled: bool = False


async def create(work: ToolUnitOfWork, definition: ToolDefinition, *, disabled: bool) -> models.Tool:
    """Create a tool with its first version. Raises ToolNameTaken, ToolSchemaInvalid and ToolTemplateInvalid."""
    definition.check()
    await _check_name(work, definition.name)
    tool = models.Tool(
        organization_id=work.organization_id,
        id=work.new_id(),
        name=definition.name,
        disabled=disabled,
        version=1,
        definition=definition.to_json(),
        create_time=work.now(),
        update_time=work.now(),
    )
    work.tools.add(tool)
    await work.session.flush()
    _add_version(work, tool)
    target = ids.TOOL.show(tool.id)
    work.outbox.add(ToolCreated(tool_id=target), target=target, after=_digested(tool))
    return tool


async def get(work: ToolUnitOfWork, tool_id: UUID) -> models.Tool:
    """Return a tool of the organization. Raises ToolNotFound, and ToolBuiltIn for a built-in one."""
    if tool_id in BUILTINS:
        raise ToolBuiltIn(id=ids.TOOL.show(tool_id))
    tool = await work.tools.lock(tool_id)
    if tool is None:
        raise ToolNotFound(id=ids.TOOL.show(tool_id))
    return tool


async def update(
    work: ToolUnitOfWork, tool_id: UUID, *, changes: Mapping[str, Any], disabled: bool | None = None
) -> models.Tool:
    """Change fields of a tool's definition, as a new version when any differs, and enable or disable it.

    Raises ToolNotFound, ToolBuiltIn, ToolNameTaken, ToolSchemaInvalid, ToolTemplateInvalid and, under If-Match,
    EtagMismatch.
    """
    tool = await get(work, tool_id)
    check_etag(tool)
    before = _digested(tool)
    changed = replace(ToolDefinition.from_json(tool.definition), **changes)
    changed.check()
    if changed.name.lower() != tool.name.lower():
        await _check_name(work, changed.name)
    if changed.to_json() != tool.definition:
        tool.name, tool.definition, tool.version = changed.name, changed.to_json(), tool.version + 1
        _add_version(work, tool)
    if disabled is not None:
        tool.disabled = disabled
    tool.update_time = work.now()
    await work.session.flush()
    target = ids.TOOL.show(tool_id)
    work.outbox.add(
        ToolUpdated(tool_id=target, version=tool.version),
        target=target,
        before=before,
        after=_digested(tool),
        revision=tool.revision,
    )
    return tool


async def delete(work: ToolUnitOfWork, tool_id: UUID) -> None:
    """Delete a tool with its versions; executions stay.

    Raises ToolNotFound, ToolBuiltIn and, under If-Match, EtagMismatch.
    """
    tool = await get(work, tool_id)
    check_etag(tool)
    target = ids.TOOL.show(tool_id)
    work.outbox.add(ToolDeleted(tool_id=target), target=target, before=_digested(tool))
    await work.tools.delete(tool)


async def pinned(work: ToolUnitOfWork, tool_id: UUID, version: int = 0) -> PinnedTool:
    """Return a tool at a version, the latest for 0. Raises ToolNotFound and ToolVersionNotFound."""
    if tool_id in BUILTINS:
        return PinnedTool(tool_id, VERSION, BUILTINS[tool_id])
    tool = await work.tools.get(tool_id)
    if tool is None:
        raise ToolNotFound(id=ids.TOOL.show(tool_id))
    if version in (0, tool.version):
        return PinnedTool(tool.id, tool.version, ToolDefinition.from_json(tool.definition), tool.disabled)
    stored = await work.versions.of(tool_id, version)
    if stored is None:
        raise ToolVersionNotFound(id=ids.TOOL.show(tool_id), version=version)
    return PinnedTool(tool.id, version, ToolDefinition.from_json(stored.definition), tool.disabled)


async def pinned_and_enabled(work: ToolUnitOfWork, tool_id: UUID, version: int = 0) -> PinnedTool:
    """Return a tool that may be executed. Raises ToolNotFound, ToolVersionNotFound and ToolDisabled."""
    tool = await pinned(work, tool_id, version)
    if tool.disabled:
        raise ToolDisabled(id=ids.TOOL.show(tool_id))
    return tool


async def _check_name(work: ToolUnitOfWork, name: str) -> None:
    if name.lower() in NAMES or await work.tools.named(name):
        raise ToolNameTaken(name=name)


def _add_version(work: ToolUnitOfWork, tool: models.Tool) -> None:
    work.versions.add(
        models.ToolVersion(
            organization_id=work.organization_id,
            id=work.new_id(),
            tool_id=tool.id,
            version=tool.version,
            definition=tool.definition,
            create_time=work.now(),
        )
    )


def _digested(tool: models.Tool) -> dict[str, object]:
    return {"version": tool.version, "disabled": tool.disabled, "definition": tool.definition}
