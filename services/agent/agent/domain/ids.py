"""Kinds of ids that this service shows or reads."""

from chassis.ids import USER, IdKind

AGENT = IdKind("agent")
AGENT_VERSION = IdKind("agentver")
RUN = IdKind("run")
CONVERSATION = IdKind("conv")
MESSAGE = IdKind("msg")
KNOWLEDGE_BASE = IdKind("kb")
TOOL = IdKind("tool")

__all__ = ["AGENT", "AGENT_VERSION", "CONVERSATION", "KNOWLEDGE_BASE", "MESSAGE", "RUN", "TOOL", "USER"]
