"""Roles, schemas and migrations of a service, and the operations its migrations call.

from chassis.data import migrations as chassis_ops

def upgrade() -> None:
    chassis_ops.shared_v1("kb")
    op.create_table("documents", ..., schema="kb")
    chassis_ops.protect_tenant("kb", "documents")
"""

from chassis.data.migrations.bootstrap import AdminUrlMissing, NamedSettings, bootstrap
from chassis.data.migrations.history import (
    configuration,
    current_revision,
    environment,
    head_revision,
    models_metadata,
    run,
    script_directory,
)
from chassis.data.migrations.operations import (
    grant_global,
    grant_machinery,
    protect_tenant,
    protect_user,
    security_definer,
)
from chassis.data.migrations.shared_tables import (
    dead_letters_v1,
    drop_shared,
    idempotency_v1,
    inbox_v1,
    jobs_v1,
    outbox_v1,
    shared_levels,
    shared_v1,
)

__all__ = [
    "AdminUrlMissing",
    "NamedSettings",
    "bootstrap",
    "configuration",
    "current_revision",
    "dead_letters_v1",
    "drop_shared",
    "environment",
    "grant_global",
    "grant_machinery",
    "head_revision",
    "idempotency_v1",
    "inbox_v1",
    "jobs_v1",
    "models_metadata",
    "outbox_v1",
    "protect_tenant",
    "protect_user",
    "run",
    "script_directory",
    "security_definer",
    "shared_levels",
    "shared_v1",
]
