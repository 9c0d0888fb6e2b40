"""What the gateway counts, for /metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from chassis import telemetry

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "gateway_requests", "Requests answered.", ["operation", "method", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "gateway_request_seconds",
            "Time to the end of the answer.",
            ["operation"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        # Looking up a child by its labels costs more than counting does.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}
        self.in_flight = Gauge(
            "gateway_in_flight", "Requests being answered, without streams.", registry=self._registry
        )
        self.streams = Gauge("gateway_streams", "Open event streams.", registry=self._registry)
        self._refused = Gauge(
            "gateway_contract_refused",
            "1 while a service's contract is incompatible.",
            ["service"],
            registry=self._registry,
        )

    def observe(self, operation: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `operation` is a name from the contracts, never a path."""
        key = (operation, method if method in _METHODS else "other", status)
        if key not in self._counters:
            self._counters[key] = self._requests.labels(operation, key[1], str(status))
            self._timers[operation] = self._seconds.labels(operation)
        self._counters[key].inc()
        self._timers[operation].observe(seconds)

    def watch_contract(self, service: str, is_refused: Callable[[], float]) -> None:
        """Show whether a service's contract is refused, read when the metrics are."""
        self._refused.labels(service).set_function(is_refused)

    def render(self) -> bytes:
        """Return the gateway's metrics and those of its process, in Prometheus' text format."""
        return generate_latest(self._registry) + telemetry.metrics_text()
