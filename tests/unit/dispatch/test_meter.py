"""What a run counts of blobs under way: to each destination what went there, whatever became of the others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from image_syncer.dispatch.meter import Meter
from image_syncer.dispatch.running_jobs import RunningJobs
from image_syncer.dispatch.watchdog import Watchdog
from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import Arrival, BlobNeed, BlobOutcome, Lease, LeaseLimits, RetryPolicy, Scheduler
from image_syncer.telemetry.observing import OBSERVERS, Observed, Observer
from image_syncer.worker.protocol import Beat

if TYPE_CHECKING:
    from image_syncer.dispatch.running_jobs import RunningJob
    from image_syncer.telemetry.observing import Measures

NEAR, FAR = Repository("near.example", "app"), Repository("far.example", "app")
MOVED, PRESENT = BlobOutcome(Arrival.MOVED, 1000), BlobOutcome(Arrival.PRESENT)


class Lab(Observer):
    """A blob of 1,000 bytes on its way to two registries, in one job."""

    def __init__(self) -> None:
        watchdog = Watchdog(60.0, on_hopeless=lambda _stuck: False)
        self._running = RunningJobs(0.0, watchdog, lambda _stuck: True, self._end)
        self._scheduler = Scheduler(LeaseLimits(4), RetryPolicy(), lambda: 0.5)
        self._scheduler.join(1)
        source = Repository("source.example", "app")
        needs = [BlobNeed(digest_of(b"x"), 1000, source, place, number) for number, place in enumerate((NEAR, FAR))]
        [lease] = [one for one in self._scheduler.want(needs) if isinstance(one, Lease)]
        self._running.begin(1, lease.job, 0.0)
        self.job: RunningJob = self._running.by_id[lease.job.id]
        token = OBSERVERS.set((self,))
        client: Any = SimpleNamespace(retries={}, transport=SimpleNamespace(tally=None))
        self._meter = Meter(Observed(), client)
        OBSERVERS.reset(token)

    def beat(self, received: int, *sent: int) -> None:
        number = str(self.job.job.id)
        self._meter.on_beat(Beat({}, {number: received}, sent={number: list(sent)}), self._running)

    def end(self, *results: BlobOutcome) -> None:
        self._running.end(self.job, list(results), 1.0)

    def _end(self, record: Any, running: RunningJob, results: list[BlobOutcome]) -> None:
        self._meter.on_transfer(record, running, results, set())

    def on_measures(self, measures: Measures) -> None:
        self.measures = measures

    def told(self) -> tuple[int, int, int, int]:
        """Bytes that came, that went to each of the two, and that are in the ring."""
        supervisor: Any = SimpleNamespace(replaced=0, pids=())
        pacing: Any = SimpleNamespace(rates=dict, bytes=SimpleNamespace(rates=dict))
        self._meter.tell(supervisor, self._scheduler, pacing, {}, 1)
        moved = self.measures.moved
        came = moved.get(("source", "source.example"), 0)
        near, far = (moved.get(("destination", place.registry), 0) for place in (NEAR, FAR))
        return came, near, far, self.measures.in_rings


def test_one_that_ends_before_the_other_has_all_of_its_bytes() -> None:
    lab = Lab()
    lab.beat(300, 300, 100)
    assert lab.told() == (300, 300, 100, 200)
    lab.job.ended_targets[0] = MOVED
    lab.beat(1000, 1000, 600)
    assert lab.told() == (1000, 1000, 600, 400)
    lab.end(MOVED, MOVED)
    assert lab.told() == (1000, 1000, 1000, 0)


def test_one_that_has_the_blob_already_took_nothing() -> None:
    lab = Lab()
    lab.job.ended_targets[0] = PRESENT
    lab.beat(500, 0, 400)
    assert lab.told() == (500, 0, 400, 100)
    lab.end(PRESENT, MOVED)
    assert lab.told() == (1000, 0, 1000, 0)


def test_what_goes_once_more_counts_once_and_what_failed_stays_counted() -> None:
    lab = Lab()
    lab.beat(600, 600, 500)
    lab.beat(300, 200, 500)
    assert lab.told() == (600, 600, 500, 100)
    lab.end(MOVED, BlobOutcome(None))
    assert lab.told() == (1000, 1000, 500, 0)


def test_a_job_of_which_no_worker_told_before_its_end_is_counted_too() -> None:
    lab = Lab()
    lab.end(MOVED, MOVED)
    assert lab.told() == (1000, 1000, 1000, 0)
