"""For alembic's own command line; the service migrates itself with `python -m org migrate`."""

from chassis.data.migrations import environment
from org.models import Base

environment(Base.metadata)
