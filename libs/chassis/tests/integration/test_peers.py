"""Calls between processes: in whose name, for how long, and how they fail. Against the tests' auth and a real peer."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis import ids
from chassis.boundary import NetworkInsideUnitOfWork, inside_unit_of_work
from chassis.errors import Code, CredentialMissing, DependencyUnavailable, NotFound
from chassis.rpc.authentication import FleetAuthenticator
from chassis.rpc.caller import Actor, CallContext, Caller, answering, current_call, current_caller
from chassis.rpc.client import Peers, RemoteError, acting_for, as_service
from chassis.rpc.server import Context, build_server
from chassis.rpc.tokens import ContextTokenVerifier
from chassis.rpc.trust import RemoteFleetKeys, RevocationWatch
from chassis.settings import GrpcSettings, KeySettings, ProcessSettings
from chassis.testing.authority import Authority
from chassis.testing.waiting import eventually
from definable.agent.v1 import run_service_pb2 as runs
from definable.agent.v1.run_service_pb2_grpc import RunServiceServicer, RunServiceStub
from definable.auth.v1.authentication_service_pb2 import AuthenticateRequest
from definable.auth.v1.authentication_service_pb2_grpc import AuthenticationServiceStub
from definable.jobs.v1.job_service_pb2 import GetJobRequest, Job
from definable.jobs.v1.job_service_pb2_grpc import JobServiceServicer, JobServiceStub

ORGANIZATION = ids.new_id()


class PathMissing(NotFound):
    """There is no such path."""

    reason = "PATH_MISSING"


class Jobs(JobServiceServicer):
    """Answers with what it knows of the call."""

    async def GetJob(self, request: GetJobRequest, context: Context) -> Job:
        match request.id:
            case "missing":
                raise PathMissing(id=request.id)
            case "slow":
                await asyncio.sleep(20)
        caller, call = current_caller(), current_call()
        return Job(
            id=caller.subject,
            kind=caller.service or "",
            target=ids.ORGANIZATION.show(caller.organization_id) if caller.organization_id else "",
            error_reason=call.request_id,
            error_message=call.client_address,
            progress_note=caller.end_user or "",
        )


class Runs(RunServiceServicer):
    async def WatchRun(self, request: runs.WatchRunRequest, context: Context) -> AsyncIterator[runs.RunEvent]:
        for seq in range(1, 4):
            yield runs.RunEvent(seq=seq)
        if request.run_id == "missing":
            raise PathMissing()


def settings_of(authority: Authority, name: str, **peers: str) -> ProcessSettings:
    return ProcessSettings(
        name=name,
        peers={"auth": authority.address, **peers},
        keys=KeySettings(private_key_file=authority.key_file(name)),
    )


class Peer:
    """A process that trusts auth over the network, as services do."""

    def __init__(self, authority: Authority) -> None:
        self.peers = Peers(settings_of(authority, "agent"))
        self.keys = RemoteFleetKeys(self.peers)
        verifier = ContextTokenVerifier(self.keys)
        self.watch = RevocationWatch(self.peers, verifier.revocations.apply)
        self.server = build_server(
            name="agent",
            servicers=[Jobs(), Runs()],  # type: ignore[abstract]  # only what the tests call
            authenticate=FleetAuthenticator(verifier),
            settings=GrpcSettings(),
            revocations=verifier.revocations,
        )
        self.stop = asyncio.Event()

    async def start(self) -> str:
        port = await self.server.start()
        self.tasks = [asyncio.create_task(work.run(self.stop)) for work in (self.keys, self.watch)]
        return f"127.0.0.1:{port}"

    async def close(self) -> None:
        self.stop.set()
        await asyncio.gather(*self.tasks)
        await self.server.stop(0)
        await self.peers.close()


@pytest.fixture(scope="module")
async def peer(authority: Authority) -> AsyncIterator[Peer]:
    peer = Peer(authority)
    peer.address = await peer.start()  # type: ignore[attr-defined]  # known once it listens
    yield peer
    await peer.close()


@pytest.fixture(scope="module")
async def peers(authority: Authority, peer: Any) -> AsyncIterator[Peers]:
    peers = Peers(settings_of(authority, "conversation", agent=peer.address, nobody="127.0.0.1:1"))
    yield peers
    await peers.close()


@pytest.fixture(scope="module")
def jobs(peers: Peers) -> JobServiceStub:
    return peers.stub(JobServiceStub, "agent")


class TestInWhoseName:
    async def test_forwards_the_caller_of_the_call_and_what_ties_calls_together(
        self, jobs: JobServiceStub, authority: Authority
    ) -> None:
        caller = authority.caller()
        with answering(CallContext(caller=caller, request_id="req_5", client_address="203.0.113.9")):
            seen = await jobs.GetJob(GetJobRequest(id="x"))

        assert (seen.id, seen.kind) == (caller.subject, "")
        assert (seen.error_reason, seen.error_message) == ("req_5", "203.0.113.9")

    async def test_acts_for_an_actor(self, jobs: JobServiceStub, authority: Authority) -> None:
        caller = authority.caller(organization_id=ORGANIZATION)
        async with acting_for(ORGANIZATION, Actor(caller.subject, "user", caller.principal_id, end_user="eva")):
            seen = await jobs.GetJob(GetJobRequest(id="x"))

        assert (seen.id, seen.kind) == (caller.subject, "conversation")
        assert (seen.target, seen.progress_note) == (ids.ORGANIZATION.show(ORGANIZATION), "eva")

    async def test_acts_for_an_actor_also_inside_a_call(self, jobs: JobServiceStub, authority: Authority) -> None:
        caller, other = authority.caller(), authority.caller()
        with answering(CallContext(caller=other)):
            async with acting_for(caller.organization_id or ORGANIZATION, Actor.of(caller)):
                seen = await jobs.GetJob(GetJobRequest(id="x"))

        assert seen.id == caller.subject

    async def test_acts_as_itself(self, jobs: JobServiceStub) -> None:
        async with as_service(ORGANIZATION):
            seen = await jobs.GetJob(GetJobRequest(id="x"))

        assert (seen.id, seen.kind) == ("service:conversation", "conversation")

    async def test_is_nobody_outside_of_all_of_these(self, jobs: JobServiceStub) -> None:
        with pytest.raises(RemoteError) as caught:
            await jobs.GetJob(GetJobRequest(id="x"))

        assert caught.value.reason == "UNAUTHENTICATED"

    async def test_asks_for_one_token_however_many_calls_want_it(
        self, peers: Peers, jobs: JobServiceStub, authority: Authority
    ) -> None:
        caller = authority.caller()
        async with acting_for(caller.organization_id or ORGANIZATION, Actor.of(caller)):
            first, *others = await asyncio.gather(*(peers.metadata("agent", "/x/y") for _ in range(20)))

        assert {dict(metadata)["authorization"] for metadata in others} == {dict(first)["authorization"]}

    async def test_says_when_the_actor_may_no_more(self, jobs: JobServiceStub, authority: Authority) -> None:
        caller = authority.caller()
        async with acting_for(ids.new_id(), Actor.of(caller)):
            with pytest.raises(RemoteError) as caught:
                await jobs.GetJob(GetJobRequest(id="x"))

        assert (caught.value.code, caught.value.reason) == (Code.PERMISSION_DENIED, "ACTOR_RIGHTS_LOST")

    async def test_proves_itself_to_auth(self, authority: Authority) -> None:
        gateway = Peers(settings_of(authority, "gateway"))
        stub = gateway.stub(AuthenticationServiceStub, "auth")
        credential = authority.credential(authority.caller())

        answers = [await stub.Authenticate(AuthenticateRequest(credential=credential)) for _ in range(2)]

        assert all(answer.context_token for answer in answers)
        await gateway.close()


class TestFailures:
    async def test_brings_the_reason_of_the_peer_along(self, jobs: JobServiceStub) -> None:
        async with as_service(ORGANIZATION):
            with pytest.raises(RemoteError) as caught:
                await jobs.GetJob(GetJobRequest(id="missing"))

        error = caught.value
        assert (error.code, error.reason, error.metadata) == (Code.NOT_FOUND, "PATH_MISSING", {"id": "missing"})
        assert error.message == "There is no such path."
        assert not error.is_retryable

    async def test_names_the_peer_that_is_down(self, peers: Peers) -> None:
        with pytest.raises(DependencyUnavailable) as caught:
            await peers.stub(JobServiceStub, "nobody").GetJob(
                GetJobRequest(id="x"), metadata=[("authorization", "Bearer x")]
            )

        assert caught.value.metadata == {"dependency": "nobody"}

    async def test_names_the_peer_that_no_setting_knows(self, peers: Peers) -> None:
        stub = peers.stub(JobServiceStub, "stranger")

        with pytest.raises(DependencyUnavailable):
            await stub.GetJob(GetJobRequest(id="x"), metadata=[("authorization", "Bearer x")])

    async def test_gives_up_with_the_call_that_it_serves(self, jobs: JobServiceStub, authority: Authority) -> None:
        loop = asyncio.get_running_loop()
        started, deadline = loop.time(), loop.time() + 0.3
        with answering(CallContext(caller=authority.caller(), deadline=deadline)), pytest.raises(RemoteError) as caught:
            await jobs.GetJob(GetJobRequest(id="slow"))

        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert loop.time() - started < 0.3

    async def test_refuses_to_wait_for_a_peer_inside_a_unit_of_work(self, jobs: JobServiceStub) -> None:
        with inside_unit_of_work(), pytest.raises(NetworkInsideUnitOfWork):
            await jobs.GetJob(GetJobRequest(id="x"))


class TestStreams:
    async def test_hands_on_what_comes_and_then_the_error(self, peers: Peers) -> None:
        stub, seen = peers.stub(RunServiceStub, "agent"), []
        async with as_service(ORGANIZATION):
            with pytest.raises(RemoteError, match="no such path"):
                seen += [event.seq async for event in stub.WatchRun(runs.WatchRunRequest(run_id="missing"))]
            seen += [event.seq async for event in stub.WatchRun(runs.WatchRunRequest(run_id="there"))]

        assert seen == [1, 2, 3]


class TestTrust:
    async def test_a_revoked_credential_is_refused_within_a_second(
        self, peer: Any, jobs: JobServiceStub, authority: Authority
    ) -> None:
        async def is_watching() -> bool:
            return bool(peer.watch.is_connected)

        await eventually(is_watching)
        caller = authority.caller()
        with answering(CallContext(caller=caller)):
            await jobs.GetJob(GetJobRequest(id="x"))
            await authority.revoke(caller)

            assert await self._refusal(jobs, within=1.0) == "UNAUTHENTICATED"

    async def test_keys_are_asked_for_once_a_second_whatever_tokens_name(self, authority: Authority) -> None:
        peers = Peers(settings_of(authority, "kb"))
        keys = RemoteFleetKeys(peers)
        verifier = ContextTokenVerifier(keys)
        assert (await verifier.verify(authority.caller().token)).rank == 50
        asked = keys._asked

        for _ in range(5):
            with pytest.raises(CredentialMissing):
                await verifier.verify(_with_another_kid(authority.caller()))

        assert keys._asked == asked
        await peers.close()

    async def test_is_unavailable_and_not_open_while_auth_is_away(self, authority: Authority) -> None:
        peers = Peers(ProcessSettings(name="kb", peers={"auth": "127.0.0.1:1"}, keys=settings_of(authority, "kb").keys))

        with pytest.raises(DependencyUnavailable):
            await ContextTokenVerifier(RemoteFleetKeys(peers)).verify(authority.caller().token)

        await peers.close()

    async def test_the_watch_takes_up_again_where_it_left_when_auth_comes_back(self, authority: Authority) -> None:
        seen: list[str] = []
        peers, stop = Peers(settings_of(authority, "tool")), asyncio.Event()
        watch = RevocationWatch(peers, lambda revocation: seen.append(revocation.session_id))
        task = asyncio.create_task(watch.run(stop))

        async def is_watching() -> bool:
            return watch.is_connected

        await eventually(is_watching)
        before = authority.caller()
        await authority.revoke(before)
        await eventually(lambda: _true(before.credential_id in seen))
        # The channel is closed under the stream, as by a restart of auth.
        await peers.channels.close()
        meanwhile = authority.caller()
        await authority.revoke(meanwhile)
        await eventually(lambda: _true(meanwhile.credential_id in seen))

        assert seen.count(before.credential_id) == 1
        stop.set()
        await asyncio.wait_for(task, 2)
        await peers.close()

    async def _refusal(self, jobs: JobServiceStub, *, within: float) -> str:
        deadline = datetime.now(UTC) + timedelta(seconds=within)
        while datetime.now(UTC) < deadline:
            try:
                await jobs.GetJob(GetJobRequest(id="x"))
            except RemoteError as error:
                return error.reason
            await asyncio.sleep(0.02)
        return ""


async def _true(value: bool) -> bool:
    return value


def _with_another_kid(caller: Caller) -> str:
    import base64
    import json
    import secrets

    header, rest = caller.token.split(".", 1)
    content = json.loads(base64.urlsafe_b64decode(header + "=="))
    content["kid"] = secrets.token_hex(4)
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode() + "." + rest
