"""The states of jobs, as org lists them."""

from datetime import timedelta

QUEUED = "JOB_STATE_QUEUED"
FINISHED = frozenset({"JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED"})
KEPT = timedelta(days=30)  # after they ended
