"""How long a run takes in virtual time: workers whose streams share a core, and a scheduler that feeds them.

No order can end before the bytes of all are through all cores, nor before the largest blob is through one. What comes
near that bound has no worker idle before the end, and no giant that is left alone there.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import (
    Arrival,
    BlobNeed,
    BlobOutcome,
    Lease,
    LeaseLimits,
    RetryPolicy,
    Scheduler,
    StreamTuner,
)

if TYPE_CHECKING:
    from image_syncer.scheduling import Decision, Job

SOURCE, APP = Repository("src.example", "app"), Repository("dst.example", "app")
MB = 10**6
CORE = 100 * MB
"""Bytes a second that one worker moves."""
SMALL = MB
NEVER = float("inf")
BEAT_S = 0.5


@dataclass(eq=False)
class Moving:
    worker: int
    job: Job
    waits_until: float
    left: float


class Run:
    """Moves blobs of `sizes`; those of `late` are discovered at their time. Each blob waits `latency_s` before its
    first byte, and no stream is faster than `stream_rate`.
    """

    def __init__(
        self,
        sizes: list[int],
        *,
        workers: int,
        streams: int = 4,
        small_streams: int = 16,
        late: tuple[tuple[float, int], ...] = (),
        latency_s: float = 0.0,
        stream_rate: float = NEVER,
        tuner: StreamTuner | None = None,
    ) -> None:
        self.latency_s, self.stream_rate = latency_s, stream_rate
        self.workers = workers
        self.now = 0.0
        self.moving: list[Moving] = []
        self.ended: list[tuple[float, int, int]] = []
        """When, on which worker, and of which size."""
        self.busy_s = [0.0] * workers
        self.scheduler = Scheduler(
            LeaseLimits(streams, workers=workers, small_streams=small_streams, small_bytes=SMALL),
            RetryPolicy(),
            lambda: 0.5,
            tuner=tuner,
        )
        self.wanted = 0
        self.bytes = sum(sizes) + sum(size for _, size in late)
        for worker in range(workers):
            self.take(self.scheduler.join(worker))
        self.want(sizes)
        pending = sorted(late, reverse=True)
        beat = BEAT_S
        while self.moving or pending:
            arrival = pending[-1][0] if pending else NEVER
            self.advance(min(arrival, beat, self.next_end()))
            self.end()
            if self.now >= beat:
                beat += BEAT_S
                for worker in range(workers):
                    mine = [one for one in self.moving if one.worker == worker]
                    received = {one.job.id: int(one.job.size - one.left) for one in mine}
                    self.scheduler.progress(worker, received)
                self.take(self.scheduler.sample(self.now))
            while pending and self.now >= pending[-1][0]:
                self.want([pending.pop()[1]])

    @property
    def seconds(self) -> float:
        return self.ended[-1][0]

    def bound(self, *others: float) -> float:
        largest = max(size for *_, size in self.ended)
        return max(self.bytes / (CORE * self.workers), largest / CORE, *others)

    def want(self, sizes: list[int]) -> None:
        needs = []
        for size in sizes:
            self.wanted += 1
            needs.append(BlobNeed(digest_of(str(self.wanted).encode()), size, SOURCE, APP, self.wanted))
        self.take(self.scheduler.want(needs))

    def take(self, decisions: list[Decision]) -> None:
        for one in decisions:
            if isinstance(one, Lease):
                self.moving.append(Moving(one.worker, one.job, self.now + self.latency_s, one.job.size))

    def rates(self) -> list[tuple[Moving, float]]:
        flowing = [one for one in self.moving if one.waits_until <= self.now]
        sharing = [sum(one.worker == worker for one in flowing) for worker in range(self.workers)]
        return [(one, min(CORE / sharing[one.worker], self.stream_rate)) for one in flowing]

    def next_end(self) -> float:
        waits = [one.waits_until for one in self.moving if one.waits_until > self.now]
        return min([*waits, *(self.now + one.left / rate for one, rate in self.rates())], default=NEVER)

    def advance(self, until: float) -> None:
        seconds = until - self.now
        for one, rate in self.rates():
            one.left -= rate * seconds
        for worker in {one.worker for one in self.moving}:
            self.busy_s[worker] += seconds
        self.now = until

    def end(self) -> None:
        done = [one for one in self.moving if one.left < 1 and one.waits_until <= self.now]
        self.moving = [one for one in self.moving if one not in done]
        for worker in range(self.workers):
            mine = [one.job for one in done if one.worker == worker]
            self.ended += [(self.now, worker, job.size) for job in mine]
            for job in mine:
                self.take(self.scheduler.end(worker, job.id, [BlobOutcome(Arrival.MOVED, job.size)], self.now))


def log_normal(number: int, median: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    return [int(chance.lognormvariate(0, 1.5) * median) + 1 for _ in range(number)]


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
@pytest.mark.parametrize("streams", [1, 4, 16])
def test_few_giants_and_many_small_blobs(workers: int, streams: int) -> None:
    run = Run([*[3000 * MB] * workers, *[MB // 10] * 600], workers=workers, streams=streams, latency_s=0.02)
    assert run.seconds < 1.05 * run.bound()
    small_ended = max(when for when, _, size in run.ended if size <= SMALL)
    assert small_ended < run.seconds / 5, "they ride beside"


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("streams", [1, 2, 16])
def test_fewer_giants_than_workers(workers: int, streams: int) -> None:
    run = Run([2000 * MB, *[20 * MB] * 40 * workers], workers=workers, streams=streams)
    assert run.seconds < 1.05 * run.bound()


@pytest.mark.parametrize("workers", [2, 4, 8])
@pytest.mark.parametrize("streams", [1, 4, 16])
@pytest.mark.parametrize("seed", range(5))
def test_sizes_of_the_real_world(workers: int, streams: int, seed: int) -> None:
    run = Run(log_normal(400, 10 * MB, seed), workers=workers, streams=streams)
    assert run.seconds < 1.08 * run.bound()


def test_a_giant_that_is_the_longest_path_has_a_core_for_itself() -> None:
    run = Run([10_000 * MB, *[40 * MB] * 200], workers=2, streams=4)
    assert run.seconds == pytest.approx(100.0, rel=0.02)
    giants = {worker for _, worker, size in run.ended if size == 10_000 * MB}
    assert {worker for _, worker, size in run.ended[5:-1]}.isdisjoint(giants)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("streams", [1, 4, 16])
def test_a_giant_that_is_discovered_late(workers: int, streams: int) -> None:
    sizes = [10 * MB] * 100 * workers
    run = Run(sizes, workers=workers, streams=streams, late=((5.0, 3000 * MB),))
    # It starts as soon as a stream is free, and then takes a core for itself.
    assert run.seconds < 1.08 * run.bound(5.0 + 3000 * MB / CORE)


def test_few_large_blobs_are_spread_over_the_workers() -> None:
    run = Run([256 * MB] * 8, workers=4, streams=16)
    assert sorted(worker for _, worker, _ in run.ended) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert run.seconds == pytest.approx(run.bound())


def test_small_blobs_hide_the_latency_of_each_other() -> None:
    run = Run([1000] * 2000, workers=2, small_streams=64, latency_s=0.1)
    assert run.seconds < 1.1 * 2000 / (2 * 64) * 0.1
    slow = Run([1000] * 2000, workers=2, small_streams=0, streams=16, latency_s=0.1)
    assert slow.seconds > 3.5 * run.seconds


def test_where_streams_are_slow_the_tuner_takes_many_and_loses_little() -> None:
    stream_rate = CORE / 50
    best = Run([20 * MB] * 1500, workers=2, streams=16, stream_rate=stream_rate, latency_s=0.3)
    tuned = Run([20 * MB] * 1500, workers=2, streams=16, stream_rate=stream_rate, latency_s=0.3, tuner=StreamTuner(16))
    assert tuned.seconds < 1.1 * best.seconds


def test_where_cores_are_full_the_tuner_takes_few() -> None:
    tuner = StreamTuner(16)
    run = Run([20 * MB] * 400, workers=2, streams=16, tuner=tuner)
    assert run.seconds < 1.01 * run.bound()
    assert tuner.allowed <= 2
