"""Background work of the conversation service."""

from datetime import timedelta
from typing import ClassVar
from uuid import UUID

from chassis.data.unit_of_work import Acquire
from chassis.messaging.jobs import JobPolicy, RunningJob
from chassis.rpc.client import acting_for
from conversation.application.sending import StartAnswer
from conversation.domain.jobs import CANCEL_RUN, START_RUN
from conversation.domain.ports import Agent
from conversation.unit_of_work import ConversationUnitOfWork


class StartRun:
    """Start the run of an answer, for the case that the call after the commit was lost."""

    kind: ClassVar[str] = START_RUN
    policy: ClassVar[JobPolicy] = JobPolicy(max_attempts=10, backoff=timedelta(seconds=2), concurrency=8)

    def __init__(self, acquire: Acquire[ConversationUnitOfWork], start: StartAnswer) -> None:
        self._acquire = acquire
        self._start = start

    async def run(self, job: RunningJob) -> None:
        async with self._acquire.as_organization(job.organization_id, job.actor) as work:
            answer = await work.messages.get(UUID(str(job.payload["message_id"])))
            request = await self._start.prepare(work, answer) if answer else None
        if request is not None:
            await self._start.start(request, organization_id=job.organization_id, actor=job.actor)

    async def failed(self, job: RunningJob, error: Exception) -> None:
        """Make the answer FAILED: nobody will start its run any more."""
        async with self._acquire.as_organization(job.organization_id, job.actor) as work:
            answer = await work.messages.get(UUID(str(job.payload["message_id"])))
            if answer is not None and answer.run_id is not None:
                await self._start.give_up(work, answer.run_id, error)


class CancelRun:
    """Cancel the run of a conversation that was deleted while it was being answered."""

    kind: ClassVar[str] = CANCEL_RUN
    policy: ClassVar[JobPolicy] = JobPolicy(max_attempts=10, backoff=timedelta(seconds=2), concurrency=4)

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def run(self, job: RunningJob) -> None:
        async with acting_for(job.organization_id, job.actor):
            await self._agent.cancel_run(UUID(str(job.payload["run_id"])))
