"""A small client of the public API: JSON calls and server-sent events."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from uuid import uuid4

import httpx

JSON = dict[str, Any]


class Refused(Exception):
    """The API answered with a problem. `reason` and `status` are what programs compare."""

    def __init__(self, status: int, problem: JSON) -> None:
        super().__init__(f"{status} {problem.get('reason')}: {problem.get('detail')}")
        self.status = status
        self.reason = str(problem.get("reason", ""))
        self.problem = problem


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: int
    type: str
    data: JSON = field(hash=False)


class Client:
    """Calls the API with one credential, or with none."""

    def __init__(self, base_url: str, credential: str = "", *, timeout_seconds: float = 60) -> None:
        headers = {"Authorization": f"Bearer {credential}"} if credential else {}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout_seconds)
        self.base_url = base_url

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def holding(self, credential: str) -> "Client":
        """Return a client of the same API with another credential."""
        return Client(self.base_url, credential)

    def get(self, path: str, **parameters: Any) -> JSON:
        """Read JSON. Raises Refused."""
        return _answer(self._http.get(path, params=parameters))

    def post(self, path: str, body: JSON | None = None, *, key: str | None = None) -> JSON:
        """Post JSON under an idempotency key, a new one unless given. Raises Refused."""
        headers = {"Idempotency-Key": key or uuid4().hex}
        return _answer(self._http.post(path, json=body or {}, headers=headers))

    def patch(self, path: str, body: JSON, *, etag: str = "") -> JSON:
        """Change what the body names. Raises Refused."""
        return _answer(self._http.patch(path, json=body, headers={"If-Match": etag} if etag else {}))

    def delete(self, path: str) -> None:
        """Delete. Raises Refused."""
        _answer(self._http.delete(path))

    def upload(self, path: str, *, name: str, content_type: str, content: bytes) -> JSON:
        """Upload a file as multipart/form-data. Raises Refused."""
        return _answer(self._http.post(path, files={"file": (name, content, content_type)}))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make any request and return the reply, whatever its status; options are httpx's."""
        return self._http.request(method, path, **options)

    def download(self, path: str) -> bytes:
        """Read bytes. Raises Refused."""
        reply = self._http.get(path)
        if reply.is_error:
            _answer(reply)
        return reply.content

    def list(self, path: str, field: str, **parameters: Any) -> Iterator[JSON]:
        """Yield the items of all pages."""
        token = ""
        while True:
            page = self.get(path, **parameters, **({"page_token": token} if token else {}))
            yield from page.get(field, [])
            token = page.get("next_page_token", "")
            if not token:
                return

    def send_streamed(self, path: str, body: JSON) -> Iterator[Event]:
        """Post JSON and yield the events of the reply. Closing the iterator cuts the connection."""
        headers = {"Accept": "text/event-stream", "Idempotency-Key": uuid4().hex}
        return self._events("POST", path, headers=headers, json=body)

    def events(self, path: str, *, last_event_id: int = 0) -> Iterator[Event]:
        """Yield the events of a stream after `last_event_id`. Closing the iterator cuts the connection."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(last_event_id)} if last_event_id else {})
        return self._events("GET", path, headers=headers)

    def _events(self, method: str, path: str, **options: Any) -> Iterator[Event]:
        with self._http.stream(method, path, **options) as reply:
            if reply.is_error:
                reply.read()
                _answer(reply)
            yield from parse_events(reply.iter_lines())


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """Yield events from the lines of a stream; comments and `retry` are passed over."""
    given: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            given[name] = value.removeprefix(" ")
        elif given:
            if "data" in given:
                yield Event(int(given.get("id", 0)), given.get("event", "message"), json.loads(given["data"]))
            given = {}


def _answer(reply: httpx.Response) -> JSON:
    try:
        body = reply.json() if reply.content else {}
    except ValueError:
        body = {"detail": reply.text[:500]}
    if reply.is_error:
        raise Refused(reply.status_code, body)
    return dict(body)
