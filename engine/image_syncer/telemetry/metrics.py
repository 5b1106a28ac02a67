"""Metrics of runs for Prometheus, from what runs tell: snapshots, results of images, reports.

Names and units follow https://prometheus.io/docs/practices/naming/: seconds and bytes, `_total` for what only grows. No
label holds the name of a repository, a tag or a digest; outcomes, kinds of requests and sides are a few each, and only
so many registries are labels (`measured_series`), so the number of time series is bounded whatever is copied.

Needs prometheus-client (the extra `metrics`), which nothing else loads. A registry of our own holds the metrics, not
the client's global one: a program around the engine keeps its own.
"""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

from image_syncer.telemetry.measured_series import MeasuredSeries
from image_syncer.telemetry.observing import Observer
from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.progress import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from image_syncer.telemetry.measures import Measures
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.report import Report

__all__ = ["MISSING", "RunMetrics", "metrics_are_there"]

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
