"""The series that are made of `Measures` when Prometheus asks: those of runs that have ended, and of those under way.

Names of registries are labels, and who writes the files chooses them: those that come first have series of their own,
and all others are "other".
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from image_syncer.net import ANSWER_SECONDS, BROKEN
from image_syncer.telemetry.processes import WorkerTime, own_cpu_s, resident_bytes
from image_syncer.telemetry.transfer_record import TRANSFER_OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from image_syncer.telemetry.measures import Measures

__all__ = ["MOST_REGISTRIES", "OTHER", "MeasuredSeries"]

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
