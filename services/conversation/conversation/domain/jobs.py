"""Jobs that use cases queue."""

from datetime import timedelta

START_RUN = "start_run"
# The call that follows the commit starts the run almost always; the job is for the rest.
START_RUN_DELAY = timedelta(seconds=3)

CANCEL_RUN = "cancel_run"
