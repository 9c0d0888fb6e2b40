"""Numbers as letters and digits: what secrets are written in, so that a double click selects them whole."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS = frozenset(_ALPHABET)


def encode(number: int, *, length: int) -> str:
    """Write a number with exactly `length` characters; what doesn't fit is cut off at the high end."""
    letters = []
    for _ in range(length):
        number, rest = divmod(number, 62)
        letters.append(_ALPHABET[rest])
    return "".join(reversed(letters))


def is_base62(text: str) -> bool:
    """Say whether the text has only letters and digits of ASCII."""
    return _LETTERS.issuperset(text)
