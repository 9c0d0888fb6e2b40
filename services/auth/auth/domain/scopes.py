"""Grants and scopes: patterns over permissions, and what two sets of them have in common.

A permission is `<service>.<resource>.<verb>`. A pattern replaces parts by `*`; a trailing `*` stands for all that
follows. A full name grants itself whatever the rank of its holder; a pattern grants only what the holder's rank has.
So a full name that comes out of an intersection has to be earned: its holder must have had it before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_PARTS = 3


@dataclass(frozen=True)
class Rights:
    """What somebody may do in an organization."""

    rank: int
    grants: tuple[str, ...]

    def may(self, permission: str, granted_to: int) -> bool:
        """Say whether a permission, whose lowest built-in rank is `granted_to`, is held."""
        for grant in self.grants:
            if grant == permission:
                return True
            if is_pattern(grant) and self.rank >= granted_to and covers(grant, permission):
                return True
        return False


def is_pattern(grant: str) -> bool:
    """Say whether the grant stands for more than the one name it spells."""
    return "*" in grant


def covers(pattern: str, other: str) -> bool:
    """Say whether everything that `other` matches is matched by `pattern`."""
    return all(mine in ("*", theirs) for mine, theirs in zip(_parts(pattern), _parts(other), strict=True))


def meet(first: str, second: str) -> str | None:
    """Return the pattern of what both match; None when they have nothing in common."""
    parts = []
    for mine, theirs in zip(_parts(first), _parts(second), strict=True):
        if mine != theirs and "*" not in (mine, theirs):
            return None
        parts.append(theirs if mine == "*" else mine)
    while len(parts) > 1 and parts[-1] == parts[-2] == "*":
        parts.pop()
    return ".".join(parts)


def narrow(rights: Rights, scopes: Iterable[str], catalogue: Mapping[str, int]) -> tuple[str, ...]:
    """Intersect what somebody may do now with the scopes of a key, sorted.

    Full names survive only where the rights hold them at this moment; the catalogue maps each permission to the
    lowest built-in rank that has it.
    """
    met = {meet(grant, scope) for grant in rights.grants for scope in scopes}
    earned = {grant for grant in met if grant and _is_earned(grant, rights, catalogue)}
    return tuple(sorted(grant for grant in earned if not _is_spare(grant, earned)))


def is_known(scope: str, catalogue: Iterable[str]) -> bool:
    """Say whether a scope is well formed and matches at least one permission."""
    parts = scope.split(".")
    if len(parts) > _PARTS or not all(parts):
        return False
    if not is_pattern(scope):
        return scope in set(catalogue)
    return any(covers(scope, permission) for permission in catalogue)


def is_held(scope: str, rights: Rights, catalogue: Mapping[str, int]) -> bool:
    """Say whether somebody with these rights may hand out the scope."""
    if not is_pattern(scope):
        return scope in catalogue and rights.may(scope, catalogue[scope])
    return any(covers(grant, scope) for grant in rights.grants)


def _is_earned(grant: str, rights: Rights, catalogue: Mapping[str, int]) -> bool:
    if is_pattern(grant):
        return True
    return grant in rights.grants or (grant in catalogue and rights.may(grant, catalogue[grant]))


def _is_spare(grant: str, others: Iterable[str]) -> bool:
    """Say whether another pattern gives all that this one does. Names stay: they need no rank."""
    return is_pattern(grant) and any(other != grant and covers(other, grant) for other in others)


def _parts(pattern: str) -> list[str]:
    """Write a pattern out in full: `kb.*` is `kb.*.*`. A short name that ends otherwise matches only itself."""
    parts = pattern.split(".", _PARTS - 1)
    filler = "*" if parts[-1] == "*" else ""
    return parts + [filler] * (_PARTS - len(parts))
