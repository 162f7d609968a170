"""What the local API counts, in the form that Prometheus reads.

Each application has a registry of its own. Knows nothing of HTTP, and asks nobody: what it shows of the engine is what
was last known.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.api.events import CacheReport, Usage
from engine.serve.admission import Admission
from engine.serve.board import Board
from engine.serve.request_log import LogEntry

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_WAITS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_GAPS_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)
_WHOLE_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
_REFUSED = (401, 403, 408, 413, 415, 429, 503)


class Metrics:
    def __init__(self, admission: Admission, board: Board) -> None:
        self._registry = registry = CollectorRegistry()
        self.cache: CacheReport | None = None
        """What was last known of the engine's caches."""

        def count(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"fovea_{name}", what, labels, registry=registry)

        def spread(name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"fovea_{name}_seconds", what, buckets=buckets, registry=registry)

        self._requests = count("http_requests", "HTTP requests by route and status.", "route", "status")
        self._rejections = count("rejections", "Requests that were turned away, by reason.", "reason")
        self._cancellations = count("cancellations", "Requests whose client left early.")
        self._prompt_tokens = count("prompt_tokens", "Tokens of prompts.")
        self._cached_tokens = count("cached_tokens", "Tokens of prompts that did not have to be computed.")
        self._completion_tokens = count("completion_tokens", "Tokens of answers.")
        self._queue = spread("queue", "How long answers waited for their turn.", _WAITS_S)
        self._first = spread("time_to_first_token", "From a request to the first piece of its answer.", _WAITS_S)
        self._gaps = spread("inter_token", "Between one token of an answer and the next.", _GAPS_S)
        self._whole = spread("answer", "From a request to the end of its answer.", _WHOLE_S)
        registry.register(_Present(self, admission, board))

    def observe(self, entry: LogEntry) -> None:
        """An observer of the request log."""
        self._requests.labels(entry.route, str(entry.status)).inc()
        if entry.status in _REFUSED:
            self._rejections.labels(entry.error or "other").inc()
        if entry.cancelled:
            self._cancellations.inc()

    def began(self, seconds: float) -> None:
        """An answer's turn has come, after so long."""
        self._queue.observe(seconds)

    def spoke_first(self, seconds: float) -> None:
        self._first.observe(seconds)

    def spoke_again(self, seconds: float, tokens: int) -> None:
        """So many tokens more, so long after those before."""
        for _ in range(tokens):
            self._gaps.observe(seconds / tokens)

    def ended(self, seconds: float, usage: Usage) -> None:
        self._whole.observe(seconds)
        self._prompt_tokens.inc(usage.prompt_tokens)
        self._cached_tokens.inc(usage.cached_tokens)
        self._completion_tokens.inc(usage.completion_tokens)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Present(Collector):
    """How things are when somebody looks."""

    def __init__(self, metrics: Metrics, admission: Admission, board: Board) -> None:
        self._metrics = metrics
        self._admission = admission
        self._board = board

    def collect(self) -> Iterator[Metric]:
        def gauge(name: str, what: str, value: float) -> Metric:
            return GaugeMetricFamily(f"fovea_{name}", what, value=value)

        yield gauge("requests_running", "Answers that are being drawn.", self._admission.running)
        yield gauge("requests_waiting", "Answers that wait for their turn.", self._admission.waiting)
        yield gauge("model_loaded", "Whether a model is loaded.", self._board.model is not None)
        yield gauge("model_loading", "Whether one is being loaded.", bool(self._board.loading))
        if (status := self._board.status) is not None:
            yield gauge("memory_bytes", "In use by the model and its caches.", status.memory_bytes)
        yield from _cache_metrics(self._metrics.cache)


def _cache_metrics(report: CacheReport | None) -> Iterator[Metric]:
    if report is None:
        return
    held = GaugeMetricFamily("fovea_cache_bytes", "Held by each cache; prefixes are keys and values.", labels=["cache"])
    hits = CounterMetricFamily("fovea_cache_hits", "Found again.", labels=["cache"])
    misses = CounterMetricFamily("fovea_cache_misses", "Not found.", labels=["cache"])
    for name, counts in (("prefixes", report.prefixes), ("features", report.features), ("disk", report.disk)):
        if counts is not None:
            held.add_metric([name], counts.bytes)
            hits.add_metric([name], counts.hits)
            misses.add_metric([name], counts.misses)
    yield from (held, hits, misses)
