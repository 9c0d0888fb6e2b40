"""The SDK adapters against real HTTP servers that speak the protocol: a scripted one, and one written by others."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from agent.adapters.providers.anthropic import AnthropicProvider, messages_of
from agent.adapters.providers.openai import OpenAIProvider
from agent.domain.definition import Parameters
from agent.domain.errors import ProviderRateLimited, ProviderRefused, ProviderUnauthenticated, ProviderUnavailable
from agent.domain.provider import (
    AssistantTurn,
    Finish,
    ModelProvider,
    ModelRequest,
    Piece,
    TextPiece,
    ToolCall,
    ToolRequest,
    ToolSpec,
    ToolTurn,
    Turn,
    UserTurn,
)
from chassis.rpc.caller import Caller
from chassis.servers.ports import free_ports, is_listening
from chassis.testing import eventually

from .providers import ModelServer, Scripted, anthropic_events, model_server, openai_calls, openai_text, paid_model  # noqa: TID252
from .running import text_of  # noqa: TID252

TOOL = ToolSpec(name="calculator", description="Calculates.", input_schema={"type": "object"})
TURNS: Sequence[Turn] = (
    UserTurn(text="2+2?"),
    AssistantTurn(text="", tool_calls=(ToolCall(call_id="call_1_1", name="calculator", arguments={"e": "2+2"}),)),
    ToolTurn(call_id="call_1_1", name="calculator", text="4"),
)


def a_request(turns: Sequence[Turn] = TURNS) -> ModelRequest:
    parameters = Parameters(temperature=1.5, max_output_tokens=99)
    return ModelRequest(model="test", system="Be brief.", turns=turns, tools=[TOOL], parameters=parameters)


def openai(url: str) -> ModelProvider:
    return OpenAIProvider(api_key="k", base_url=f"{url}/v1", timeout_seconds=5, is_openai=False)


def anthropic(url: str) -> ModelProvider:
    return AnthropicProvider(api_key="k", base_url=url, timeout_seconds=5)


def spoken(name: str, text: str) -> Scripted:
    if name == "openai":
        return Scripted(list(openai_text(text, 11, 6)))
    return Scripted(list(anthropic_events({"type": "text", "text": text})))


def asked(name: str) -> Scripted:
    if name == "openai":
        return Scripted(list(openai_calls(("calculator", '{"e": "1"}'), ("calculator", "not json"))))
    block = {"type": "tool_use", "id": "t1", "name": "calculator", "input": {"e": "1"}}
    return Scripted(list(anthropic_events({"type": "text", "text": "Wait."}, block, stop_reason="tool_use")))


async def pieces_of(provider: ModelProvider, request: ModelRequest | None = None) -> list[Piece]:
    return [piece async for piece in provider.stream(request or a_request())]


PROVIDERS = [("openai", openai), ("anthropic", anthropic)]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with model_server() as served:
        yield served


@pytest.mark.parametrize(("name", "provider"), PROVIDERS)
class TestEveryProvider:
    async def test_streams_text_and_counts_tokens(
        self, server: ModelServer, name: str, provider: Callable[[str], ModelProvider]
    ) -> None:
        server.answers.append(spoken(name, "It is four."))

        pieces = await pieces_of(provider(server.url))

        words = [piece.text for piece in pieces if isinstance(piece, TextPiece)]
        assert [word for word in words if word] == ["It ", "is ", "four. "]
        assert isinstance(pieces[-1], Finish)
        assert (pieces[-1].input_tokens, pieces[-1].output_tokens) == (11, 6)

    async def test_asks_for_calls_whole(
        self, server: ModelServer, name: str, provider: Callable[[str], ModelProvider]
    ) -> None:
        server.answers.append(asked(name))

        calls = [piece for piece in await pieces_of(provider(server.url)) if isinstance(piece, ToolRequest)]

        assert calls[0] == ToolRequest(name="calculator", arguments={"e": "1"})
        assert [call.arguments for call in calls[1:]] == ([None] if name == "openai" else [])

    async def test_sends_the_whole_conversation(
        self, server: ModelServer, name: str, provider: Callable[[str], ModelProvider]
    ) -> None:
        server.answers.append(spoken(name, "4"))

        await pieces_of(provider(server.url))

        sent = server.requests[0]
        assert (sent["model"], sent["max_tokens"], sent["stream"]) == ("test", 99, True)
        assert "call_1_1" in str(sent["messages"])
        assert sent["temperature"] == (1.5 if name == "openai" else 1.0)
        roles = [message["role"] for message in sent["messages"]]
        assert roles == (["system", "user", "assistant", "tool"] if name == "openai" else ["user", "assistant", "user"])

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (400, ProviderRefused),
            (401, ProviderUnauthenticated),
            (404, ProviderRefused),
            (429, ProviderRateLimited),
            (500, ProviderUnavailable),
            (529, ProviderUnavailable),
        ],
    )
    async def test_says_why_it_was_refused(
        self,
        server: ModelServer,
        name: str,
        provider: Callable[[str], ModelProvider],
        status: int,
        error: type[Exception],
    ) -> None:
        server.refuse(status)

        with pytest.raises(error):
            await pieces_of(provider(server.url))

    async def test_notices_an_answer_that_breaks_off(
        self, server: ModelServer, name: str, provider: Callable[[str], ModelProvider]
    ) -> None:
        whole = spoken(name, "It is four.")
        server.answers.append(Scripted(whole.frames[:3], breaks_off=True))
        server.answers.append(Scripted(whole.frames[:3]))

        for _ in range(2):
            with pytest.raises(ProviderUnavailable):
                await pieces_of(provider(server.url))

    async def test_notices_a_server_that_is_not_there(
        self, server: ModelServer, name: str, provider: Callable[[str], ModelProvider]
    ) -> None:
        with pytest.raises(ProviderUnavailable):
            await pieces_of(provider("http://127.0.0.1:1"))

    async def test_hangs_up_when_it_is_closed(
        self, server: ModelServer, name: str, provider: Callable[[str], ModelProvider]
    ) -> None:
        server.answers.append(Scripted(spoken(name, "word " * 200).frames, pause_seconds=0.02))

        async with aclosing(provider(server.url).stream(a_request())) as stream:
            await anext(stream)

        await asyncio.wait_for(server.closed_early.wait(), 1)


class TestOpenAIProvider:
    async def test_estimates_tokens_for_servers_that_count_none(self, server: ModelServer) -> None:
        server.answers.append(Scripted(list(openai_text("x" * 40, 0, 0, with_usage=False))))

        finish = (await pieces_of(openai(server.url)))[-1]

        assert isinstance(finish, Finish)
        assert (finish.input_tokens > 0, finish.output_tokens) == (True, 11)


class TestAnthropicProvider:
    def test_writes_messages_that_alternate_and_are_not_empty(self) -> None:
        turns: list[Turn] = [UserTurn(text="a"), AssistantTurn(text=" "), UserTurn(text="b"), UserTurn(text="c")]

        messages = messages_of(turns)

        assert [message["role"] for message in messages] == ["user"]
        assert [block["text"] for block in messages[0]["content"]] == ["a", "b", "c"]


class TestRunOnAProvider:
    async def test_streams_cites_and_calls(self, owner: Caller) -> None:
        async with paid_model() as (agent, server):
            server.answers.append(Scripted(list(openai_calls(("calculator", '{"expression": "2+2"}')))))
            server.answer("Penguins huddle [1].")
            events = await agent.run(
                owner, "penguins huddle", model="compatible/test", knows=True, tools=["calculator"]
            )

        assert events[-1].type == "run.completed"
        assert "[1] Birds\nEmperor penguins" in server.requests[0]["messages"][0]["content"]
        assert [tool["function"]["name"] for tool in server.requests[0]["tools"]] == ["knowledge_search", "calculator"]
        assert server.requests[1]["messages"][-1]["role"] == "tool"
        cited = next(event.data for event in events if event.type == "message.citation")
        assert text_of(events)[int(cited["answer_start"]) : int(cited["answer_end"])] == "[1]"

    async def test_begins_an_answer_again_that_broke_off(self, owner: Caller) -> None:
        async with paid_model() as (agent, server):
            broken = list(openai_text("Penguins hud", 1, 1))[:3]
            server.answers.append(Scripted(broken, breaks_off=True))
            server.answer("Whole.")
            events = await agent.run(owner, "Hello", model="compatible/test")

        assert [event.data["attempt"] for event in events if event.type == "step.restarted"] == [2]
        assert (text_of(events), events[-1].type) == ("Whole. ", "run.completed")

    async def test_hangs_up_within_a_second_of_a_cancellation(self, owner: Caller) -> None:
        async with paid_model() as (agent, server):
            server.answer("word " * 500, pause_seconds=0.02)
            run_id = await agent.start(owner, "Hello", model="compatible/test")
            await agent.until(owner, run_id, "message.delta")

            await agent.cancel(owner, run_id)
            await asyncio.wait_for(server.closed_early.wait(), 1)


@asynccontextmanager
async def fakellm(folder: Path) -> AsyncIterator[str]:
    """Run a server that others wrote and that speaks both protocols."""
    rule = "rules: [{name: sky, when: {messages_contain: sky}, respond: {content: The sky is blue.}}]\n"
    (folder / "fakellm.yaml").write_text(f"version: 1\ndefaults: {{fallback: deterministic_echo}}\n{rule}")
    port = free_ports(1)[0]
    command = [str(Path(sys.executable).with_name("fakellm")), "serve", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=DEVNULL, stderr=DEVNULL)
    try:
        await eventually(lambda: _listens(port), timeout=30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    return is_listening(port)


class TestAgainstAServerOfOthers:
    @pytest.mark.parametrize("provider", [openai, anthropic])
    async def test_understands_its_stream(self, tmp_path: Path, provider: Callable[[str], ModelProvider]) -> None:
        request = ModelRequest(model="any", system="Hi.", turns=[UserTurn(text="What colour is the sky?")])

        async with fakellm(tmp_path) as url:
            pieces = await pieces_of(provider(url), request)

        text = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
        assert text == "The sky is blue."
        assert isinstance(pieces[-1], Finish)
