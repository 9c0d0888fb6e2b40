"""Organizations, members, roles, audit, jobs and budgets."""
