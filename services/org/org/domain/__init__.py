"""What organizations, roles, feeds and budgets are, in plain Python."""
