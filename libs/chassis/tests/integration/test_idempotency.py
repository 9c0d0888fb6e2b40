"""Idempotency keys in units of work."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from google.protobuf.message import Message
from shop.models import Article
from shop.unit_of_work import ShopUnitOfWork
from sqlalchemy import text

from chassis.data.idempotency import IdempotentReplay, holds_secret
from chassis.data.unit_of_work import Acquire, StoredReplies
from chassis.errors import IdempotencyKeyBusy, IdempotencyKeyReused
from chassis.ids import new_id
from chassis.messaging.reaper import Reaper
from chassis.rpc.caller import CallContext, Caller, Idempotency, answering
from definable.auth.v1 import api_key_service_pb2
from definable.jobs.v1.job_service_pb2 import Job

Shop = Acquire[ShopUnitOfWork]


def a_caller() -> Caller:
    return Caller("key_1", "api_key", organization_id=new_id(), principal_id=new_id())


def a_call(caller: Caller, *, key: str = "k", method: str = "M", request: bytes = b"r") -> CallContext:
    return CallContext(caller=caller, idempotency=Idempotency(key, method, hashlib.sha256(request).digest()))


async def add_article(acquire: Shop, call: CallContext, *, reply: Message | None = None) -> Message:
    """One call of one unit that adds an article and replies."""
    with answering(call):
        async with acquire() as work:
            work.articles.add(Article(id=work.new_id(), name=work.new_id().hex))
            return work.reply(reply or Job(id="first"))


async def articles_of(acquire: Shop, caller: Caller) -> int:
    with answering(CallContext(caller=caller)):
        async with acquire() as work:
            return len(await work.articles.all())


class TestReplay:
    async def test_gives_the_first_reply_again_without_a_second_effect(self, acquire: Shop) -> None:
        caller = a_caller()
        await add_article(acquire, a_call(caller))

        with pytest.raises(IdempotentReplay) as replay:
            await add_article(acquire, a_call(caller), reply=Job(id="second"))

        assert replay.value.reply == Job(id="first")
        assert await articles_of(acquire, caller) == 1

    async def test_refuses_the_key_of_another_request(self, acquire: Shop) -> None:
        caller = a_caller()
        await add_article(acquire, a_call(caller))

        with pytest.raises(IdempotencyKeyReused):
            await add_article(acquire, a_call(caller, request=b"other"))

    @pytest.mark.parametrize("change", ["caller", "method", "key"])
    async def test_does_not_mix_up_calls(self, acquire: Shop, change: str) -> None:
        caller = a_caller()
        await add_article(acquire, a_call(caller))
        other = {
            "caller": a_call(Caller("key_2", "api_key", caller.organization_id, caller.principal_id)),
            "method": a_call(caller, method="N"),
            "key": a_call(caller, key="l"),
        }[change]

        await add_article(acquire, other)

        assert await articles_of(acquire, caller) == 2

    async def test_lets_a_failed_call_be_repeated(self, acquire: Shop) -> None:
        caller = a_caller()
        with pytest.raises(RuntimeError), answering(a_call(caller)):
            async with acquire():
                raise RuntimeError

        await add_article(acquire, a_call(caller))

        assert await articles_of(acquire, caller) == 1

    async def test_lets_one_of_many_through_at_a_time(self, acquire: Shop) -> None:
        caller = a_caller()
        outcomes = await asyncio.gather(
            *(add_article(acquire, a_call(caller)) for _ in range(4)), return_exceptions=True
        )

        assert await articles_of(acquire, caller) == 1
        assert sum(isinstance(outcome, Job) for outcome in outcomes) == 1
        assert all(isinstance(outcome, Job | IdempotencyKeyBusy | IdempotentReplay) for outcome in outcomes)

    async def test_is_busy_while_the_first_call_is_between_two_units(self, acquire: Shop) -> None:
        caller = a_caller()
        with answering(a_call(caller)):
            async with acquire():
                pass
            with pytest.raises(IdempotencyKeyBusy):
                await add_article(acquire, a_call(caller))
            async with acquire() as work:
                work.reply(Job(id="first"))

        with pytest.raises(IdempotentReplay):
            await add_article(acquire, a_call(caller))

    async def test_takes_over_the_key_of_a_process_that_died(self, acquire: Shop) -> None:
        caller = a_caller()
        with answering(a_call(caller)):
            async with acquire():
                pass
        await _age(acquire, caller, "reserve_time", timedelta(minutes=2))

        await add_article(acquire, a_call(caller))

        assert await articles_of(acquire, caller) == 1

    async def test_ignores_a_row_that_expired(self, acquire: Shop) -> None:
        caller = a_caller()
        await add_article(acquire, a_call(caller))
        await _age(acquire, caller, "expire_time", timedelta(hours=25))

        await add_article(acquire, a_call(caller, request=b"other"))

        assert await articles_of(acquire, caller) == 2

    async def test_is_cleaned_by_the_reaper(self, acquire: Shop) -> None:
        caller = a_caller()
        await add_article(acquire, a_call(caller))
        await _age(acquire, caller, "expire_time", timedelta(hours=25))

        await Reaper(acquire.database).reap()

        async with acquire.machinery() as work:
            query = text("SELECT count(*) FROM idempotency WHERE organization_id = :o")
            assert await work.session.scalar(query, {"o": caller.organization_id}) == 0


class TestSecretReplies:
    def test_are_told_by_their_fields(self) -> None:
        assert holds_secret(api_key_service_pb2.CreateApiKeyResponse)
        assert not holds_secret(Job)

    async def test_are_sealed_and_kept_ten_minutes(self, acquire: Shop) -> None:
        caller = a_caller()
        secret = _a_secret_reply("dfk_live_canary")
        await add_article(acquire, a_call(caller), reply=secret)

        async with acquire.machinery() as work:
            query = text(
                "SELECT reply, is_sealed, expire_time - now() AS left FROM idempotency WHERE organization_id = :o"
            )
            row = (await work.session.execute(query, {"o": caller.organization_id})).one()
        assert row.is_sealed
        assert b"canary" not in row.reply
        assert timedelta(minutes=9) < row.left <= timedelta(minutes=10)
        with pytest.raises(IdempotentReplay) as replay:
            await add_article(acquire, a_call(caller))
        assert replay.value.reply == secret


class TestStoredReplies:
    async def test_stores_what_a_handler_did_not(self, acquire: Shop) -> None:
        caller, replies = a_caller(), StoredReplies(acquire.database)
        call = a_call(caller)
        with answering(call):
            async with acquire():
                pass
        assert call.is_key_reserved
        assert not call.is_reply_stored
        await replies.store(call, Job(id="late"))

        with pytest.raises(IdempotentReplay) as replay:
            await add_article(acquire, a_call(caller))
        assert replies.replay_of(replay.value) == Job(id="late")

    async def test_gives_the_key_of_a_failed_call_back(self, acquire: Shop) -> None:
        caller, replies = a_caller(), StoredReplies(acquire.database)
        call = a_call(caller)
        with answering(call):
            async with acquire():
                pass
        await replies.release(call)

        await add_article(acquire, a_call(caller))

    async def test_never_gives_a_stored_reply_away(self, acquire: Shop) -> None:
        caller, replies = a_caller(), StoredReplies(acquire.database)
        call = a_call(caller)
        await add_article(acquire, call)
        await replies.release(call)

        with pytest.raises(IdempotentReplay):
            await add_article(acquire, a_call(caller))

    async def test_takes_only_its_own_signal_for_a_replay(self, acquire: Shop) -> None:
        assert StoredReplies(acquire.database).replay_of(RuntimeError()) is None


def _a_secret_reply(value: str) -> Message:
    reply = api_key_service_pb2.CreateApiKeyResponse()
    from definable.options.v1 import options_pb2

    def fill(message: Message) -> bool:
        for field in message.DESCRIPTOR.fields:
            if field.GetOptions().Extensions[options_pb2.secret]:
                setattr(message, field.name, value)
                return True
        return False

    assert fill(reply)
    return reply


async def _age(acquire: Shop, caller: Caller, column: str, by: timedelta) -> None:
    async with acquire.machinery() as work:
        await work.session.execute(
            text(f"UPDATE idempotency SET {column} = {column} - CAST(:by AS interval) WHERE organization_id = :o"),
            {"by": by, "o": caller.organization_id},
        )


Call = Callable[[], Awaitable[Message]]
