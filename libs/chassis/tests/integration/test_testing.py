"""The tools that services test with: a real service, a real authority, refusals by reason."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import ClassVar

import pytest
from shop.settings import ShopSettings
from shop.unit_of_work import ShopUnitOfWork

from chassis.data.database import Database
from chassis.data.unit_of_work import Acquire
from chassis.errors import DependencyUnavailable
from chassis.ids import job_id, new_id
from chassis.messaging.jobs import JobPolicy, RunningJob
from chassis.rpc.caller import Actor, Caller
from chassis.rpc.client import Peers
from chassis.rpc.server import Context
from chassis.service import Service
from chassis.testing import (
    Authority,
    InProcessService,
    NotRefused,
    caller_matrix,
    eventually,
    refused,
    serve_fake,
    start_service,
    typed_organization,
)
from definable.auth.v1 import authentication_service_pb2 as auth
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub
from definable.jobs.v1.events_pb2 import JobFinished, JobQueued
from definable.jobs.v1.job_service_pb2 import CancelJobRequest, GetJobRequest, Job, JobState
from definable.jobs.v1.job_service_pb2_grpc import JobServiceServicer, JobServiceStub
from definable.options.v1.events_pb2 import AccessRefused
from definable.options.v1.options_pb2 import Rank


class Wrap:
    """Wraps parcels; those that are heavy take long."""

    kind: ClassVar[str] = "wrap"
    policy: ClassVar[JobPolicy] = JobPolicy(concurrency=2, lease=timedelta(seconds=3))

    async def run(self, job: RunningJob) -> None:
        while job.payload.get("is_heavy"):
            await job.progress(1, 2, "wrapping")
            await asyncio.sleep(0.05)


def build(settings: ShopSettings) -> Service:
    database = Database(settings.database, service="shop")
    return Service(
        name="shop",
        settings=settings,
        servicers=[],
        database=database,
        jobs=[Wrap()],
        readiness=[database.ping],
        peers=Peers(settings),
        unit_of_work=ShopUnitOfWork.factory(database),
    )


@pytest.fixture(scope="module")
async def shop(authority: Authority) -> AsyncIterator[InProcessService]:
    async with start_service("shop", ShopSettings, build) as service:
        yield service


@pytest.fixture
def shop_acquire(shop: InProcessService) -> Acquire[ShopUnitOfWork]:
    return ShopUnitOfWork.factory(shop.database)


async def enqueue(acquire: Acquire[ShopUnitOfWork], caller: Caller, **payload: bool) -> str:
    async with acquire.as_organization(caller.organization_id, Actor.of(caller)) as work:
        return job_id("shop").show(work.jobs.enqueue("wrap", payload, target="parcel"))


async def state_of(shop: InProcessService, caller: Caller, parcel: str) -> JobState.ValueType:
    return (await shop.stub(JobServiceStub, caller).GetJob(GetJobRequest(id=parcel))).state


class TestJobsOverGrpc:
    async def test_runs_to_its_end(
        self, shop: InProcessService, shop_acquire: Acquire[ShopUnitOfWork], owner: Caller
    ) -> None:
        parcel = await enqueue(shop_acquire, owner)

        finished = await shop.outbox.wait_for(JobFinished)

        assert finished.job_id == parcel
        job = await shop.stub(JobServiceStub, owner).GetJob(GetJobRequest(id=parcel))
        assert (job.state, job.target, job.attempt) == (JobState.JOB_STATE_SUCCEEDED, "parcel", 1)
        assert (await shop.outbox.last(JobQueued)).job_id == parcel

    async def test_is_cancelled_while_it_runs(
        self, shop: InProcessService, shop_acquire: Acquire[ShopUnitOfWork], owner: Caller
    ) -> None:
        parcel = await enqueue(shop_acquire, owner, is_heavy=True)
        await eventually(lambda: _is(shop, owner, parcel, JobState.JOB_STATE_RUNNING))

        await shop.stub(JobServiceStub, owner).CancelJob(CancelJobRequest(id=parcel))

        await eventually(lambda: _is(shop, owner, parcel, JobState.JOB_STATE_CANCELLED))
        again = await shop.stub(JobServiceStub, owner).CancelJob(CancelJobRequest(id=parcel))
        assert again.state == JobState.JOB_STATE_CANCELLED

    async def test_cannot_be_cancelled_after_its_end(
        self, shop: InProcessService, shop_acquire: Acquire[ShopUnitOfWork], owner: Caller
    ) -> None:
        parcel = await enqueue(shop_acquire, owner)
        await eventually(lambda: _is(shop, owner, parcel, JobState.JOB_STATE_SUCCEEDED))

        with refused("JOB_NOT_CANCELLABLE"):
            await shop.stub(JobServiceStub, owner).CancelJob(CancelJobRequest(id=parcel))

    async def test_answers_each_caller_as_it_should(
        self, shop: InProcessService, shop_acquire: Acquire[ShopUnitOfWork], owner: Caller, authority: Authority
    ) -> None:
        parcel = await enqueue(shop_acquire, owner)

        async def get(caller: Caller | None) -> Job:
            return await shop.stub(JobServiceStub, caller).GetJob(GetJobRequest(id=parcel))

        assert await caller_matrix(get, authority, permitted=owner) == {
            "nobody": "UNAUTHENTICATED",
            "stranger": "JOB_NOT_FOUND",
            "low": "PERMISSION_DENIED",
            "permitted": "OK",
        }

    async def test_tells_a_foreign_job_from_an_unknown_one_to_nobody(
        self, shop: InProcessService, shop_acquire: Acquire[ShopUnitOfWork], owner: Caller, stranger: Caller
    ) -> None:
        foreign, unknown = await enqueue(shop_acquire, owner), job_id("shop").show(new_id())
        seen = []
        for parcel in (foreign, unknown):
            with refused("JOB_NOT_FOUND") as refusal:
                await shop.stub(JobServiceStub, stranger).GetJob(GetJobRequest(id=parcel))
            assert refusal.error is not None
            seen.append((refusal.error.code, refusal.error.message, sorted(refusal.error.metadata)))
        assert seen[0] == seen[1]

    async def test_refuses_the_id_of_something_else(self, shop: InProcessService, owner: Caller) -> None:
        with refused("INVALID_ID"):
            await shop.stub(JobServiceStub, owner).GetJob(GetJobRequest(id=job_id("kb").show(new_id())))

    async def test_writes_refused_accesses_down(self, shop: InProcessService, authority: Authority) -> None:
        low = authority.caller(Rank.VIEWER, grants=())
        with refused("PERMISSION_DENIED"):
            await shop.stub(JobServiceStub, low).GetJob(GetJobRequest(id="job_shop_x"))

        await eventually(lambda: _was_noted(shop, low))


class TestAuthority:
    async def test_a_revoked_caller_is_refused_within_a_second(
        self, shop: InProcessService, authority: Authority
    ) -> None:
        caller = authority.caller()
        with refused("JOB_NOT_FOUND"):
            await shop.stub(JobServiceStub, caller).GetJob(GetJobRequest(id=job_id("shop").show(new_id())))

        await authority.revoke(caller)

        await eventually(lambda: _is_refused(shop, caller, "UNAUTHENTICATED"), timeout=1)

    async def test_an_expired_token_is_refused(self, shop: InProcessService, authority: Authority) -> None:
        with refused("TOKEN_EXPIRED"):
            await shop.stub(JobServiceStub, authority.caller(expired=True)).GetJob(GetJobRequest(id="job_shop_x"))

    async def test_mints_for_an_actor_whom_it_made(self, shop: InProcessService, authority: Authority) -> None:
        member = authority.caller(Rank.MEMBER, grants=("kb.*",))
        peers = Peers(shop.settings)
        request = auth.MintServiceContextRequest(
            organization_id=typed_organization(member), actor_subject=member.subject
        )
        reply = await peers.stub(AuthenticationServiceStub, "auth").MintServiceContext(request)
        await peers.close()

        acting = authority.act("shop", member.organization_id, member.subject, None)
        assert reply.context_token
        assert (acting.rank, acting.grants, acting.service) == (Rank.MEMBER, ("kb.*",), "shop")

    async def test_does_not_mint_for_somebody_of_another_organization(self, authority: Authority) -> None:
        member = authority.caller()
        with refused("ACTOR_RIGHTS_LOST"):
            authority.act("shop", new_id(), member.subject, None)

    async def test_takes_the_credentials_that_it_gave(self, shop: InProcessService, authority: Authority) -> None:
        caller = authority.caller()
        credential = authority.credential(caller)
        assert authority.authenticate(credential).subject == caller.subject

        await authority.revoke(caller)
        with refused("UNAUTHENTICATED"):
            authority.authenticate(credential)


class TestRefused:
    async def test_fails_when_nothing_was_refused(self) -> None:
        with pytest.raises(NotRefused), refused("X"):
            pass

    async def test_fails_for_another_reason(self) -> None:
        with pytest.raises(NotRefused, match="DEPENDENCY_UNAVAILABLE"), refused("X"):
            raise DependencyUnavailable(dependency="moon")

    async def test_lets_other_errors_pass(self) -> None:
        with pytest.raises(ZeroDivisionError), refused("X"):
            _ = 1 / 0


class TestServeFake:
    async def test_stands_in_for_a_peer(self, shop: InProcessService, owner: Caller) -> None:
        class FakeJobs(JobServiceServicer):
            async def GetJob(self, request: GetJobRequest, context: Context) -> Job:
                return Job(id=request.id, kind="fake")

            async def CancelJob(self, request: CancelJobRequest, context: Context) -> Job:
                raise NotImplementedError

        async with serve_fake(FakeJobs()) as address:
            settings = shop.settings.model_copy(update={"peers": {**shop.settings.peers, "other": address}})
            peers = Peers(settings)
            call = peers.stub(JobServiceStub, "other").GetJob(
                GetJobRequest(id="job_x"), metadata=[("authorization", f"Bearer {owner.token}")]
            )
            assert (await call).kind == "fake"
            await peers.close()


async def _is(shop: InProcessService, caller: Caller, parcel: str, state: JobState.ValueType) -> bool:
    return await state_of(shop, caller, parcel) == state


async def _was_noted(shop: InProcessService, caller: Caller) -> bool:
    events = await shop.outbox.all(AccessRefused)
    return any(event.envelope.organization_id == caller.organization_id for event in events)


async def _is_refused(shop: InProcessService, caller: Caller, reason: str) -> bool:
    try:
        with refused(reason):
            await shop.stub(JobServiceStub, caller).GetJob(GetJobRequest(id=job_id("shop").show(new_id())))
    except NotRefused:
        return False
    return True
