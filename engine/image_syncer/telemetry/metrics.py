"""Metrics of runs for Prometheus, from what runs tell observers: snapshots, measures, results of images, reports.

Names and units follow https://prometheus.io/docs/practices/naming/. No label is the name of a repository, a tag or a
digest; outcomes, kinds of requests and sides are a few each, and only the first `MOST_REGISTRIES` registries have their
own labels, so the number of time series is bounded. It needs prometheus-client (the extra `metrics`), which nothing
else loads, and has a registry of its own: a program around the engine keeps the client's global one.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from image_syncer.net import ANSWER_SECONDS, BROKEN
from image_syncer.telemetry.observing import Observer
from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.processes import WorkerTime, own_cpu_s, resident_bytes
from image_syncer.telemetry.progress import Snapshot
from image_syncer.telemetry.report import TRANSFER_OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client import CollectorRegistry, Metric

    from image_syncer.telemetry.observing import Measures
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import Report


MOST_REGISTRIES = 100
OTHER = "other"
ALL_TOGETHER = "all"

_COUNTERS = {
    "requests": (
        "Requests to registries and token services, by the class of their status; broken: without a complete answer.",
        ("registry", "operation", "status"),
    ),
    "moved_bytes": ("Bytes of blobs received from sources and sent to destinations.", ("side", "registry")),
    "request_retries": ("Requests that were sent again after a failure.", ("registry",)),
    "transfer_breaks": ("Interrupted transfers that were resumed, by side.", ("side",)),
    "transfers": ("Transfers of blobs that have ended, by outcome.", ("outcome",)),
    "ring_wait_seconds": ("Seconds that one side of transfers waited for the slower side.", ("waiting",)),
    "ring_pauses": ("Pauses of downloads because the ring was full.", ()),
    "worker_restarts": ("Worker processes that replaced another one.", ()),
}
_LIMITS = (
    ("limit_requests_per_second", "Limit of requests per second to a registry, if any.", "requests_allowed"),
    ("limit_connections", "Limit of connections for blobs to a registry, if any.", "connections_allowed"),
    ("limit_bytes_per_second", "Limit of bytes per second, of a registry and of all together.", "bytes_allowed"),
)
"""Name, help text, and the field of `Measures`."""
_SIDES = ("source", "destination")

_Key = tuple[str, tuple[str, ...]]


class _Sums(NamedTuple):
    counts: dict[_Key, float]
    answers: dict[tuple[str, str], list[float]]
    """By registry and operation: the count of each bucket, and last the seconds of all."""


MISSING = "metrics need the package prometheus-client: pip install 'image-syncer[metrics]'"
"""The error where it is not installed."""
RUN_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
"""Buckets of the durations of runs: from one without changes to a migration."""
LEAST_RENDER_S = 0.25
"""The interval of snapshots; metrics that are asked for more often change little."""
_ENDS = ("success", "failure", "interrupted", "internal_error")


def metrics_are_there() -> bool:
    """Return whether prometheus-client is installed."""
    try:
        import prometheus_client  # noqa: F401
    except ImportError:
        return False
    return True


class RunMetrics(Observer):
    """The metrics of any number of runs at a time, which note from their own threads. `registry` takes further metrics,
    `clock` returns epoch seconds.

    Raises ImportError where prometheus-client is not installed, see `metrics_are_there`.
    """

    def __init__(self, version: str, clock: Callable[[], float] = time.time) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

        self.registry: CollectorRegistry = CollectorRegistry(auto_describe=True)
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[Observer, Snapshot] = {}
        self._measures: dict[Observer, Measures] = {}
        self._ended = _zero()
        self._worker_time = WorkerTime()
        self._known = {ALL_TOGETHER: ALL_TOGETHER}
        self._changes = 0
        self._rendered: dict[str, tuple[int, float, bytes]] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"image_syncer_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"image_syncer_{name}", text, labels, registry=self.registry)

        self._runs = counter("runs", "Runs that have ended, by how they ended.", "result")
        self._seconds = Histogram(
            "image_syncer_run_duration_seconds", "How long runs took.", buckets=RUN_SECONDS, registry=self.registry
        )
        self._last_end = gauge("last_run_end_timestamp_seconds", "When the last run ended.")
        self._last_success = gauge("last_success_timestamp_seconds", "When the last successful run ended; 0: none.")
        self._images = counter("images", "Images with an outcome, counted once for each destination.", "outcome")
        self._bytes = counter("copied_bytes", "Bytes of blobs that were copied to destinations.")
        self._blobs = counter("blobs", "Blobs, by how destinations got them.", "way")
        self._read = counter("verified_bytes", "Bytes of blobs that were read and hashed to verify them.")
        self.registry.register(self)
        self._running = gauge("run_in_progress", "Runs that are under way: 1, or 0.")
        self._run_images = gauge("run_images", "Images of the run that is under way.", "state")
        self._run_bytes = gauge("run_bytes", "Bytes of the run that is under way.", "state")
        self._rate = gauge("run_bytes_per_second", "Bytes per second of the run that is under way.")
        self._time_left = gauge(
            "run_time_left_seconds", "Predicted time until the end of the run that is under way; NaN: not known."
        )
        self._time_left.set(math.nan)
        build = Info("image_syncer_build", "The version that runs.", registry=self.registry)
        build.info({"version": version})
        # Rates and alerts need 0, not unknown.
        for end in _ENDS:
            self._runs.labels(end)
        for outcome in Outcome:
            if not outcome.is_of_verification:
                self._images.labels(_label(outcome))
        for way in ("moved", "mounted", "present"):
            self._blobs.labels(way)

    def of_run(self) -> Observer:
        """Return the observer of one run."""
        return _MeteredRun(self)

    def note_refused(self) -> None:
        """Count a run that could not begin, and has no report."""
        self._changes += 1
        self._runs.labels("failure").inc()
        self._last_end.set(self._clock())

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the exposition in the form of an `Accept` field, and its content type.

        It is rendered again after a change or `LEAST_RENDER_S`, so that frequent scrapes do not slow the runs down.
        """
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        # In older versions the type of `encode` lacks the registry.
        encoder: Callable[[Any], bytes] = encode
        changes, now = self._changes, time.monotonic()
        kept = self._rendered.get(content_type)
        if kept is None or kept[0] != changes or now - kept[1] >= LEAST_RENDER_S:
            kept = self._rendered[content_type] = (changes, now, encoder(self.registry))
        return kept[2], content_type

    def note(self, run: Observer, snapshot: Snapshot) -> None:
        """Note the latest snapshot of a run."""
        with self._lock:
            self._under_way[run] = snapshot
        self._show()

    def note_measures(self, run: Observer, measures: Measures) -> None:
        """Note the latest measures of a run."""
        with self._lock:
            self._measures[run] = measures
        self._changes += 1

    def note_image(self, result: ImageResult) -> None:
        """Count the outcome of one image at one destination."""
        self._images.labels(_label(result.outcome)).inc()
        self._bytes.inc(result.bytes_moved)
        self._blobs.labels("moved").inc(result.blobs_moved)
        self._blobs.labels("mounted").inc(result.blobs_mounted)
        self._blobs.labels("present").inc(result.blobs_present)
        self._read.inc(result.bytes_read or 0)

    def end(self, run: Observer, report: Report | None) -> None:
        """Count a run that has ended; without a report, only its measures."""
        with self._lock:
            self._under_way.pop(run, None)
            if (last := self._measures.pop(run, None)) is not None:
                self._ended = self._sum(self._ended, last)
        self._show()
        if report is None:
            return
        now, end = self._clock(), "failure" if report.exit_code else "success"
        if report.internal_error is not None:
            end = "internal_error"
        elif report.interrupted is not None:
            end = "interrupted"
        self._runs.labels(end).inc()
        self._seconds.observe(report.seconds)
        self._last_end.set(now)
        if end == "success":
            self._last_success.set(now)

    def _show(self) -> None:
        """Set the gauges of the runs in progress; without any, those of the last run stay."""
        self._changes += 1
        with self._lock:
            runs = tuple(self._under_way.values())
        self._running.set(len(runs))
        self._rate.set(sum(one.bytes_per_s for one in runs))
        left = [math.nan if one.eta_s is None else one.eta_s for one in runs] or [math.nan]
        self._time_left.set(math.nan if any(map(math.isnan, left)) else max(left))
        if runs:
            self._run_images.labels("known").set(sum(one.images_total for one in runs))
            self._run_images.labels("done").set(sum(one.images_done for one in runs))
            self._run_bytes.labels("known").set(sum(one.bytes_total for one in runs))
            self._run_bytes.labels("done").set(sum(one.bytes_done for one in runs))

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, and once at the registration."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        with self._lock:
            now = tuple(self._measures.values())
            sums = self._sum(self._ended, *now)
        for name, (text, labels) in _COUNTERS.items():
            family = CounterMetricFamily(f"image_syncer_{name}", text, labels=labels)
            for (of, values), count in sums.counts.items():
                if of == name:
                    family.add_metric(values, count)
            yield family
        answers = HistogramMetricFamily(
            "image_syncer_request_duration_seconds",
            "How long requests that were answered took; of a blob that is read, until its first byte.",
            labels=("registry", "operation"),
        )
        bounds = (*(str(bound) for bound in ANSWER_SECONDS), "+Inf")
        for key, (*counts, seconds) in sums.answers.items():
            so_far = [sum(counts[: place + 1]) for place in range(len(counts))]
            answers.add_metric(key, list(zip(bounds, so_far, strict=True)), sum_value=seconds)
        yield answers
        yield from self._gauges(now)
        yield from self._processes(now)

    def _gauges(self, now: tuple[Measures, ...]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        plain = (
            ("workers", "Worker processes that there are.", sum(len(one.pids) for one in now)),
            ("transfers_in_progress", "Transfers of blobs that are under way.", sum(one.in_flight for one in now)),
            (
                "ring_bytes",
                "Bytes that have come and wait in memory for destinations, as workers told last.",
                sum(one.in_rings for one in now),
            ),
            (
                "limit_streams",
                "Most blobs that one worker streams at a time now.",
                max((one.streams for one in now), default=0),
            ),
        )
        for name, text, value in plain:
            yield GaugeMetricFamily(f"image_syncer_{name}", text, value=value)
        for name, text, field in _LIMITS:
            # Limits of several runs cannot be added: those of the latest run count.
            values: dict[str | None, float] = {}
            for one in now:
                values.update(getattr(one, field))
            family = GaugeMetricFamily(f"image_syncer_{name}", text, labels=("registry",))
            for registry, limit in values.items():
                if (label := self._label(registry or ALL_TOGETHER)) != OTHER:
                    family.add_metric((label,), limit)
            yield family

    def _processes(self, now: tuple[Measures, ...]) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        pids = [pid for one in now for pid in one.pids]
        cpu = CounterMetricFamily(
            "image_syncer_cpu_seconds", "Processor time of the coordinator, and of all workers.", labels=("process",)
        )
        memory = GaugeMetricFamily(
            "image_syncer_resident_memory_bytes",
            "Resident memory of the coordinator, and of all workers.",
            labels=("process",),
        )
        for process, cpu_s, size_bytes in (
            ("coordinator", own_cpu_s(), resident_bytes(("self",))),
            ("workers", self._worker_time.cpu_s(pids), resident_bytes(pids)),
        ):
            cpu.add_metric((process,), cpu_s)
            memory.add_metric((process,), size_bytes)
        yield from (cpu, memory)

    def _sum(self, before: _Sums, *more: Measures) -> _Sums:
        sums = _Sums(dict(before.counts), {key: list(values) for key, values in before.answers.items()})
        for measures in more:
            self._add(measures, *sums)
        return sums

    def _add(self, now: Measures, counts: dict[_Key, float], answers: dict[tuple[str, str], list[float]]) -> None:
        def add(name: str, count: float, *labels: str) -> None:
            counts[name, labels] = counts.get((name, labels), 0) + count

        for registry, operation, status, seconds, buckets in now.requests:
            label, what = self._label(registry), operation.replace(" ", "_")
            add("requests", sum(buckets), label, what, status)
            if status != BROKEN:
                known = answers.setdefault((label, what), [0.0] * (len(ANSWER_SECONDS) + 2))
                for place, value in enumerate((*buckets, seconds)):
                    known[place] += value
        for (side, registry), size in now.moved.items():
            add("moved_bytes", size, side, self._label(registry))
        for registry, count in now.retries.items():
            add("request_retries", count, self._label(registry))
        for side, count in now.breaks.items():
            add("transfer_breaks", count, side.replace(" ", "_"))
        for outcome, count in now.transfers.items():
            add("transfers", count, outcome.replace(" ", "_"))
        for side, waited_s in now.waited_s.items():
            add("ring_wait_seconds", waited_s, side)
        add("ring_pauses", now.pauses)
        add("worker_restarts", now.replaced_workers)

    def _label(self, registry: str) -> str:
        """Return the registry's name for the first registries, and else `OTHER`."""
        label = self._known.get(registry)
        if label is not None or len(self._known) > MOST_REGISTRIES:
            return label or OTHER
        return self._known.setdefault(registry, registry)


def _zero() -> _Sums:
    """Return the series that exist from the start: rates and alerts need 0, not unknown."""
    counts: dict[_Key, float] = {("ring_pauses", ()): 0, ("worker_restarts", ()): 0}
    counts.update({("ring_wait_seconds", (side,)): 0 for side in _SIDES})
    counts.update({("transfer_breaks", (side,)): 0 for side in (*_SIDES, "while_idle")})
    counts.update({("transfers", (outcome.replace(" ", "_"),)): 0 for outcome in TRANSFER_OUTCOMES})
    return _Sums(counts, {})


class _MeteredRun(Observer):
    """The observer of one run, which passes its events to `metrics`."""

    def __init__(self, metrics: RunMetrics) -> None:
        self._metrics = metrics

    def on_begin(self, kind: str, began_at: float) -> None:  # noqa: ARG002 - see `Observer`
        self._metrics.note(self, Snapshot())

    def on_progress(self, snapshot: Snapshot) -> None:
        self._metrics.note(self, snapshot)

    def on_measures(self, measures: Measures) -> None:
        self._metrics.note_measures(self, measures)

    def on_image(self, result: ImageResult) -> None:
        self._metrics.note_image(result)

    def on_report(self, report: Report) -> None:
        self._metrics.end(self, report)

    def on_abandoned(self) -> None:
        self._metrics.end(self, None)


def _label(outcome: Outcome) -> str:
    return outcome.value.replace(" ", "_")
