"""Use cases of the agent service."""
