"""Alembic's environment of the conversation schema."""

from chassis.data.migrations import environment
from conversation.models import Base

environment(Base.metadata)
