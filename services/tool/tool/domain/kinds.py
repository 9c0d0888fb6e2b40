"""What kinds of tools there are; the names are those of the contract's enums without their prefixes."""

from enum import StrEnum


class Kind(StrEnum):
    """Where a tool comes from."""

    BUILTIN = "BUILTIN"
    HTTP = "HTTP"


class Effect(StrEnum):
    """What a repetition would do."""

    PURE = "PURE"
    IDEMPOTENT = "IDEMPOTENT"
    AT_MOST_ONCE = "AT_MOST_ONCE"


class Policy(StrEnum):
    """Whether agents may call a tool."""

    ALLOW = "ALLOW"
    ASK = "ASK"
    DENY = "DENY"


class ExecutionState(StrEnum):
    """Where an execution stands."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
