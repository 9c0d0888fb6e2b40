"""Migrations of the agent schema."""
