"""How much of a conversation goes to the agent with a new message."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HistoryLimits:
    """The most that is given; whatever is older is left out."""

    messages: int
    characters: int


@dataclass(frozen=True)
class Turn:
    """Something said: `role` is "user" or "assistant"."""

    role: str
    text: str


def trim(turns: Sequence[Turn], limits: HistoryLimits) -> list[Turn]:
    """Return the latest turns within the limits, oldest first.

    Turns are kept whole. The first one kept is a person's, since some providers refuse a history that begins with an
    answer.
    """
    kept: list[Turn] = []
    characters = 0
    for turn in reversed(turns[-limits.messages :] if limits.messages else ()):
        characters += len(turn.text)
        if characters > limits.characters:
            break
        kept.append(turn)
    kept.reverse()
    while kept and kept[0].role != "user":
        kept.pop(0)
    return kept
