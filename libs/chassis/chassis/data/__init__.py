"""Postgres: engines by role, tenant-scoped repositories, units of work, migrations."""
