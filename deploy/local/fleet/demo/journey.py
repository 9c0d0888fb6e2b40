"""The steps of the main job. Each checks what it did and raises when it is not so."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from uuid import uuid4

from fleet.demo.client import JSON, Client, Event, Refused
from fleet.demo.samples import Sample, samples

QUESTION = "At which wind speed does the dome stay closed?"
ANSWER = "62 kilometres per hour"
TERMINAL = {"run.completed", "run.failed", "run.cancelled", "run.requires_action"}
# Two turns for the offline model: a tool call, then an answer of its own.
TOOL_SCRIPT = '```script\n[{"tool": "calculator", "arguments": {"expression": "62 / 3.6"}}]\n```'
SLOW_SCRIPT = '```script\n{"delay_ms": 120, "turns": []}\n```'
READY_TIMEOUT_SECONDS = 600


class Broken(AssertionError):
    """A step did not do what it must."""


def require(holds: bool, law: str) -> None:
    """Raise Broken unless the law holds."""
    if not holds:
        raise Broken(law)


@dataclass
class Journey:
    """What one person does; `say` gets a line for each step with its time in seconds."""

    anonymous: Client
    say: Callable[[str], None] = print
    corpus: Path | None = None
    client: Client = field(init=False)
    stranger: Client = field(init=False)
    knowledge_base_id: str = field(init=False)
    conversation_id: str = field(init=False)
    answered: list[Event] = field(init=False)

    @contextmanager
    def _step(self, title: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.say(f"{time.monotonic() - begun:7.2f} s  {title}")

    def run(self) -> None:
        """Do steps 2 to 6: sign up, upload, search, build an agent, talk to it."""
        self.sign_up()
        self.upload()
        self.search()
        self.build_agent()
        self.converse()
        self.resume()
        self.call_tool()
        self.see_nothing_of_others()

    def sign_up(self) -> None:
        """Two people sign up, each with an organization; the first makes an API key and uses it from here on."""
        with self._step("signed up, logged in, created an API key; a second organization beside it"):
            person, self.stranger = self._person("astronomer"), self._person("stranger")
            created = person.post("/v1/api-keys", {"display_name": "demo", "scopes": ["*"]})
            self.client = person.holding(str(created["secret"]))
            mine = {organization["id"] for organization in person.list("/v1/organizations", "organizations")}
            theirs = {organization["id"] for organization in self.stranger.list("/v1/organizations", "organizations")}
            require(
                len(mine) == len(theirs) == 1 and not mine & theirs, "each person has one organization of their own"
            )

    def _person(self, name: str) -> Client:
        email, password = f"{name}-{uuid4().hex[:12]}@example.org", f"correct horse {uuid4().hex}"
        self.anonymous.post(
            "/v1/auth/sign-up", {"email": email, "password": password, "organization_name": f"{name}'s"}
        )
        session = self.anonymous.post("/v1/auth/log-in", {"email": email, "password": password})
        return self.anonymous.holding(str(session["access_token"]))

    def upload(self) -> None:
        """Upload the files and wait until each is ready."""
        files = list(self._files())
        with self._step(f"uploaded {len(files)} files, all ready"):
            base = self.client.post("/v1/knowledge-bases", {"display_name": "Observatory"})
            self.knowledge_base_id = str(base["id"])
            path = f"/v1/knowledge-bases/{self.knowledge_base_id}/documents:upload"
            waiting = {}
            for file in files:
                document = self.client.upload(
                    path, name=file.name, content_type=file.content_type, content=file.content
                )
                waiting[str(document["id"])] = ""
            self._wait_until_ready(waiting)

    def _files(self) -> Iterator[Sample]:
        yield from samples()
        if self.corpus is not None and self.corpus.is_dir():
            for path in sorted(self.corpus.iterdir())[:100]:
                if path.suffix in {".txt", ".md", ".html", ".pdf", ".docx"}:
                    yield Sample(path.name, "application/octet-stream", path.read_bytes())

    def _wait_until_ready(self, waiting: dict[str, str]) -> None:
        until = time.monotonic() + READY_TIMEOUT_SECONDS
        while waiting:
            require(time.monotonic() < until, f"documents are ready in time: {waiting}")
            for document_id, shown in list(waiting.items()):
                document = self.client.get(f"/v1/documents/{document_id}")
                now = f"{document['state']} {document.get('progress_percent', 0)} %"
                if now != shown:
                    self.say(f"           {document['file_name']}: {now}")
                    waiting[document_id] = now
                require(
                    document["state"] != "failed", f"{document['file_name']} failed: {document.get('failure_reason')}"
                )
                if document["state"] == "ready":
                    del waiting[document_id]
            time.sleep(0.2)

    def search(self) -> None:
        """Search in the three modes; each hit is a span of its document's text."""
        for mode in ("dense", "lexical", "hybrid"):
            with self._step(f"searched, {mode}"):
                hits = self._search(self.client, mode)
                require(
                    any(ANSWER in hit["text"] for hit in hits[:3]),
                    f"{mode} search finds the answer among its first three",
                )
                for hit in hits:
                    self._check_span(hit)

    def _search(self, client: Client, mode: str) -> list[JSON]:
        body = {"knowledge_base_ids": [self.knowledge_base_id], "query": QUESTION, "mode": mode, "top_k": 5}
        return list(client.post("/v1/knowledge-bases:search", body)["hits"])

    def _check_span(self, span: JSON) -> None:
        """Check that what is cited stands at its place in the document."""
        source = self.client.get(f"/v1/documents/{span['document_id']}/text")["text"]
        require(source[span["start"] : span["end"]] == span["text"], "a span's text equals the source's")

    def build_agent(self) -> None:
        """Create an agent with the knowledge base and the built-in tools, publish it, and begin a conversation with
        it.
        """
        with self._step("built and published an agent"):
            tools = [tool["id"] for tool in self.client.list("/v1/tools", "tools") if tool["kind"] == "builtin"]
            definition = {
                "instructions": "Answer from the handbook and cite it.",
                "knowledge_base_ids": [self.knowledge_base_id],
                "tools": [{"tool_id": tool_id} for tool_id in tools],
            }
            agent = self.client.post("/v1/agents", {"display_name": "Warden", "definition": definition})
            self.client.post(f"/v1/agents/{agent['id']}:publish")
            conversation = self.client.post("/v1/conversations", {"agent_id": agent["id"]})
            self.conversation_id = str(conversation["id"])

    @property
    def _messages(self) -> str:
        return f"/v1/conversations/{self.conversation_id}/messages"

    def converse(self) -> None:
        """Ask and read the streamed answer, which cites what it says."""
        with self._step("asked; the answer was streamed and cites its sources"):
            self.answered = list(self.client.send_streamed(self._messages, {"content": QUESTION}))
            check_stream(self.answered)
            types = [event.type for event in self.answered]
            require("retrieval.completed" in types, "the stream shows the retrieval")
            text = text_of(self.answered)
            require(ANSWER in text, f"the answer has {ANSWER!r}: {text!r}")
            citations = [event.data for event in self.answered if event.type == "message.citation"]
            require(bool(citations), "the answer cites")
            for citation in citations:
                self._check_span(citation)
            self._check_stored(text)
        self.say("\n".join(f"           {line}" for line in text.splitlines() if line))

    def _check_stored(self, text: str) -> None:
        last = list(self.client.list(self._messages, "messages"))[-1]
        require(last["state"] == "completed", f"the answer is stored: {last}")
        require(last["content"] == text, "the stored answer is the streamed one")

    def resume(self) -> None:
        """Cut a stream half-way and resume it: the two halves are the whole."""
        with self._step("cut the stream half-way and resumed it"):
            body = {"content": f"{QUESTION}\n{SLOW_SCRIPT}"}
            stream = self.client.send_streamed(self._messages, body)
            first = list(islice(stream, 8))
            close(stream)
            run_id = run_of(first)
            rest = list(self.client.events(f"/v1/runs/{run_id}/events", last_event_id=first[-1].id))
            whole = list(self.client.events(f"/v1/runs/{run_id}/events"))
            check_stream(whole)
            require(first + rest == whole, "the joined stream equals the whole one")

    def call_tool(self) -> None:
        """Have the agent call a tool; the stream shows the call."""
        with self._step("the agent called a tool"):
            events = list(self.client.send_streamed(self._messages, {"content": f"In metres a second?\n{TOOL_SCRIPT}"}))
            check_stream(events)
            types = [event.type for event in events]
            require(
                "tool_call.started" in types and "tool_call.completed" in types,
                f"the stream shows the tool call: {types}",
            )
            require("17.2" in text_of(events), f"the answer has the tool's result: {text_of(events)!r}")

    def see_nothing_of_others(self) -> None:
        """The other organization finds none of it."""
        with self._step("the second organization sees nothing of the first"):
            for path in (f"/v1/knowledge-bases/{self.knowledge_base_id}", f"/v1/conversations/{self.conversation_id}"):
                require(status_of(self.stranger, path) == 404, f"{path} is not found by a stranger")
            for path, plural in (("/v1/knowledge-bases", "knowledge_bases"), ("/v1/conversations", "conversations")):
                require(not list(self.stranger.list(path, plural)), f"{path} of a stranger is empty")
            try:
                self._search(self.stranger, "hybrid")
            except Refused as refusal:
                require(refusal.status == 404, "a stranger's search does not find the knowledge base")
            else:
                raise Broken("a stranger's search is refused")

    def survive(self, *, kill: Callable[[], None], start: Callable[[], None]) -> None:
        """Step 7: kill everything while an answer is being made, start again: nothing is lost and the answer is
        finished.
        """
        with self._step("killed the fleet in mid-answer, started it again; the run went on and ended"):
            stream = self.client.send_streamed(self._messages, {"content": f"{QUESTION}\n{SLOW_SCRIPT}"})
            seen = list(islice(stream, 6))
            run_id = run_of(seen)
            kill()
            close(stream)
            start()
            whole = list(self.client.events(f"/v1/runs/{run_id}/events"))
            check_stream(whole)
            require(whole[: len(seen)] == seen, "what was seen before the crash is in the journal")
            require(ANSWER in text_of(whole), f"the finished answer has {ANSWER!r}: {text_of(whole)!r}")
            self._check_stored(text_of(whole))
            require(len(self._search(self.client, "hybrid")) > 0, "the knowledge base is still there")


def check_stream(events: list[Event]) -> None:
    """Check the laws of a stream: ids from 1 without gaps, exactly one end, at the end."""
    require(
        [event.id for event in events] == list(range(1, len(events) + 1)),
        f"ids have no gaps: {[event.id for event in events]}",
    )
    ends = [event.type for event in events if event.type in TERMINAL]
    require(
        ends == ["run.completed"] and events[-1].type == ends[0],
        f"the stream ends once, completed: {json.dumps(events[-1].data)}",
    )


def text_of(events: list[Event]) -> str:
    """Return the answer of a stream. A restarted step voids the deltas of its earlier attempts."""
    voided = {
        (event.data["step"], attempt)
        for event in events
        if event.type == "step.restarted"
        for attempt in range(int(event.data["attempt"]))
    }
    deltas = [event.data for event in events if event.type == "message.delta"]
    return "".join(delta["text"] for delta in deltas if (delta["step"], int(delta["attempt"])) not in voided)


def run_of(events: list[Event]) -> str:
    """Return the id of the run that a stream tells of."""
    return next(str(event.data["run_id"]) for event in events if "run_id" in event.data)


def status_of(client: Client, path: str) -> int:
    """Return the status with which a path is refused, 200 when it is not."""
    try:
        client.get(path)
    except Refused as refusal:
        return refusal.status
    return 200


def close(stream: Iterator[Event]) -> None:
    """Cut the connection of a stream."""
    closing = getattr(stream, "close", None)
    if closing is not None:
        closing()
