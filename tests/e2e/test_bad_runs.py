"""Runs and tools that mean harm: they end, in time and with a reason, and everybody else goes on."""

import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from fleet.demo.client import JSON, Client
from tests.e2e.scene import Scene
from tests.e2e.tenants import Tenant
from tests.e2e.test_bad_input import IN_TIME_SECONDS

ENDED_SECONDS = 60
CALLS: dict[str, str] = {
    "an integer beyond 64 bits": '{"expression": "1", "a": 1000000000000000000000000000000}',
    "no number": '{"expression": "1", "a": NaN}',
    "an infinite number": '{"expression": "1", "a": 1e999}',
    "U+0000": '{"expression": "1\\u0000"}',
    "U+0000 in a key": '{"expression": "1", "a\\u0000": 1}',
    "a lone surrogate": '{"expression": "\\ud800"}',
    "60 levels": f'{{"a": {"[" * 60}{"]" * 60}}}',
    "90,000 levels": f'{{"a": {"[" * 90_000}',
    "an array": "[1]",
    "a power of powers": '{"expression": "9**9**9**9"}',
    "3,000 parentheses": f'{{"expression": "{"(" * 3000}1{")" * 3000}"}}',
    "a long factor": f'{{"expression": "{"9" * 5000}*{"9" * 5000}"}}',
    "code": "{\"expression\": \"__import__('os').system('id')\"}",
}
SCRIPTS: dict[str, str] = {
    "no JSON": "{",
    "a number": "17",
    "null": "null",
    "turns that are none": '{"turns": 7}',
    "an endless pause": '{"delay_ms": 1e300, "turns": []}',
    "a pause that is no number": '{"delay_ms": NaN, "turns": []}',
    "a tool that is none": '[{"tool": 7, "arguments": {}}]',
    "a tool with U+0000": '[{"tool": "calculator\\u0000x", "arguments": {}}]',
    "deep": "[" * 50_000,
}
ADDRESSES = (
    "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0.0.0.0/", "http://[::1]/",
    "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://localhost/",
    "http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://[fe80::1]/", "http://user@127.0.0.1/",
    "file:///etc/passwd", "gopher://127.0.0.1/", "http://", "//127.0.0.1/", "http://[::1", "x",
)  # fmt: skip


@pytest.fixture(scope="module")
def armed(scene: Scene) -> str:
    """An agent with all built-in tools."""
    tools = [{"tool_id": tool["id"]} for tool in scene.owner.list("/v1/tools", "tools") if tool["kind"] == "builtin"]
    body = {"display_name": uuid4().hex, "definition": {"tools": tools}}
    agent = str(scene.owner.post("/v1/agents", body)["id"])
    scene.owner.post(f"/v1/agents/{agent}:publish")
    return agent


@pytest.fixture(scope="module")
def ended(scene: Scene, armed: str) -> dict[str, JSON]:
    """The runs of all these calls and scripts, started together, after their end."""
    inputs = {name: f"/tool calculator {arguments}" for name, arguments in CALLS.items()}
    inputs |= {name: f"```script\n{script}\n```" for name, script in SCRIPTS.items()}
    inputs |= {address: f"/tool fetch_page {json.dumps({'url': address})}" for address in ADDRESSES}
    runs = {
        name: scene.owner.post("/v1/runs", {"agent_id": armed, "input": text})["run_id"]
        for name, text in inputs.items()
    }
    found: dict[str, JSON] = {}
    until = time.monotonic() + ENDED_SECONDS
    while len(found) < len(runs):
        for name in set(runs) - set(found):
            run = scene.owner.get(f"/v1/runs/{runs[name]}")
            if run["state"] not in ("queued", "running"):
                found[name] = run
        assert time.monotonic() < until, f"these runs end: {set(runs) - set(found)}"
        time.sleep(0.2)
    return found


class TestRuns:
    @pytest.mark.parametrize("name", [*CALLS, *SCRIPTS])
    def test_what_a_model_gets_wrong_is_told_to_it(self, ended: dict[str, JSON], name: str) -> None:
        run = ended[name]

        assert (run["state"], run["error_reason"]) == ("completed", ""), run
        assert run["output_text"]

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_no_page_of_this_machine_is_fetched(self, scene: Scene, ended: dict[str, JSON], address: str) -> None:
        run = ended[address]
        [step] = [step for step in scene.owner.list(f"/v1/runs/{run['id']}/steps", "steps") if step["kind"] == "tool"]

        assert run["state"] == "completed"
        assert step["error_reason"] in ("TOOL_ADDRESS_REFUSED", "ARGUMENTS_INVALID", "TOOL_ARGUMENTS_INVALID"), step

    @pytest.mark.parametrize("name", CALLS)
    def test_each_is_readable_to_its_end(self, scene: Scene, ended: dict[str, JSON], name: str) -> None:
        events = list(scene.owner.events(f"/v1/runs/{ended[name]['id']}/events"))

        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert events[-1].type == "run.completed"

    def test_one_that_waits_for_ever_is_cancelled(self, scene: Scene) -> None:
        text = '```script\n{"delay_ms": 1000000000, "turns": [{"say": "a b c d"}]}\n```'
        run = scene.owner.post("/v1/runs", {"model": "offline", "input": text})["run_id"]
        scene.owner.post(f"/v1/runs/{run}:cancel")

        Tenant.until(lambda: scene.owner.get(f"/v1/runs/{run}")["state"] == "cancelled")


DOUBLING = {str(step): {"allOf": [{"$ref": f"#/$defs/{step + 1}"}] * 2} for step in range(40)} | {"40": {}}
UNLIKE = [{"n": number} for number in range(20_000)]
SCHEMAS: dict[str, tuple[JSON, JSON]] = {
    "a pattern that backtracks": ({"properties": {"a": {"pattern": "^(a|aa)+$"}}}, {"a": "a" * 100 + "!"}),
    "references that double": ({"$ref": "#/$defs/0", "$defs": DOUBLING}, {}),
    "a reference to itself": ({"allOf": [{"$ref": "#"}]}, {}),
    "items that are all unlike": (
        {"properties": {"a": {"uniqueItems": True}}},
        {"a": [{"n": n} for n in range(20_000)]},
    ),
}
NO_SCHEMAS: dict[str, JSON] = {
    "no type": {"properties": {}},
    "no pattern": {"type": "object", "properties": {"a": {"pattern": "("}}},
    "a pattern that counts too far": {"type": "object", "properties": {"a": {"pattern": "a{9999999999}"}}},
    "a reference to nowhere": {"type": "object", "$ref": "#/nowhere"},
    "a reference to another place": {"type": "object", "$ref": "http://127.0.0.1/x"},
    "an unknown type": {"type": "object", "properties": {"a": {"type": "thing"}}},
    "20 levels of nothing": {"type": "object", "not": json.loads('{"not":' * 20 + "7" + "}" * 20)},
}


def a_tool(scene: Scene, **fields: Any) -> JSON:
    """Return the body of a tool."""
    return {**scene.a_tool(), **fields}


class TestTools:
    @pytest.mark.parametrize("name", SCHEMAS)
    def test_a_schema_that_never_ends_is_given_up(self, scene: Scene, name: str) -> None:
        schema, arguments = SCHEMAS[name]
        tool = scene.owner.post("/v1/tools", a_tool(scene, input_schema={"type": "object", **schema}))
        begun = time.monotonic()
        reply = scene.owner.request("POST", f"/v1/tools/{tool['id']}:execute", json={"arguments": arguments})

        assert time.monotonic() - begun < IN_TIME_SECONDS
        assert (reply.status_code, reply.json().get("reason")) == (422, "TOOL_ARGUMENTS_INVALID"), reply.text

    @pytest.mark.parametrize("name", NO_SCHEMAS)
    def test_what_is_no_schema_is_refused(self, scene: Scene, name: str) -> None:
        reply = scene.owner.request("POST", "/v1/tools", json=a_tool(scene, input_schema=NO_SCHEMAS[name]))

        assert (reply.status_code, reply.json().get("reason")) == (422, "TOOL_SCHEMA_INVALID"), reply.text
        assert reply.json()["violations"][0]["field"].startswith("input_schema")

    @pytest.mark.parametrize(
        "http",
        [
            {"method": "GET", "url": "file:///etc/passwd"},
            {"method": "GET", "url": "https://example.org/{nobody}"},
            {"method": "GET", "url": "https://[::1"},
            {"method": "GET", "url": "https://example.org:99999/"},
            {"method": "GET", "url": "https://somebody:secret@example.org/"},
            {"method": "GET", "url": "https://example.org/", "headers": {"X A": "b"}},
            {"method": "GET", "url": "https://example.org/", "headers": {"Host": "127.0.0.1"}},
            {"method": "GET", "url": "https://{host}/"},
        ],
        ids=lambda http: json.dumps(http)[17:60],
    )
    def test_a_template_that_reaches_too_far_is_refused(self, scene: Scene, http: JSON) -> None:
        schema = {"type": "object", "properties": {"host": {"type": "string"}}}
        reply = scene.owner.request("POST", "/v1/tools", json=a_tool(scene, http=http, input_schema=schema))

        assert reply.status_code == 422, reply.text
        assert reply.json()["violations"], reply.text

    @pytest.mark.parametrize("url", [url for url in ADDRESSES if url.startswith("http://") and " " not in url][:13])
    def test_nothing_of_this_machine_is_reached(self, scene: Scene, url: str) -> None:
        reply = scene.owner.request("POST", "/v1/tools", json=a_tool(scene, http={"method": "GET", "url": url}))
        if reply.status_code == 422:
            return
        executed = scene.owner.post(f"/v1/tools/{reply.json()['id']}:execute", {"arguments": {}})

        assert (executed["state"], executed["error_reason"]) == ("failed", "TOOL_ADDRESS_REFUSED"), executed


@pytest.fixture(scope="module", autouse=True)
def unharmed(scene: Scene, anonymous: Client) -> Iterator[None]:
    """After all of this the fleet is ready and answers."""
    yield
    assert anonymous.request("GET", "/readyz").status_code == 200
    run = scene.owner.post("/v1/runs", {"model": "offline", "input": "Hello?"})["run_id"]
    Tenant.until(lambda: scene.owner.get(f"/v1/runs/{run}")["state"] == "completed")


class TestNumbers:
    @pytest.mark.parametrize("number", [1e30, 1e308, 5e-324, -0.0, 2.0**53, 0.1])
    def test_a_document_keeps_them(self, scene: Scene, number: float) -> None:
        """Postgres writes large numbers out; what comes back is the same all the same."""
        path = f"/v1/knowledge-bases/{scene.ids['knowledge_base']}/documents"
        made = scene.owner.post(path, {"title": "x", "text": "x", "metadata": {"a": number}})
        changed = scene.owner.patch(f"/v1/documents/{made['id']}", {"title": "y"})

        assert made["metadata"]["a"] == changed["metadata"]["a"] == number
