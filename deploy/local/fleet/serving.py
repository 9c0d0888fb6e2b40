"""All parts in one process, each on its own port, by the same code as in processes of their own."""

import asyncio
import signal
from collections.abc import Callable, Mapping

import uvloop

import agent.main
import auth.main
import conversation.main
import kb.main
import org.main
import tool.main
from chassis.service import Service
from chassis.settings import load
from fleet.preparing import SETTINGS
from gateway.main import Gateway
from gateway.settings import GatewaySettings

BUILDERS: Mapping[str, Callable[..., Service]] = {
    "auth": auth.main.build,
    "org": org.main.build,
    "kb": kb.main.build,
    "conversation": conversation.main.build,
    "agent": agent.main.build,
    "tool": tool.main.build,
}
