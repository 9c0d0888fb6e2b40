"""Bootstrap and migrate every service: roles, schema, tables. Run again, it changes nothing."""

import asyncio
from collections.abc import Mapping

from agent.settings import AgentSettings
from auth.settings import AuthSettings
from chassis.data import migrations
from chassis.settings import ServiceSettings, load
from conversation.settings import ConversationSettings
from kb.settings import KbSettings
from org.settings import OrgSettings
from tool.settings import ToolSettings

SETTINGS: Mapping[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "org": OrgSettings,
    "kb": KbSettings,
    "conversation": ConversationSettings,
    "agent": AgentSettings,
    "tool": ToolSettings,
}


async def prepare() -> None:
    """Bring each service's part of the database up to date, one after the other."""
    for settings_class in SETTINGS.values():
        settings = load(settings_class)
        await migrations.bootstrap(settings)
        await migrations.run(settings)


if __name__ == "__main__":
    asyncio.run(prepare())
