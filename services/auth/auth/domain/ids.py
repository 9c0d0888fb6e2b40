"""Kinds of ids that auth mints, beside users, organizations and keys."""

from chassis.ids import API_KEY, IdKind

__all__ = ["API_KEY", "SESSION"]

SESSION = IdKind("sess")
