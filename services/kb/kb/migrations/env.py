"""Alembic's environment of the kb schema."""

from chassis.data.migrations import environment
from kb.models import Base

environment(Base.metadata)
