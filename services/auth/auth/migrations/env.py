"""Entry point of alembic's own command line."""

from auth.models import Base
from chassis.data.migrations import environment

environment(Base.metadata)
