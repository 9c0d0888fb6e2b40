"""The order of what stands before a servicer, on a real gRPC server and channel."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis import ids, telemetry
from chassis.errors import AlreadyExists, Code, Violation
from chassis.rpc.authentication import FleetAuthenticator
from chassis.rpc.caller import CallContext, current_call, current_caller
from chassis.rpc.refusals import Refusals
from chassis.rpc.server import Context, FleetServer, build_server
from chassis.rpc.status import from_rpc_error
from chassis.rpc.tokens import (
    AssertionVerifier,
    Claims,
    ContextTokens,
    ContextTokenVerifier,
    ProcessAssertion,
    SigningKey,
    StaticFleetKeys,
)
from chassis.settings import ProcessSettings
from chassis.testing.waiting import eventually
from definable.agent.v1 import run_service_pb2 as runs
from definable.agent.v1.run_service_pb2_grpc import RunServiceServicer, RunServiceStub
from definable.auth.v1.authentication_service_pb2 import Revocation
from definable.auth.v1.user_service_pb2 import GetMeRequest, Me
from definable.auth.v1.user_service_pb2_grpc import UserServiceServicer, UserServiceStub
from definable.discovery.v1.discovery_pb2 import GetDescriptorsRequest
from definable.discovery.v1.discovery_pb2_grpc import DiscoveryStub
from definable.jobs.v1.job_service_pb2 import CancelJobRequest, GetJobRequest, Job
from definable.jobs.v1.job_service_pb2_grpc import JobServiceServicer, JobServiceStub
from definable.kb.v1 import document_service_pb2 as documents
from definable.kb.v1.document_service_pb2_grpc import DocumentServiceServicer, DocumentServiceStub
from definable.options.v1.options_pb2 import Rank

KEY = SigningKey("k1", Ed25519PrivateKey.generate())
PROCESS_KEY = Ed25519PrivateKey.generate()
ORGANIZATION = ids.new_id()


class NameTaken(AlreadyExists):
    """The name is taken."""

    reason = "NAME_TAKEN"


class Kept(Exception):  # what a unit of work raises when the call was answered before
    def __init__(self, reply: Any) -> None:
        self.reply = reply


class Replies:
    """Keeps replies in memory, as chassis.data keeps them in rows."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.released: list[str] = []

    def replay_of(self, error: BaseException) -> Any:
        return error.reply if isinstance(error, Kept) else None

    async def store(self, call: CallContext, reply: Any) -> None:
        assert call.idempotency
        self.kept[call.idempotency.key] = reply

    async def release(self, call: CallContext) -> None:
        assert call.idempotency
        self.released.append(call.idempotency.key)

    def reserve(self) -> None:
        """Do what the first unit of work of a call does."""
        call = current_call()
        if call.idempotency:
            if call.idempotency.key in self.kept:
                raise Kept(self.kept[call.idempotency.key])
            call.is_key_reserved = True


REPLIES = Replies()


class Jobs(JobServiceServicer):
    """Reaches the point where a query would be made, and then does what the id says."""

    reached = 0

    async def GetJob(self, request: GetJobRequest, context: Context) -> Job:
        Jobs.reached += 1
        match request.id:
            case "taken":
                raise NameTaken(name="Handbook")
            case "many":
                raise NameTaken(violations=[Violation(f"field{i}", "x" * 500, "rule") for i in range(100)])
            case "broken":
                raise RuntimeError("password=hunter2")
            case "slow":
                await asyncio.sleep(30)
        return Job(id=request.id, target=current_caller().subject, kind=current_call().request_id)

    async def CancelJob(self, request: CancelJobRequest, context: Context) -> Job:
        Jobs.reached += 1
        REPLIES.reserve()
        if request.id == "taken":
            raise NameTaken()
        return Job(id=request.id, attempt=Jobs.reached)


class Runs(RunServiceServicer):
    """Streams for ever, and notices when it is closed."""

    closed: ClassVar[list[str]] = []

    async def WatchRun(self, request: runs.WatchRunRequest, context: Context) -> AsyncIterator[runs.RunEvent]:
        seq = request.after
        try:
            while True:
                seq += 1
                yield runs.RunEvent(seq=seq, type="message.delta")
                await asyncio.sleep(0.01)
        finally:
            Runs.closed.append(request.run_id)

    async def StartRun(self, request: runs.StartRunRequest, context: Context) -> runs.Run:
        return runs.Run()


class Users(UserServiceServicer):
    async def GetMe(self, request: GetMeRequest, context: Context) -> Me:
        return Me()


class Documents(DocumentServiceServicer):
    async def UploadDocument(
        self, requests: AsyncIterator[documents.UploadDocumentRequest], context: Context
    ) -> documents.Document:
        sizes = [len(request.chunk) async for request in requests]
        return documents.Document(title=str(sizes))


class Serving:
    """The server under test and a channel to it."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.refusals = Refusals()
        verifier = ContextTokenVerifier(
            StaticFleetKeys({KEY.kid: KEY.private_key.public_key()}), clock=lambda: datetime.now(UTC)
        )
        self.revocations = verifier.revocations
        assertions = AssertionVerifier(lambda name: [PROCESS_KEY.public_key()] if name == "gateway" else [])
        self.server: FleetServer = build_server(
            name="kb",
            # Only what the tests call is written.
            servicers=[Jobs(), Runs(), Users(), Documents()],  # type: ignore[abstract]  # see above
            authenticate=FleetAuthenticator(verifier, assertions),
            revocations=self.revocations,
            refusals=self.refusals,
            replies=REPLIES,
        )

    async def start(self) -> None:
        telemetry.configure_logging(ProcessSettings(name="kb"))
        port = await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self.jobs = JobServiceStub(self.channel)
        self.runs = RunServiceStub(self.channel)
        self.users = UserServiceStub(self.channel)
        self.documents = DocumentServiceStub(self.channel)


@pytest.fixture(scope="module")
async def serving() -> AsyncIterator[Serving]:
    serving = Serving()
    await serving.start()
    yield serving
    await serving.channel.close()
    await serving.server.stop(0)


def claims(**changes: Any) -> Claims:
    user = ids.new_id()
    values = {
        "subject": ids.USER.show(user),
        "kind": "user",
        "organization_id": ORGANIZATION,
        "principal_id": user,
        "rank": Rank.OWNER,
        "grants": ["*"],
        "credential_id": "sess_1",
    }
    return Claims(**{**values, **changes})


def bearing(token: str, **more: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}"), *((key.replace("_", "-"), value) for key, value in more.items())]


def token(now: datetime | None = None, **changes: Any) -> str:
    return ContextTokens.mint(claims(**changes), KEY, now=now).token


async def reason_of(call: Any) -> str:
    """Return code and reason with which a call, or a stream that was read from before, fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (_to_the_end(call) if hasattr(call, "read") else call)
    error = from_rpc_error(caught.value, peer="kb")
    return f"{error.code} {error.reason}"


async def seq_of(call: Any) -> int:
    """Return the number of the next event of a stream."""
    return int((await call.read()).seq)


async def _to_the_end(call: Any) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


class TestWhoMayCall:
    async def test_lets_who_has_the_permission_in(self, serving: Serving) -> None:
        bearer = token(rank=Rank.VIEWER)

        job = await serving.jobs.GetJob(GetJobRequest(id="job_kb_1"), metadata=bearing(bearer, x_request_id="req_7"))

        assert job.target.startswith("user_")
        assert job.kind == "req_7"

    async def test_refuses_nobody_before_parsing_and_before_any_query(self, serving: Serving) -> None:
        before = Jobs.reached

        assert await reason_of(serving.jobs.GetJob(GetJobRequest())) == "UNAUTHENTICATED UNAUTHENTICATED"
        assert Jobs.reached == before

    @pytest.mark.parametrize("bearer", ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."])
    async def test_refuses_what_is_no_token(self, serving: Serving, bearer: str) -> None:
        call = serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(bearer))

        assert await reason_of(call) == "UNAUTHENTICATED UNAUTHENTICATED"

    async def test_refuses_a_low_rank_before_validation(self, serving: Serving) -> None:
        low = token(rank=Rank.VIEWER)

        # An empty id would fail validation; that the caller learns of it would tell a stranger about the contract.
        call = serving.jobs.CancelJob(CancelJobRequest(), metadata=bearing(low))

        assert await reason_of(call) == "PERMISSION_DENIED PERMISSION_DENIED"

    async def test_refuses_a_high_rank_without_a_grant(self, serving: Serving) -> None:
        call = serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(token(grants=["kb.*"])))

        assert await reason_of(call) == "PERMISSION_DENIED PERMISSION_DENIED"

    async def test_lets_a_permission_by_name_in_whatever_the_rank(self, serving: Serving) -> None:
        bearer = token(rank=Rank.RANK_UNSPECIFIED, grants=["org.jobs.read"])

        assert (await serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(bearer))).id == "x"

    async def test_refuses_clients_what_is_internal(self, serving: Serving) -> None:
        call = serving.runs.StartRun(runs.StartRunRequest(), metadata=bearing(token()))

        assert await reason_of(call) == "PERMISSION_DENIED INTERNAL_ONLY"

    async def test_refuses_a_process_that_is_not_on_the_list(self, serving: Serving) -> None:
        call = serving.runs.StartRun(runs.StartRunRequest(), metadata=bearing(token(service="kb")))

        assert await reason_of(call) == "PERMISSION_DENIED INTERNAL_ONLY"

    async def test_lets_the_process_that_is_on_the_list_in(self, serving: Serving) -> None:
        call = serving.runs.StartRun(runs.StartRunRequest(), metadata=bearing(token(service="conversation")))

        assert await reason_of(call) == "INVALID_ARGUMENT VALIDATION_FAILED"

    async def test_lets_any_credential_in_where_no_permission_is_asked(self, serving: Serving) -> None:
        bearer = token(rank=0, grants=[], organization_id=None)

        assert await serving.users.GetMe(GetMeRequest(), metadata=bearing(bearer)) == Me()

    async def test_lets_everybody_in_where_it_is_public(self, serving: Serving) -> None:
        reply = await DiscoveryStub(serving.channel).GetDescriptors(GetDescriptorsRequest())

        assert reply.service == "kb"
        assert len(reply.descriptor_set) > 1000

    async def test_refuses_an_expired_token_after_the_skew(self, serving: Serving) -> None:
        expired = token(now=datetime.now(UTC) - timedelta(seconds=66))
        within = token(now=datetime.now(UTC) - timedelta(seconds=62))

        call = serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(expired))

        assert await reason_of(call) == "UNAUTHENTICATED TOKEN_EXPIRED"
        assert (await serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(within))).id == "x"

    async def test_takes_an_assertion_once(self, serving: Serving) -> None:
        assertion = ProcessAssertion.make("gateway", PROCESS_KEY)

        assert await serving.users.GetMe(GetMeRequest(), metadata=bearing(assertion)) == Me()
        call = serving.users.GetMe(GetMeRequest(), metadata=bearing(assertion))

        assert await reason_of(call) == "UNAUTHENTICATED UNAUTHENTICATED"

    async def test_counts_what_it_refuses(self, serving: Serving) -> None:
        serving.refusals.take()
        low = token(rank=Rank.VIEWER)
        for _ in range(3):
            await reason_of(serving.jobs.CancelJob(CancelJobRequest(id="x"), metadata=bearing(low)))

        counts = serving.refusals.take()

        assert list(counts.values()) == [3]
        refusal = next(iter(counts))
        assert (refusal.organization_id, refusal.permission) == (ORGANIZATION, "org.jobs.cancel")


class TestRevocation:
    async def test_ends_a_stream_of_its_caller_within_a_second_and_leaves_others(self, serving: Serving) -> None:
        hit = serving.runs.WatchRun(runs.WatchRunRequest(run_id="hit"), metadata=bearing(token(credential_id="sess_h")))
        spared = serving.runs.WatchRun(
            runs.WatchRunRequest(run_id="no"), metadata=bearing(token(credential_id="sess_s"))
        )
        assert (await seq_of(hit)) == 1
        assert (await seq_of(spared)) == 1

        revocation = Revocation(session_id="sess_h")
        revocation.time.FromDatetime(datetime.now(UTC))
        serving.revocations.apply(revocation)

        async with asyncio.timeout(1):
            assert await reason_of(hit) == "UNAUTHENTICATED UNAUTHENTICATED"
        assert (await seq_of(spared)) == 2
        spared.cancel()
        assert "hit" in Runs.closed

    async def test_drops_a_token_that_was_verified_before(self, serving: Serving) -> None:
        bearer = token(credential_id="sess_v")
        await serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(bearer))

        revocation = Revocation(session_id="sess_v")
        revocation.time.FromDatetime(datetime.now(UTC))
        serving.revocations.apply(revocation)

        call = serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(bearer))
        assert await reason_of(call) == "UNAUTHENTICATED UNAUTHENTICATED"

    async def test_closes_what_a_servicer_holds_when_the_reader_leaves(self, serving: Serving) -> None:
        call = serving.runs.WatchRun(runs.WatchRunRequest(run_id="left"), metadata=bearing(token()))
        await call.read()
        call.cancel()

        async def is_closed() -> bool:
            return "left" in Runs.closed

        await eventually(is_closed, timeout=1)


class TestErrors:
    async def test_sends_reason_domain_and_metadata(self, serving: Serving) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await serving.jobs.GetJob(GetJobRequest(id="taken"), metadata=bearing(token()))

        error = from_rpc_error(caught.value, peer="kb")
        assert (error.code, error.reason, error.message) == (Code.ALREADY_EXISTS, "NAME_TAKEN", "The name is taken.")
        assert error.metadata == {"name": "Handbook"}

    async def test_keeps_details_small(self, serving: Serving) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await serving.jobs.GetJob(GetJobRequest(id="many"), metadata=bearing(token()))

        details = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
        assert len(details) <= 4096
        assert 0 < len(from_rpc_error(caught.value, peer="kb").violations) <= 20

    async def test_says_nothing_of_what_it_did_not_expect_and_logs_it_once(
        self, serving: Serving, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await serving.jobs.GetJob(GetJobRequest(id="broken"), metadata=bearing(token(), x_request_id="req_9"))

        assert "hunter2" not in str(caught.value)
        assert from_rpc_error(caught.value, peer="kb").reason == "INTERNAL"
        logged = [record.getMessage() for record in caplog.records if "call_failed" in record.getMessage()]
        assert len(logged) == 1
        assert "req_9" in logged[0]

    async def test_names_the_field_and_the_rule(self, serving: Serving) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await serving.jobs.GetJob(GetJobRequest(), metadata=bearing(token()))

        violation = from_rpc_error(caught.value, peer="kb").violations[0]
        assert (violation.field, violation.rule) == ("id", "required")

    async def test_refuses_bytes_that_are_no_message(self, serving: Serving) -> None:
        raw: Any = serving.channel.unary_unary("/definable.jobs.v1.JobService/GetJob")

        assert await reason_of(raw(b"\xff\xff\xff", metadata=bearing(token()))) == "INVALID_ARGUMENT VALIDATION_FAILED"

    async def test_has_no_answer_for_an_rpc_that_nobody_wrote(self, serving: Serving) -> None:
        call = serving.runs.GetRun(runs.GetRunRequest(id="run_1"), metadata=bearing(token()))

        assert await reason_of(call) == "UNIMPLEMENTED METHOD_NOT_ALLOWED"

    async def test_stops_a_handler_at_its_deadline(self, serving: Serving) -> None:
        call = serving.jobs.GetJob(GetJobRequest(id="slow"), metadata=bearing(token()), timeout=0.1)

        assert await reason_of(call) == "DEADLINE_EXCEEDED DEADLINE_EXCEEDED"


class TestUpload:
    async def test_validates_each_message(self, serving: Serving) -> None:
        async def messages(size: int) -> AsyncIterator[documents.UploadDocumentRequest]:
            metadata = documents.UploadDocumentMetadata(knowledge_base_id="kb_1", file_name="a.txt")
            yield documents.UploadDocumentRequest(metadata=metadata)
            yield documents.UploadDocumentRequest(chunk=b"x" * size)

        reply = await serving.documents.UploadDocument(messages(1024), metadata=bearing(token()))
        assert reply.title == "[0, 1024]"

        too_large = serving.documents.UploadDocument(messages(1024 * 1024 + 1), metadata=bearing(token()))
        assert await reason_of(too_large) == "INVALID_ARGUMENT VALIDATION_FAILED"

    async def test_refuses_a_stream_without_messages(self, serving: Serving) -> None:
        async def nothing() -> AsyncIterator[documents.UploadDocumentRequest]:
            return
            yield

        call = serving.documents.UploadDocument(nothing(), metadata=bearing(token()))
        assert await reason_of(call) == "INVALID_ARGUMENT VALIDATION_FAILED"


class TestIdempotency:
    async def test_replays_the_reply_of_the_first_time_and_says_so(self, serving: Serving) -> None:
        metadata = bearing(token(), idempotency_key="key-1")
        first = await serving.jobs.CancelJob(CancelJobRequest(id="job"), metadata=metadata)
        call = serving.jobs.CancelJob(CancelJobRequest(id="job"), metadata=metadata)

        assert await call == first
        assert dict(await call.trailing_metadata() or ())["idempotent-replayed"] == "true"

    async def test_gives_the_key_back_when_the_call_fails(self, serving: Serving) -> None:
        metadata = bearing(token(), idempotency_key="key-2")

        await reason_of(serving.jobs.CancelJob(CancelJobRequest(id="taken"), metadata=metadata))

        assert "key-2" in REPLIES.released

    async def test_ignores_the_key_of_a_read(self, serving: Serving) -> None:
        before = Jobs.reached
        for _ in range(2):
            await serving.jobs.GetJob(GetJobRequest(id="x"), metadata=bearing(token(), idempotency_key="key-3"))

        assert Jobs.reached == before + 2
        assert "key-3" not in REPLIES.kept

    async def test_refuses_a_key_that_is_too_long(self, serving: Serving) -> None:
        metadata = bearing(token(), idempotency_key="k" * 256)

        call = serving.jobs.CancelJob(CancelJobRequest(id="job"), metadata=metadata)

        assert await reason_of(call) == "INVALID_ARGUMENT VALIDATION_FAILED"


class TestStop:
    async def test_ends_streams_at_once_so_that_readers_go_on_elsewhere(self) -> None:
        serving = Serving()
        await serving.start()
        call = serving.runs.WatchRun(runs.WatchRunRequest(run_id="stop"), metadata=bearing(token()))
        await call.read()

        async with asyncio.timeout(2):
            await serving.server.stop(grace=20)
            assert await reason_of(call) == "UNAVAILABLE DEPENDENCY_UNAVAILABLE"
        await serving.channel.close()
