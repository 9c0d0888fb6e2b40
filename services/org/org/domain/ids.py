"""The typed ids that only org gives out."""

from chassis.ids import IdKind

AUDIT_ENTRY = IdKind("audit")
