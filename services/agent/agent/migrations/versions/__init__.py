"""Versions of the agent schema."""
