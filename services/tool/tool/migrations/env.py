"""Alembic's environment of the tool schema."""

from chassis.data.migrations import environment
from tool.models import Base

environment(Base.metadata)
