"""Alembic's environment of the agent schema."""

from agent.models import Base
from chassis.data.migrations import environment

environment(Base.metadata)
