"""The quarantine: who is suspected when a worker dies, who is not, and what becomes of the guilty."""

from __future__ import annotations

import pytest

from image_syncer.errors import WorkerError
from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import BlobFailed, BlobNeed, BlobTarget, Decision, LeaseLimits, RetryPolicy, Scheduler
from image_syncer.scheduling.blob_set import MOST_DEATHS, MOST_LOSSES, Quarantine

SOURCE, MIRROR = Repository("src.example", "team/app"), Repository("mirror.example", "team/app")
APP, WEB, ELSEWHERE = (
    Repository("dst.example", "app"),
    Repository("dst.example", "web"),
    Repository("far.example", "app"),
)
BLOB, OTHER = digest_of(b"blob"), digest_of(b"other")
KILLED = WorkerError("worker process 7 was killed (SIGKILL)")
SIZE = 800


def target() -> BlobTarget:
    return BlobTarget(BLOB, SIZE, SOURCE, APP, [1], "app")


def test_a_blob_that_kills_at_the_same_place_each_time_is_given_up_after_its_last_chance() -> None:
    quarantine, guilty = Quarantine(), target()
    assert [quarantine.lost(guilty, 0, KILLED) for _ in range(MOST_LOSSES - 1)] == [None] * (MOST_LOSSES - 1)
    assert quarantine.find(SOURCE, BLOB) is None
    error = quarantine.lost(guilty, 0, KILLED)
    assert error is not None
    assert error.message == f"3 workers were lost while they held this blob; the last: {KILLED.message}"
    assert not error.retryable
    assert len(quarantine.blobs) == 1
    found = quarantine.find(SOURCE, BLOB)
    assert found is not None
    assert found.message == error.message
    # What another repository has under the same digest may be other bytes.
    assert quarantine.find(MIRROR, BLOB) is None
    assert quarantine.find(SOURCE, OTHER) is None


def test_a_blob_that_comes_further_each_time_is_not_suspected() -> None:
    quarantine, innocent = Quarantine(), target()
    for step in range(1, 8):
        assert quarantine.lost(innocent, step * SIZE // 8, KILLED) is None
    assert (innocent.losses, innocent.deaths) == (0, 7)
    # A little further is no further: something that kills at some place does not hit the same byte each time.
    assert quarantine.lost(innocent, SIZE * 7 // 8 + 1, KILLED) is None
    assert innocent.losses == 1


def test_there_is_a_bound_however_far_a_blob_comes() -> None:
    quarantine, long = Quarantine(), BlobTarget(BLOB, -1, SOURCE, APP, [1], "app")
    answers = [quarantine.lost(long, 1000 * number, KILLED) for number in range(1, MOST_DEATHS + 1)]
    assert answers[:-1] == [None] * (MOST_DEATHS - 1)
    assert answers[-1] is not None


def need(repository: Repository, delivery: int, source: Repository = SOURCE) -> BlobNeed:
    return BlobNeed(BLOB, SIZE, source, repository, delivery)


@pytest.fixture
def scheduler() -> Scheduler:
    """One in which the blob has cost its workers."""
    scheduler = Scheduler(LeaseLimits(4, workers=1), RetryPolicy(), lambda: 0.0)
    scheduler.want([need(APP, 1)])
    for worker in range(MOST_LOSSES):
        scheduler.join(worker)
        decisions = scheduler.lose(worker, KILLED)
    assert [decision.delivery for decision in decisions if isinstance(decision, BlobFailed)] == [1]
    scheduler.join(100)
    return scheduler


@pytest.mark.parametrize("repository", [APP, WEB, ELSEWHERE])
def test_whoever_needs_it_later_fails_at_once_and_costs_no_worker(scheduler: Scheduler, repository: Repository) -> None:
    [failed] = scheduler.want([need(repository, 2)])
    assert isinstance(failed, BlobFailed)
    assert (failed.delivery, failed.digest) == (2, BLOB)
    assert failed.error.message.startswith("3 workers were lost")
    assert scheduler.stats().in_flight == 0
    assert scheduler.jobs_of(100) == []


def test_from_another_source_it_is_moved(scheduler: Scheduler) -> None:
    scheduler.want([need(APP, 2, MIRROR)])
    assert [job.source for job in scheduler.jobs_of(100)] == [MIRROR]


def test_what_waited_for_a_worker_when_it_was_found_out_fails_too() -> None:
    # Two destinations, and room for one job: the second waits all the time for a worker of its own.
    scheduler = Scheduler(LeaseLimits(1, workers=1, proc=1), RetryPolicy(), lambda: 0.0)
    scheduler.want([need(APP, 1)])
    scheduler.join(0)
    scheduler.want([need(ELSEWHERE, 2)])
    failed: list[Decision] = []
    for worker in range(2 * MOST_LOSSES):  # they take turns
        failed += scheduler.lose(worker, KILLED)
        failed += scheduler.join(worker + 1)
    told = [decision.delivery for decision in failed if isinstance(decision, BlobFailed)]
    assert sorted(told) == [1, 2]
    assert scheduler.stats().in_flight == 0
