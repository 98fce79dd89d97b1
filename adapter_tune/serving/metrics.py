"""What the server measures of itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_PREFIX = "adapter_tune_"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_METHODS = frozenset(("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"))
_PATHS = frozenset(("/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v1/predict", "/v1/tasks"))


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answered requests.", ("method", "path", "status"))
        self.request_seconds = self._histogram("request_seconds", "From a request to its answer.", _SECONDS, ("path",))
        self.batch_rows = self._histogram("batch_rows", "Rows of a batch.", _COUNTS)
        self.batch_tasks = self._histogram("batch_tasks", "Tasks of a batch.", _COUNTS)
        self.batch_tokens = self._histogram("batch_tokens", "Tokens of a batch, with padding.", _TOKENS)
        self.batch_seconds = self._histogram("batch_seconds", "Computing a batch.", _SECONDS)
        self.padding_tokens = self._counter("padding_tokens", "Tokens that are padding.")
        self.truncated_rows = self._counter("truncated_rows", "Rows longer than their task reads.")
        self.queue_rows = self._gauge("queue_rows", "Rows that are accepted and not answered yet.")
        self.queue_seconds = self._histogram("queue_seconds", "From a row's tokens to its batch.", _SECONDS)
        self.adapters = self._gauge("adapters", "Tasks that are served.")
        self.adapters_resident = self._gauge("adapters_resident", "Tasks whose adapters are in memory.")
        self.adapter_load_seconds = self._histogram("adapter_load_seconds", "Loading an adapter.", _SECONDS)
        self.adapter_evictions = self._counter("adapter_evictions", "Adapters that made room for another one.")

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def observe_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request. Unknown methods and paths are one, so that clients cannot make any number of series."""
        known_path = _known_path(path)
        self.requests.labels(method if method in _METHODS else "other", known_path, str(status)).inc()
        self.request_seconds.labels(known_path).observe(seconds)

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(_PREFIX + name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(_PREFIX + name, meaning, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(_PREFIX + name, meaning, labels, buckets=buckets, registry=self.registry)


def _known_path(path: str) -> str:
    if path in _PATHS:
        return path
    return "/v1/tasks/{name}" if path.startswith("/v1/tasks/") else "other"
