"""The kinds of ids that tools are spoken of with."""

from chassis.ids import IdKind

TOOL = IdKind("tool")
EXECUTION = IdKind("exec")
RUN = IdKind("run")
