"""The kinds of ids that conversations are spoken of with."""

from chassis.ids import IdKind

CONVERSATION = IdKind("conv")
MESSAGE = IdKind("msg")
AGENT = IdKind("agent")
RUN = IdKind("run")
