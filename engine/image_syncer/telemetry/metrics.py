"""Metrics of runs for Prometheus, from what runs tell: snapshots, results of images, reports.

Names and units follow https://prometheus.io/docs/practices/naming/: seconds and bytes, `_total` for what only grows. No
label holds the name of a repository, a tag or a digest; outcomes, kinds of requests and sides are a few each, and only
so many registries are labels (`measured_series`), so the number of time series is bounded whatever is copied.

Needs prometheus-client (the extra `metrics`), which nothing else loads. A registry of our own holds the metrics, not
the client's global one: a program around the engine keeps its own.

The series that are made of `Measures` when Prometheus asks: those of runs that have ended, and of those under way.

Names of registries are labels, and who writes the files chooses them: those that come first have series of their own,
and all others are "other".
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
from image_syncer.telemetry.transfer_record import TRANSFER_OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import CollectorRegistry, Metric

    from image_syncer.telemetry.measures import Measures
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import Report

__all__ = ["MISSING", "MOST_REGISTRIES", "OTHER", "MeasuredSeries", "RunMetrics", "metrics_are_there"]


MOST_REGISTRIES = 100
OTHER = "other"
ALL_TOGETHER = "all"

_COUNTERS = {
    "requests": (
        "Requests to registries and token services, by how they were answered; broken: not at all, or not to the end.",
        ("registry", "operation", "status"),
    ),
    "moved_bytes": ("Bytes of blobs that came from sources, and that went to destinations.", ("side", "registry")),
    "request_retries": ("Requests that were sent again after a failure.", ("registry",)),
    "transfer_breaks": ("Transfers that broke off and went on, by side.", ("side",)),
    "transfers": ("Transfers of blobs that have ended, by what became of the blob.", ("outcome",)),
    "ring_wait_seconds": ("How long one side of transfers waited for the other, which was slower.", ("waiting",)),
    "ring_pauses": ("Downloads that were stopped because the ring was full.", ()),
    "worker_restarts": ("Worker processes that were started in the place of others.", ()),
}
_LIMITS: tuple[tuple[str, str, Callable[[Measures], Mapping[str | None, float] | Mapping[str, float]]], ...] = (
    (
        "limit_requests_per_second",
        "The rate at which a registry is asked, if one holds.",
        lambda measures: measures.requests_allowed,
    ),
    (
        "limit_connections",
        "Most connections for blobs to a registry, if any.",
        lambda measures: measures.connections_allowed,
    ),
    (
        "limit_bytes_per_second",
        "Most bytes a second of a registry, and of all together.",
        lambda measures: measures.bytes_allowed,
    ),
)
_SIDES = ("source", "destination")

_Key = tuple[str, tuple[str, ...]]


class _Sums(NamedTuple):
    counts: dict[_Key, float]
    answers: dict[tuple[str, str], list[float]]
    """By registry and operation: how many were in each bucket, and the seconds of all, last."""


class MeasuredSeries:
    """A collector of prometheus-client: `registry.register` takes it. Runs note from threads of their own, and it is
    asked from another one.
    """

    def __init__(self) -> None:
        self._known = {ALL_TOGETHER: ALL_TOGETHER}
        self._lock = threading.Lock()
        self._ended = _zero()
        self._under_way: dict[object, Measures] = {}
        self._worker_time = WorkerTime()

    def note(self, run: object, measures: Measures) -> None:
        """What is so now in one of the runs that are under way."""
        with self._lock:
            self._under_way[run] = measures

    def end(self, run: object) -> None:
        """The run has ended: what it has counted stays."""
        with self._lock:
            if (last := self._under_way.pop(run, None)) is not None:
                self._ended = self._sum(self._ended, (last,))

    def collect(self) -> Iterator[Metric]:
        """Called for each scrape, and once when it is registered."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        with self._lock:
            now = tuple(self._under_way.values())
            sums = self._sum(self._ended, now)
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
        for name, text, of in _LIMITS:
            # Of several runs, what the one that began last keeps to: limits cannot be added up.
            values: dict[str | None, float] = {}
            for one in now:
                values.update(of(one))
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
        cpu.add_metric(("coordinator",), own_cpu_s())
        cpu.add_metric(("workers",), self._worker_time.cpu_s(pids))
        yield cpu
        memory = GaugeMetricFamily(
            "image_syncer_resident_memory_bytes",
            "Resident memory of the coordinator, and of all workers.",
            labels=("process",),
        )
        memory.add_metric(("coordinator",), resident_bytes(("self",)))
        memory.add_metric(("workers",), resident_bytes(pids))
        yield memory

    def _sum(self, before: _Sums, more: tuple[Measures, ...]) -> _Sums:
        sums = _Sums(dict(before.counts), {key: list(values) for key, values in before.answers.items()})
        for measures in more:
            self._add(sums, measures)
        return sums

    def _add(self, sums: _Sums, now: Measures) -> None:
        counts, answers = sums

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
        """The name itself for those that came first."""
        label = self._known.get(registry)
        if label is not None or len(self._known) > MOST_REGISTRIES:
            return label or OTHER
        return self._known.setdefault(registry, registry)


def _zero() -> _Sums:
    """What has not happened yet is 0, and not unknown: rates and alerts want it so."""
    counts: dict[_Key, float] = {("ring_pauses", ()): 0, ("worker_restarts", ()): 0}
    counts.update({("ring_wait_seconds", (side,)): 0 for side in _SIDES})
    counts.update({("transfer_breaks", (side,)): 0 for side in (*_SIDES, "while_idle")})
    counts.update({("transfers", (outcome.replace(" ", "_"),)): 0 for outcome in TRANSFER_OUTCOMES})
    return _Sums(counts, {})


MISSING = "metrics need the package prometheus-client: pip install 'image-syncer[metrics]'"
"""What is said where it is not installed."""

RUN_SECONDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
"""Buckets of how long runs take: from one in which nothing changed to a migration."""

LEAST_RENDER_S = 0.25
"""Runs tell how far they are as often; what is asked for more often, changes little."""

_ENDS = ("success", "failure", "interrupted", "internal_error")


def metrics_are_there() -> bool:
    """Whether prometheus-client is installed."""
    try:
        import prometheus_client  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


class RunMetrics(Observer):
    """Counts what runs tell, any number of them at a time. `registry` takes further metrics, and `clock` gives seconds
    of the epoch.

    Raises ImportError where prometheus-client is not installed: ask `metrics_are_there`.
    """

    def __init__(self, version: str, clock: Callable[[], float] = time.time) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

        self.registry: CollectorRegistry = CollectorRegistry(auto_describe=True)
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[Observer, Snapshot] = {}
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
        self._last_success = gauge("last_success_timestamp_seconds", "When the last run that went well ended; 0: none.")
        self._images = counter("images", "Images and destinations that were brought to an outcome.", "outcome")
        self._bytes = counter("copied_bytes", "Bytes of blobs that destinations took.")
        self._blobs = counter("blobs", "Blobs, by how destinations got them.", "way")
        self._read = counter("verified_bytes", "Bytes of blobs that were read and hashed to verify them.")
        self._measured = MeasuredSeries()
        self.registry.register(self._measured)
        self._running = gauge("run_in_progress", "Runs that are under way: 1, or 0.")
        self._run_images = gauge("run_images", "Images of the run that is under way.", "state")
        self._run_bytes = gauge("run_bytes", "Bytes of the run that is under way.", "state")
        self._rate = gauge("run_bytes_per_second", "What the run that is under way moves.")
        self._time_left = gauge(
            "run_time_left_seconds", "How long the run that is under way still takes; NaN: nobody knows."
        )
        self._time_left.set(math.nan)
        build = Info("image_syncer_build", "The version that runs.", registry=self.registry)
        build.info({"version": version})
        # What has not happened yet is 0, and not unknown: rates and alerts want it so.
        for end in _ENDS:
            self._runs.labels(end)
        for outcome in Outcome:
            if not outcome.is_of_verification:
                self._images.labels(_label(outcome))
        for way in ("moved", "mounted", "present"):
            self._blobs.labels(way)

    def of_run(self) -> Observer:
        """Who tells of one run."""
        return _OneRun(self)

    def note_refused(self) -> None:
        """A run could not begin, and has no report."""
        self._changes += 1
        self._runs.labels("failure").inc()
        self._last_end.set(self._clock())

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition in the form that fits an `Accept` field, and its content type.

        Made anew where runs have told something since, or after `LEAST_RENDER_S`: however many ask, and how often, it
        takes the runs no more than that.
        """
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        # Older versions leave the registry's type out of what they say of `encode`.
        encoder: Callable[[Any], bytes] = encode
        changes, now = self._changes, time.monotonic()
        kept = self._rendered.get(content_type)
        if kept is None or kept[0] != changes or now - kept[1] >= LEAST_RENDER_S:
            kept = self._rendered[content_type] = (changes, now, encoder(self.registry))
        return kept[2], content_type

    def note(self, run: Observer, snapshot: Snapshot) -> None:
        """What is so now in one of the runs."""
        with self._lock:
            self._under_way[run] = snapshot
        self._show()

    def note_measures(self, run: Observer, measures: Measures) -> None:
        """As of `note`."""
        self._measured.note(run, measures)
        self._changes += 1

    def note_image(self, result: ImageResult) -> None:
        """An image has an outcome at one destination."""
        self._images.labels(_label(result.outcome)).inc()
        self._bytes.inc(result.bytes_moved)
        self._blobs.labels("moved").inc(result.blobs_moved)
        self._blobs.labels("mounted").inc(result.blobs_mounted)
        self._blobs.labels("present").inc(result.blobs_present)
        self._read.inc(result.bytes_read or 0)

    def end(self, run: Observer, report: Report | None) -> None:
        """One of the runs has ended; without a report, it counts as none."""
        self._measured.end(run)
        with self._lock:
            self._under_way.pop(run, None)
        self._show()
        if report is None:
            return
        end, now = _end_of(report), self._clock()
        self._runs.labels(end).inc()
        self._seconds.observe(report.seconds)
        self._last_end.set(now)
        if end == "success":
            self._last_success.set(now)

    def _show(self) -> None:
        """What runs have told of themselves; where none is under way, what the last one told stays."""
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


class _OneRun(Observer):
    """What one run tells `metrics`."""

    def __init__(self, metrics: RunMetrics) -> None:
        self._metrics = metrics

    def on_begin(self, kind: str, began_at: float) -> None:  # noqa: ARG002 - see `Observer`
        """A run begins."""
        self._metrics.note(self, Snapshot())

    def on_progress(self, snapshot: Snapshot) -> None:
        """What is so now."""
        self._metrics.note(self, snapshot)

    def on_measures(self, measures: Measures) -> None:
        """What is so now."""
        self._metrics.note_measures(self, measures)

    def on_image(self, result: ImageResult) -> None:
        """An image has an outcome at one destination."""
        self._metrics.note_image(result)

    def on_report(self, report: Report) -> None:
        """The run has ended, and this is its report."""
        self._metrics.end(self, report)

    def on_abandoned(self) -> None:
        """The run has ended, and has none."""
        self._metrics.end(self, None)


def _end_of(report: Report) -> str:
    if report.internal_error is not None:
        return "internal_error"
    if report.interrupted is not None:
        return "interrupted"
    return "failure" if report.exit_code else "success"


def _label(outcome: Outcome) -> str:
    return outcome.value.replace(" ", "_")
