"""Work of auth that outlives its call."""

from datetime import timedelta
from typing import ClassVar

from auth.application.accounts import PROVISION_JOB, Provisioning
from chassis.ids import USER
from chassis.messaging.jobs import JobPolicy, RunningJob


class ProvisionOrganization:
    """Sets up a new user's organization when the sign-up itself could not."""

    kind: ClassVar[str] = PROVISION_JOB
    policy: ClassVar[JobPolicy] = JobPolicy(
        concurrency=4,
        timeout=timedelta(seconds=30),
        backoff=timedelta(seconds=1),
        max_backoff=timedelta(seconds=15),
        patience=timedelta(days=30),  # a user without an organization can do nothing at all
    )

    def __init__(self, provision: Provisioning) -> None:
        self._provision = provision

    async def run(self, job: RunningJob) -> None:
        """Ask org until it answers."""
        await self._provision(USER.parse(str(job.payload["user_id"])))
