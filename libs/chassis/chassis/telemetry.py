"""Logs, metrics and traces.

Logs are JSON lines with service, request id and trace id; never a secret, a prompt or a document. Metrics are
Prometheus's. Spans are written by hand at the edges and cost one check while tracing is off, which is the default.
"""

import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from opentelemetry import trace
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from chassis.rpc.caller import call_or_none
from chassis.settings import ProcessSettings

METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

current_service: ContextVar[str] = ContextVar("current_service", default="")
"""Which service this task works for; several may share a process."""

registry = CollectorRegistry()
rpc_seconds = Histogram(
    "fleet_rpc_seconds",
    "Time to answer an RPC, for streams to their end, by status code.",
    ["service", "method", "code"],
    registry=registry,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
rpc_in_flight = Gauge("fleet_rpc_in_flight", "RPCs being answered.", ["service"], registry=registry)
refused_accesses = Counter(
    "fleet_refused_accesses", "RPCs refused, by reason.", ["service", "reason"], registry=registry
)
peer_seconds = Histogram(
    "fleet_peer_seconds",
    "Time of calls to peers, by status code.",
    ["peer", "method", "code"],
    registry=registry,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


def metrics_text() -> bytes:
    """Return all metrics of the process in Prometheus's text format."""
    return generate_latest(registry)


# --- logs -------------------------------------------------------------------------------------------------------------


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger: `log.info("document_indexed", document_id=…)`. The event is a name, what varies are fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler


class _StandardError(_StreamHandler):
    """Writes to what standard error is at the moment: it may be replaced and closed while the process runs."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute there, looked up anew here
        return sys.stderr


def configure_logging(settings: ProcessSettings) -> None:
    """Send our logs and those of libraries to standard error, a line each."""
    shared: list[structlog.typing.Processor] = [
        _add_context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    handler = _StandardError()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [*(other for other in root.handlers if not isinstance(other, _StandardError)), handler]
    root.setLevel(settings.log_level)
    # They tell of every request, or of every wait, at the level where we tell of what matters.
    for chatty in ("httpx", "httpcore", "botocore", "urllib3", "asyncio", "nats", "grpc"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _add_context(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if service := current_service.get():
        event.setdefault("service", service)
    if call := call_or_none():
        event.setdefault("request_id", call.request_id)
        event.setdefault("method", call.method)
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event.setdefault("trace_id", f"{context.trace_id:032x}")
    return event


# --- traces -----------------------------------------------------------------------------------------------------------


class _Tracing:
    tracer: trace.Tracer | None = None


def configure_tracing(settings: ProcessSettings) -> None:
    """Export spans to the collector of the settings; without one, tracing stays off."""
    if not settings.telemetry.endpoint or _Tracing.tracer is not None:
        return
    # The SDK takes a quarter of a second to import, and most processes run without it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.telemetry.sample_ratio),
        resource=Resource.create({"service.namespace": "definable", "service.name": settings.name}),
    )
    endpoint = settings.telemetry.endpoint.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    _Tracing.tracer = provider.get_tracer("definable")


@contextmanager
def span(
    name: str, *, kind: SpanKind = SpanKind.INTERNAL, parent: str = "", **attributes: Any
) -> Iterator[Span | None]:
    """Trace the block as a span; `parent` is the traceparent of another process. Yields None while tracing is off."""
    if _Tracing.tracer is None:
        yield None
        return
    context = trace.set_span_in_context(NonRecordingSpan(remote)) if (remote := _parse(parent)) else None
    with _Tracing.tracer.start_as_current_span(
        name, context=context, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except BaseException as error:
            # The type only: messages of exceptions may hold what a trace must not.
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def current_traceparent() -> str:
    """Return the trace of this task in W3C form: of the span that is open, else of the call that is being answered."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
    call = call_or_none()
    return call.traceparent if call else ""


def link_to(traceparent: str) -> list[Link]:
    """Return links to a trace that caused this work without waiting for it: an event's, a job's."""
    context = _parse(traceparent)
    return [Link(context)] if context else []


def _parse(traceparent: str) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    context = SpanContext(
        int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=TraceFlags(int(match[3], 16))
    )
    return context if context.is_valid else None
