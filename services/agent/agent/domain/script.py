"""Scripts that tests and demonstrations write into a message for the offline model to follow."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agent.domain.provider import ToolRequest

_FENCE = re.compile(r"^```script[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^/tool[ \t]+([\w.-]+)(?:[ \t]+(.*))?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What the model does when it is asked once: say something, or ask for calls, or fail."""

    say: str = ""
    calls: tuple[ToolRequest, ...] = ()
    fail: str = ""


@dataclass(frozen=True, kw_only=True)
class Script:
    """One turn for each time the model is asked, and the pause before each word, None for the configured one."""

    turns: tuple[Turn, ...] = ()
    delay: timedelta | None = None
    problem: str = ""


def read_script(text: str) -> Script | None:
    """Read the script in a message: a fenced block named script, or lines that begin with /tool. None without one.

    The block holds a list of turns, or an object {"delay_ms": number, "turns": list}. A turn is {"say": text},
    {"tool": name, "arguments": object}, {"calls": list of those}, or {"fail": "unavailable" | "refused"}.
    A block that is not understood gives a script whose `problem` says so.
    """
    if fence := _FENCE.search(text):
        return _read_block(fence[1])
    calls = tuple(Turn(calls=(_line_call(line),)) for line in _LINE.finditer(text))
    return Script(turns=calls) if calls else None


def without_script(text: str) -> str:
    """Return the message without its script."""
    return _LINE.sub("", _FENCE.sub("", text)).strip()


def _line_call(line: re.Match[str]) -> ToolRequest:
    return ToolRequest(name=line[1], arguments=_object_or_none(line[2] or "{}"))


def _object_or_none(text: str) -> Mapping[str, Any] | None:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _read_block(block: str) -> Script:
    try:
        read = json.loads(block)
        whole = read if isinstance(read, dict) else {"turns": read}
        delay = timedelta(milliseconds=float(whole["delay_ms"])) if "delay_ms" in whole else None
        return Script(turns=tuple(_turn(turn) for turn in whole.get("turns", ())), delay=delay)
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        return Script(problem=f"The script was not understood ({type(error).__name__}).")


def _turn(turn: Mapping[str, Any]) -> Turn:
    if "say" in turn:
        return Turn(say=str(turn["say"]))
    if "fail" in turn:
        return Turn(fail=str(turn["fail"]))
    return Turn(calls=tuple(_call(call) for call in turn.get("calls", [turn])))


def _call(call: Mapping[str, Any]) -> ToolRequest:
    arguments = call.get("arguments", {})
    return ToolRequest(name=str(call["tool"]), arguments=arguments if isinstance(arguments, dict) else None)
