"""The title a conversation has until a person gives it another."""

MAX_CHARACTERS = 60


def from_first_message(content: str) -> str:
    """Return the beginning of a message as a title: one line, at most 60 characters, cut between words where it can
    be.
    """
    line = " ".join(content.split())
    if len(line) <= MAX_CHARACTERS:
        return line
    cut = line[: MAX_CHARACTERS - 1]
    words, _, _ = cut.rpartition(" ")
    return f"{words or cut}…"
