"""Logs and traces."""

import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chassis import telemetry
from chassis.rpc.caller import CallContext, Caller, answering
from chassis.settings import ProcessSettings

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def _logging() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    telemetry.configure_logging(ProcessSettings(name="kb"))
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry._Tracing, "tracer", provider.get_tracer("test"))
    return exporter


class TestLogs:
    @pytest.mark.usefixtures("_logging")
    def test_a_line_says_what_service_and_call_it_belongs_to(self, capsys: pytest.CaptureFixture[str]) -> None:
        token = telemetry.current_service.set("kb")
        with answering(CallContext(caller=Caller("user_1", "user", token="secret"), request_id="req_1", method="m")):
            telemetry.get_logger("test").info("document_indexed", document_id="doc_1")
            logging.getLogger("library").warning("something %s", "odd")
        telemetry.current_service.reset(token)

        ours, theirs = (json.loads(line) for line in capsys.readouterr().err.strip().splitlines())
        assert (ours["event"], ours["service"], ours["request_id"]) == ("document_indexed", "kb", "req_1")
        assert (theirs["event"], theirs["request_id"], theirs["level"]) == ("something odd", "req_1", "warning")
        assert "secret" not in json.dumps(ours)


class TestSpans:
    def test_cost_nothing_while_tracing_is_off(self) -> None:
        with telemetry.span("x", key="value") as span:
            assert span is None
        assert telemetry.current_traceparent() == ""

    def test_continue_the_trace_of_the_caller(self, spans: InMemorySpanExporter) -> None:
        with telemetry.span("outer", parent=PARENT), telemetry.span("inner", key="value"):
            assert telemetry.current_traceparent().startswith(PARENT[:36])

        inner, outer = spans.get_finished_spans()
        assert outer.parent is not None
        assert f"{outer.parent.span_id:016x}" == PARENT[36:52]
        assert inner.context is not None
        assert outer.context is not None
        assert inner.context.trace_id == outer.context.trace_id
        assert inner.attributes == {"key": "value"}

    def test_tell_the_kind_of_an_error_and_not_its_words(self, spans: InMemorySpanExporter) -> None:
        with pytest.raises(ValueError, match="hunter2"), telemetry.span("x"):
            raise ValueError("hunter2")

        (span,) = spans.get_finished_spans()
        assert span.status.status_code is trace.StatusCode.ERROR
        assert "hunter2" not in span.to_json()

    @pytest.mark.parametrize("parent", ["", "x", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", PARENT.upper()])
    def test_start_anew_when_the_parent_makes_no_sense(self, parent: str, spans: InMemorySpanExporter) -> None:
        with telemetry.span("x", parent=parent):
            pass

        assert spans.get_finished_spans()[0].parent is None

    def test_hand_the_trace_of_the_call_on_while_off(self) -> None:
        with answering(CallContext(traceparent=PARENT)):
            assert telemetry.current_traceparent() == PARENT
