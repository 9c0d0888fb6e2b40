"""Operations that say who may see a table. Called by migrations, inside alembic's context."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alembic import op
from sqlalchemy import text

from chassis.data.database import role_name

CURRENT_ORGANIZATION = "NULLIF(current_setting('app.organization_id', true), '')::uuid"
CURRENT_USER = "NULLIF(current_setting('app.user_id', true), '')::uuid"
ALL = ("SELECT", "INSERT", "UPDATE", "DELETE")


def protect_tenant(schema: str, table: str) -> None:
    """Let the app role see the rows of the current organization only."""
    protect(schema, table, f"organization_id = {CURRENT_ORGANIZATION}")


def protect_user(schema: str, table: str, column: str = "user_id") -> None:
    """Let the app role see the rows of the current user only."""
    protect(schema, table, f"{quoted(column)} = {CURRENT_USER}")


def grant_global(schema: str, table: str, privileges: str | Sequence[str] = "SELECT") -> None:
    """Let the app role use a table that belongs to nobody; its model says why (`__global_reason__`)."""
    grant(schema, table, "app", privileges)


def grant_machinery(schema: str, table: str, privileges: str | Sequence[str] = ALL) -> None:
    """Let the machinery role use all rows of a table: only where work crosses organizations by nature."""
    grant(schema, table, "machinery", privileges)
    policy(schema, table, "machinery", "true")


def security_definer(schema: str, sql: str) -> None:
    """Make a function that runs as the owner, past row-level security, and let the app role call it.

    `sql` is one CREATE FUNCTION statement that names its schema. For look-ups by the hash of a secret: take the hash,
    return one row.
    """
    named = re.search(r"FUNCTION\s+([\w.\"]+)\s*\(", sql, flags=re.IGNORECASE)
    if named is None:
        raise ValueError("not a CREATE FUNCTION statement")
    name = named.group(1) if "." in named.group(1) else f"{quoted(schema)}.{named.group(1)}"
    op.execute(text(sql.replace(":", r"\:")))
    # Without a search path of its own, a caller could put a function or table of theirs before ours.
    op.execute(f"ALTER FUNCTION {name} SECURITY DEFINER SET search_path = {quoted(schema)}, public, pg_temp")
    op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO {role_of(schema, 'app')}")


def protect(schema: str, table: str, condition: str) -> None:
    """Force row-level security: the owner sees all rows, the app role those that the condition holds for."""
    name = f"{quoted(schema)}.{quoted(table)}"
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY")
    # FORCE binds the owner too: without its own policy a backfill would silently change nothing.
    policy(schema, table, "owner", "true")
    policy(schema, table, "app", condition)
    grant(schema, table, "app", ALL)


def policy(schema: str, table: str, role: str, condition: str) -> None:
    """Let a role see and write the rows that the condition holds for."""
    op.execute(
        f"CREATE POLICY {role} ON {quoted(schema)}.{quoted(table)} TO {role_of(schema, role)} "
        f"USING ({condition}) WITH CHECK ({condition})"
    )


def grant(schema: str, table: str, role: str, privileges: str | Sequence[str]) -> None:
    """Grant privileges on a table to one of the service's roles."""
    listed = privileges if isinstance(privileges, str) else ", ".join(privileges)
    op.execute(f"GRANT {listed} ON {quoted(schema)}.{quoted(table)} TO {role_of(schema, role)}")


def quoted(name: str) -> str:
    """Return an identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def role_of(schema: str, role: str) -> str:
    """Return a role of the service as SQL."""
    return quoted(role_name(schema, role))
