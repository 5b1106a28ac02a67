from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from image_syncer.errors import (
    NotAskedError,
    NotFoundError,
    Origin,
    RateLimitedError,
    RefusedError,
    SyncError,
    TransportError,
    UnavailableError,
    WorkerError,
)
from image_syncer.oci import Digest, Repository, digest_of
from image_syncer.scheduling import (
    Arrival,
    BlobFailed,
    BlobLanded,
    BlobNeed,
    BlobOutcome,
    ConnectionLimits,
    Decision,
    Job,
    Lease,
    LeaseLimits,
    RetryPolicy,
    Scheduler,
    StreamTuner,
)
from support.own_process import in_own_process

A, B, C = (digest_of(text) for text in (b"a", b"b", b"c"))
SOURCE, OTHER_SOURCE = Repository("src.example", "app"), Repository("src.example", "other")
APP, WEB, TOOL = (Repository("dst.example", name) for name in ("app", "web", "tool"))
ELSEWHERE = Repository("else.example", "app")

MOVED = BlobOutcome(Arrival.MOVED, 10)
MOUNTED = BlobOutcome(Arrival.MOUNTED)


def source_error(**fields) -> SyncError:
    return SyncError("the source broke", origin=Origin.SOURCE, retryable=True, **fields)


def gone() -> SyncError:
    return NotFoundError("no such blob", origin=Origin.SOURCE)


def refused() -> SyncError:
    return RefusedError("no", origin=Origin.DESTINATION)


def failed(error: SyncError) -> BlobOutcome:
    return BlobOutcome(None, error=error)


def need(digest: Digest, target: Repository, delivery: int, *, source: Repository = SOURCE, size: int = 10) -> BlobNeed:
    return BlobNeed(digest, size, source, target, delivery)


def scheduler_of(
    workers: int = 1,
    *,
    expected: int = 1,
    tries: int = 3,
    limit_of: Callable[[str], int | None] = lambda _registry: None,
    tuner: StreamTuner | None = None,
    **limits,
) -> Scheduler:
    retry = RetryPolicy(tries=tries, first_pause_s=2, factor=1)
    lease_limits = LeaseLimits(**{"streams": 8, "workers": expected, **limits})
    scheduler = Scheduler(lease_limits, retry, lambda: 0.5, connections=ConnectionLimits(limit_of), tuner=tuner)
    for worker in range(1, workers + 1):
        assert scheduler.join(worker) == []
    return scheduler


def leases(decisions: list[Decision]) -> list[Job]:
    return [decision.job for decision in decisions if isinstance(decision, Lease)]


def outcomes(decisions: list[Decision]) -> list[Decision]:
    return [decision for decision in decisions if not isinstance(decision, Lease)]


def lease(decisions: list[Decision]) -> Job:
    [job] = leases(decisions)
    return job


def test_a_blob_is_wanted_leased_and_landed() -> None:
    scheduler = scheduler_of()
    decisions = scheduler.want([need(A, APP, 1)])
    [leased] = decisions
    assert isinstance(leased, Lease)
    job = leased.job
    assert leased.worker == 1
    assert (job.digest, job.size, job.source, [one.repository for one in job.targets]) == (A, 10, SOURCE, [APP])
    assert (scheduler.stats().in_flight, scheduler.stats().wanted_blobs, scheduler.stats().wanted_bytes) == (1, 1, 10)
    assert scheduler.jobs_of(1) == [job]
    assert scheduler.end(1, job.id, [MOVED], 0.0) == [BlobLanded(1, A, Arrival.MOVED, 10, 1)]
    assert (scheduler.stats().in_flight, scheduler.stats().landed_blobs, scheduler.stats().landed_bytes) == (0, 1, 10)
    assert scheduler.jobs_of(1) == scheduler.jobs_of(99) == []
    assert scheduler.want([need(A, APP, 2)]) == [BlobLanded(2, A, Arrival.PRESENT, 0, 1)]


def test_blobs_wait_for_workers() -> None:
    scheduler = scheduler_of(workers=0)
    assert scheduler.want([need(A, APP, 1), need(B, APP, 1)]) == []
    assert [job.digest for job in leases(scheduler.join(7))] == [A, B]


def test_those_who_wait_for_a_blob_hear_of_it_and_its_bytes_are_booked_once() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    assert scheduler.want([need(A, APP, 2)]) == scheduler.want([need(A, APP, 3)]) == []
    scheduler.drop(1)
    assert scheduler.end(1, job.id, [MOVED], 0.0) == [
        BlobLanded(2, A, Arrival.MOVED, 10, 1),
        BlobLanded(3, A, Arrival.PRESENT, 0, 1),
    ]


def test_other_repositories_mount_what_the_first_has() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    assert scheduler.want([need(A, WEB, 2), need(A, TOOL, 3)]) == []
    mounts = leases(scheduler.end(1, job.id, [MOVED], 0.0))
    assert [(one.targets[0].repository, one.targets[0].mount_from, one.weight) for one in mounts] == [
        (WEB, "app", 0),
        (TOOL, "app", 0),
    ]
    assert scheduler.end(1, mounts[0].id, [MOUNTED], 0.0) == [BlobLanded(2, A, Arrival.MOUNTED, 0, 1)]
    # A registry that refuses the mount gets the bytes; whoever comes next is told to mount from the first again.
    assert scheduler.end(1, mounts[1].id, [MOVED], 0.0) == [BlobLanded(3, A, Arrival.MOVED, 10, 1)]
    assert (scheduler.stats().wanted_blobs, scheduler.stats().landed_blobs) == (3, 3)
    assert (scheduler.stats().wanted_bytes, scheduler.stats().landed_bytes) == (10, 10)


def test_one_download_serves_two_registries() -> None:
    scheduler = scheduler_of(workers=0)
    scheduler.want([need(A, APP, 1)])
    scheduler.want([need(A, ELSEWHERE, 2)])
    job = lease(scheduler.join(1))
    assert [target.repository for target in job.targets] == [APP, ELSEWHERE]
    assert outcomes(scheduler.end(1, job.id, [failed(refused()), MOVED], 0.0))[1:] == [
        BlobLanded(2, A, Arrival.MOVED, 10, 1)
    ]


def test_the_worker_with_the_fewest_bytes_in_flight_gets_the_next() -> None:
    scheduler = scheduler_of(workers=0, streams=2)
    scheduler.want([need(digest, APP, 1, size=size) for digest, size in ((A, 30), (B, 20), (C, 5))])
    scheduler.want([need(digest_of(b"d"), APP, 1, size=1)])
    assert [job.size for job in leases(scheduler.join(1))] == [30, 20]
    assert [job.size for job in leases(scheduler.join(2))] == [5, 1]
    scheduler.join(3)
    scheduler.join(4)
    decisions = scheduler.want([need(digest_of(bytes([number])), APP, 1, size=number) for number in range(40, 44)])
    assert [(decision.worker, decision.job.size) for decision in decisions if isinstance(decision, Lease)] == [
        (3, 43),
        (4, 42),
        (4, 41),
        (3, 40),
    ]


def test_the_first_worker_to_be_ready_leaves_the_others_their_part() -> None:
    scheduler = Scheduler(LeaseLimits(4, workers=3), RetryPolicy(), lambda: 0.5)
    scheduler.want([need(digest_of(bytes([number])), APP, 1) for number in range(7)])
    assert [len(leases(scheduler.join(worker))) for worker in (1, 2, 3)] == [3, 3, 1]
    assert len(leases(scheduler.want([need(A, APP, 1), need(B, APP, 1), need(C, APP, 1)]))) == 3


def test_a_worker_that_is_alone_for_good_still_gets_everything_done() -> None:
    scheduler = Scheduler(LeaseLimits(4, workers=3), RetryPolicy(), lambda: 0.5)
    scheduler.want([need(digest_of(bytes([number])), APP, 1) for number in range(7)])
    scheduler.join(1)
    while held := scheduler.jobs_of(1):
        scheduler.end(1, held[0].id, [MOVED], 0.0)
    assert scheduler.stats().landed_blobs == 7


def test_no_more_blobs_are_in_flight_than_were_asked_for() -> None:
    scheduler = scheduler_of(workers=2, proc=3)
    decisions = scheduler.want([need(digest_of(bytes([number])), APP, 1) for number in range(5)])
    assert len(leases(decisions)) == scheduler.stats().in_flight == 3
    job = scheduler.jobs_of(1)[0]
    assert len(leases(scheduler.end(1, job.id, [MOVED], 0.0))) == 1


def test_a_registry_keeps_its_limit_and_the_others_go_on() -> None:
    scheduler = scheduler_of(limit_of={"dst.example": 1}.get)
    job = lease(scheduler.want([need(A, APP, 1), need(B, APP, 1)]))
    lease(scheduler.want([need(A, ELSEWHERE, 2)]))
    assert lease(scheduler.end(1, job.id, [MOVED], 0.0)).digest == B


def test_one_connection_to_a_registry_that_is_both_sides_is_enough() -> None:
    scheduler = scheduler_of(limit_of={"src.example": 1}.get)
    inside = Repository("src.example", "copy")
    job = lease(scheduler.want([need(A, inside, 1), need(B, inside, 1), need(C, APP, 2)]))
    job = lease(scheduler.end(1, job.id, [MOVED], 0.0))
    job = lease(scheduler.end(1, job.id, [MOVED], 0.0))
    assert leases(scheduler.end(1, job.id, [MOVED], 0.0)) == []
    assert scheduler.stats().landed_blobs == 3


def test_a_fault_that_may_pass_is_tried_again_after_a_pause() -> None:
    scheduler = scheduler_of(tries=3)
    job = lease(scheduler.want([need(A, APP, 1)]))
    assert scheduler.wake_at is None
    assert scheduler.end(1, job.id, [failed(source_error())], 100.0) == []
    assert scheduler.wake_at == 101.0
    assert scheduler.tick(100.9) == []
    again = lease(scheduler.tick(101.0))
    assert scheduler.wake_at is None
    assert again.id != job.id
    assert scheduler.end(1, again.id, [MOVED], 102.0) == [BlobLanded(1, A, Arrival.MOVED, 10, 2)]


def test_a_fault_that_does_not_pass_is_told_with_the_number_of_tries() -> None:
    scheduler = scheduler_of(tries=2)
    job = lease(scheduler.want([need(A, APP, 1)]))
    assert scheduler.end(1, job.id, [failed(source_error())], 0.0) == []
    error = source_error()
    job = lease(scheduler.tick(10.0))
    [told] = scheduler.end(1, job.id, [failed(error)], 10.0)
    assert isinstance(told, BlobFailed)
    assert (told.delivery, told.digest, told.error.message, told.error.tries) == (1, A, error.message, 2)
    assert (scheduler.stats().landed_blobs, scheduler.stats().landed_bytes) == (1, 10)


def test_a_registry_is_left_alone_as_long_as_it_asks() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.end(1, job.id, [failed(RateLimitedError("wait", status=429, retry_after_s=60.0))], 0.0)
    assert scheduler.wake_at == 61.0


def test_retries_of_both_targets_go_together_again() -> None:
    scheduler = scheduler_of(workers=0)
    scheduler.want([need(A, APP, 1)])
    scheduler.want([need(A, ELSEWHERE, 2)])
    job = lease(scheduler.join(1))
    scheduler.end(1, job.id, [failed(source_error()), failed(source_error())], 0.0)
    again = scheduler.tick(5.0)
    assert [target.repository for target in lease(again).targets] == [APP, ELSEWHERE]


def test_a_target_that_is_tried_again_joins_a_job_that_waits() -> None:
    scheduler = scheduler_of(streams=1)
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.want([need(B, APP, 3, size=5)])
    assert lease(scheduler.end(1, job.id, [failed(source_error())], 0.0)).digest == B
    scheduler.want([need(A, ELSEWHERE, 2)])
    assert scheduler.tick(5.0) == []
    again = lease(scheduler.end(1, scheduler.jobs_of(1)[0].id, [MOVED], 5.0))
    assert [target.repository for target in again.targets] == [ELSEWHERE, APP]
    assert outcomes(scheduler.end(1, again.id, [MOVED, MOVED], 5.0)) == [
        BlobLanded(2, A, Arrival.MOVED, 10, 1),
        BlobLanded(1, A, Arrival.MOVED, 10, 2),
    ]


def test_those_who_wait_for_the_same_of_a_source_fail_with_it() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.want([need(A, WEB, 2)])
    scheduler.want([need(A, TOOL, 3, source=OTHER_SOURCE)])
    error = gone()
    decisions = scheduler.end(1, job.id, [failed(error)], 0.0)
    assert outcomes(decisions) == [BlobFailed(1, A, error), BlobFailed(2, A, error)]
    assert (lease(decisions).source, lease(decisions).targets[0].repository) == (OTHER_SOURCE, TOOL)


@pytest.mark.parametrize("error", [refused(), SyncError("no room on our side")])
def test_what_is_no_fault_of_the_source_leaves_the_next_to_get_it_from_there(error: SyncError) -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.want([need(A, WEB, 2)])
    scheduler.want([need(A, TOOL, 3)])
    decisions = scheduler.end(1, job.id, [failed(error)], 0.0)
    assert outcomes(decisions) == [BlobFailed(1, A, error)]
    second = lease(decisions)
    assert (second.targets[0].repository, second.targets[0].mounts) == (WEB, False)
    assert lease(scheduler.end(1, second.id, [MOVED], 0.0)).targets[0].mount_from == "web"


def test_the_failure_of_one_source_is_not_that_of_another() -> None:
    scheduler = scheduler_of(workers=0)
    scheduler.want([need(A, APP, 1)])
    scheduler.want([need(A, ELSEWHERE, 2, source=OTHER_SOURCE)])
    first, second = leases(scheduler.join(1))
    error = gone()
    assert scheduler.end(1, first.id, [failed(error)], 0.0) == [BlobFailed(1, A, error)]
    assert scheduler.end(1, second.id, [MOVED], 0.0) == [BlobLanded(2, A, Arrival.MOVED, 10, 1)]


@pytest.mark.parametrize("facts", [{"size": 11}, {"size": -1}, {"source": OTHER_SOURCE}])
def test_a_wrong_manifest_does_not_fail_the_image_of_a_right_one(facts) -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1, **facts)]))
    assert scheduler.want([need(A, APP, 2)]) == []
    error = gone()
    decisions = scheduler.end(1, job.id, [failed(error)], 0.0)
    assert outcomes(decisions) == [BlobFailed(1, A, error)]
    assert (lease(decisions).size, lease(decisions).source) == (10, SOURCE)


def test_a_blob_that_landed_serves_needs_that_differ_in_source_or_size() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1, size=-1)]))
    scheduler.want([need(A, APP, 2)])
    scheduler.want([need(A, APP, 3, size=-1)])
    assert scheduler.end(1, job.id, [MOVED], 0.0) == [
        BlobLanded(1, A, Arrival.MOVED, 10, 1),
        BlobLanded(3, A, Arrival.PRESENT, 0, 1),
        BlobLanded(2, A, Arrival.PRESENT, 0, 1),
    ]
    assert scheduler.stats().landed_blobs == scheduler.stats().wanted_blobs == 2


def test_a_blob_that_nobody_wants_any_more_is_not_leased() -> None:
    scheduler = scheduler_of(workers=0)
    scheduler.want([need(A, APP, 1), need(B, APP, 1)])
    scheduler.want([need(B, APP, 2)])
    scheduler.drop(1)
    scheduler.drop(99)
    assert lease(scheduler.join(1)).digest == B
    assert (scheduler.stats().wanted_blobs, scheduler.stats().landed_blobs) == (2, 1)


def test_a_target_that_nobody_wants_any_more_leaves_a_job_of_several() -> None:
    scheduler = scheduler_of(workers=0)
    scheduler.want([need(A, APP, 1)])
    scheduler.want([need(A, ELSEWHERE, 2)])
    scheduler.want([need(A, WEB, 3)])
    scheduler.drop(1)
    jobs = leases(scheduler.join(1))
    # The repository that waited behind it takes over.
    assert [[target.repository for target in job.targets] for job in jobs] == [[ELSEWHERE], [WEB]]


def test_nobody_who_waits_behind_it_is_leased_for_nothing() -> None:
    scheduler = scheduler_of(workers=0)
    scheduler.want([need(A, APP, 1)])
    scheduler.want([need(A, WEB, 2)])
    for delivery in (1, 2):
        scheduler.drop(delivery)
    assert scheduler.join(1) == []
    assert scheduler.stats().landed_blobs == scheduler.stats().wanted_blobs == 2


def test_a_blob_that_was_dropped_while_it_is_leased_lands_for_those_who_come_later() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.drop(1)
    assert scheduler.want([need(A, APP, 2)]) == []
    assert scheduler.end(1, job.id, [failed(source_error())], 0.0) == []
    again = lease(scheduler.tick(5.0))
    assert scheduler.end(1, again.id, [MOVED], 5.0) == [BlobLanded(2, A, Arrival.MOVED, 10, 2)]


def test_a_blob_that_was_dropped_is_known_where_it_lands_all_the_same() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.drop(1)
    assert scheduler.end(1, job.id, [MOVED], 0.0) == []
    assert scheduler.want([need(A, APP, 2)]) == [BlobLanded(2, A, Arrival.PRESENT, 0, 1)]


@pytest.mark.parametrize("error", [source_error(), gone(), refused()])
def test_what_nobody_wants_is_not_tried_again_and_fails_nobody_who_waits_behind_it(error: SyncError) -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.want([need(A, WEB, 2)])
    scheduler.drop(1)
    decisions = scheduler.end(1, job.id, [failed(error)], 0.0)
    assert outcomes(decisions) == []
    assert lease(decisions).targets[0].repository == WEB
    assert scheduler.wake_at is None


def test_a_blob_can_be_wanted_again_after_it_was_dropped() -> None:
    scheduler = scheduler_of(streams=1)
    other = lease(scheduler.want([need(B, APP, 9)]))
    scheduler.want([need(A, APP, 1)])
    scheduler.drop(1)
    scheduler.want([need(A, APP, 2)])
    job = lease(scheduler.end(1, other.id, [MOVED], 0.0))
    assert scheduler.end(1, job.id, [MOVED], 0.0) == [BlobLanded(2, A, Arrival.MOVED, 10, 1)]


def test_what_a_lost_worker_held_is_leased_again() -> None:
    scheduler = scheduler_of(workers=2, streams=3)
    scheduler.want([need(A, APP, 1), need(B, APP, 1), need(C, APP, 1)])
    held = {job.digest for job in scheduler.jobs_of(1)}
    decisions = scheduler.lose(1, WorkerError("killed"))
    assert {job.digest for job in leases(decisions)} == held
    assert outcomes(decisions) == []
    assert scheduler.stats().in_flight == 3
    assert scheduler.lose(1, WorkerError("killed")) == []


def test_a_lost_job_of_several_targets_stays_one() -> None:
    scheduler = scheduler_of(workers=0)
    scheduler.want([need(A, APP, 1)])
    scheduler.want([need(A, ELSEWHERE, 2)])
    scheduler.join(1)
    scheduler.lose(1, WorkerError("killed"))
    job = lease(scheduler.join(2))
    assert [target.repository for target in job.targets] == [APP, ELSEWHERE]


def test_the_last_words_of_a_lost_worker_are_ignored() -> None:
    scheduler = scheduler_of(workers=1)
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.lose(1, WorkerError("killed"))
    again = lease(scheduler.join(2))
    assert scheduler.end(1, job.id, [MOVED], 0.0) == []
    assert scheduler.end(2, job.id, [MOVED], 0.0) == []
    assert scheduler.jobs_of(2) == [again]


def test_only_the_blob_that_brings_workers_down_is_given_up() -> None:
    scheduler = scheduler_of(streams=4)
    scheduler.want([need(A, APP, 1), need(B, APP, 2), need(C, APP, 3)])
    scheduler.want([need(A, WEB, 4)])
    told: list[Decision] = []
    for worker in range(1, 9):
        told += outcomes(scheduler.join(worker) if worker > 1 else [])
        while (held := scheduler.jobs_of(worker)) and A not in [job.digest for job in held]:
            assert [job.alone for job in held] == [True]
            told += outcomes(scheduler.end(worker, held[0].id, [MOVED], 0.0))
        if held:
            told += outcomes(scheduler.lose(worker, WorkerError("killed by signal 9")))
    assert [decision.delivery for decision in told if isinstance(decision, BlobLanded)] == [2, 3]
    fallen = [decision for decision in told if isinstance(decision, BlobFailed)]
    assert [decision.delivery for decision in fallen] == [1, 4]  # 4 would wait for as many deaths in vain
    text = "3 workers were lost while they held this blob; the last: killed by signal 9"
    assert {decision.error.message for decision in fallen} == {text}
    assert scheduler.stats().in_flight == 0


def test_the_last_chance_of_a_blob_waits_until_a_worker_is_idle() -> None:
    scheduler = scheduler_of(workers=1)
    scheduler.want([need(A, APP, 1)])
    scheduler.lose(1, WorkerError("killed"))
    scheduler.join(2)
    scheduler.join(3)
    [guilty] = scheduler.jobs_of(2)
    other = lease(scheduler.want([need(B, APP, 2)]))
    assert (guilty.digest, scheduler.jobs_of(3)) == (A, [other])
    assert scheduler.lose(2, WorkerError("killed")) == []
    again = lease(scheduler.end(3, other.id, [MOVED], 0.0))
    assert (again.digest, again.alone) == (A, True)
    assert scheduler.want([need(C, APP, 2)]) == []
    assert lease(scheduler.end(3, again.id, [MOVED], 0.0)).digest == C


def digests(number: int) -> list[Digest]:
    return [digest_of(str(one).encode()) for one in range(number)]


def test_small_blobs_do_not_wait_for_large_ones_nor_these_for_them() -> None:
    scheduler = scheduler_of(streams=1, small_streams=2, small_bytes=10)
    sizes = [10, 11, 12, 5, 6, -1]
    jobs = leases(
        scheduler.want([need(digest, APP, 1, size=size) for digest, size in zip(digests(6), sizes, strict=True)])
    )
    assert [(job.size, job.small) for job in jobs] == [(12, False), (10, True), (5, True)]
    assert [job.size for job in leases(scheduler.end(1, jobs[1].id, [MOVED], 0.0))] == [6]
    assert [job.size for job in leases(scheduler.end(1, jobs[0].id, [MOVED], 0.0))] == [11]


def test_an_end_is_followed_by_a_lease_and_ends_of_unknown_jobs_are_ignored() -> None:
    scheduler = scheduler_of(streams=2)
    first = leases(scheduler.want([need(digest, APP, number) for number, digest in enumerate(digests(5))]))
    for job in reversed(first):
        assert [type(one) for one in scheduler.end(1, job.id, [MOVED], 0.0)] == [BlobLanded, Lease]
        assert scheduler.end(1, job.id, [MOVED], 0.0) == []
    assert scheduler.end(1, 99, [MOVED], 0.0) == scheduler.end(7, first[0].id, [MOVED], 0.0) == []


def test_both_kinds_have_their_share_of_all_that_may_be_in_flight() -> None:
    scheduler = scheduler_of(streams=8, small_streams=8, small_bytes=10, proc=5)
    sizes = [*[100] * 6, *[1] * 6]
    jobs = leases(
        scheduler.want([need(digest, APP, 1, size=size) for digest, size in zip(digests(12), sizes, strict=True)])
    )
    assert [job.small for job in jobs] == [False, False, False, True, True]
    for job in jobs[:2]:
        assert [one.small for one in leases(scheduler.end(1, job.id, [MOVED], 0.0))] == [False]
    assert [one.small for one in leases(scheduler.end(1, jobs[3].id, [MOVED], 0.0))] == [True]


def test_the_first_worker_to_be_ready_leaves_the_others_their_part_of_both_kinds() -> None:
    scheduler = scheduler_of(workers=0, expected=2, streams=8, small_streams=8, small_bytes=10)
    sizes = [*[100] * 4, *[1] * 6]
    scheduler.want([need(digest, APP, 1, size=size) for digest, size in zip(digests(10), sizes, strict=True)])
    assert [job.small for job in leases(scheduler.join(1))].count(True) == 3
    assert [job.small for job in leases(scheduler.join(2))].count(False) == 2


def test_a_worker_may_have_as_many_streams_as_pay() -> None:
    tuner = StreamTuner(8, start=2)
    scheduler = scheduler_of(streams=8, tuner=tuner)
    jobs = leases(scheduler.want([need(digest, APP, 1, size=1000 * 2**20) for digest in digests(40)]))
    assert len(jobs) == scheduler.stats().streams == 2
    begun = {job.id: 0.0 for job in jobs}
    for step in range(1, 12):
        now = step / 2
        # As on a long way: each stream moves as much as any other.
        received = {job: int((now - since) * 2**20) for job, since in begun.items()}
        scheduler.progress(1, received)
        begun |= {job.id: now for job in leases(scheduler.sample(now))}
    assert tuner.allowed == scheduler.stats().in_flight == scheduler.stats().streams == 8


def test_a_bound_that_fell_is_kept_as_streams_end() -> None:
    tuner = StreamTuner(8)
    scheduler = scheduler_of(streams=8, tuner=tuner)
    jobs = leases(scheduler.want([need(digest, APP, 1) for digest in digests(20)]))
    assert len(jobs) == 4
    tuner.allowed = 2
    assert scheduler.sample(1.0) == []
    assert [len(leases(scheduler.end(1, job.id, [MOVED], 1.0))) for job in jobs[:3]] == [0, 0, 1]


@pytest.mark.parametrize(
    ("error", "less"),
    [
        (RateLimitedError("wait", origin=Origin.SOURCE, status=429), False),  # `Scheduler.connections` is told at once
        (UnavailableError("busy", origin=Origin.SOURCE, status=503), True),
        (UnavailableError("broken", origin=Origin.SOURCE, status=500), False),
        (TransportError("reset", origin=Origin.SOURCE, phase="receive"), False),
        (TransportError("no such host", origin=Origin.SOURCE, phase="resolve"), False),
    ],
)
def test_a_host_that_refuses_is_asked_for_less(error: SyncError, less: bool) -> None:
    scheduler = scheduler_of(streams=8)
    jobs = leases(scheduler.want([need(digest, APP, 1) for digest in digests(20)]))
    decisions = scheduler.end(1, jobs[0].id, [failed(error)], 0.0)
    assert len(leases(decisions)) == (0 if less else 1)
    for job in jobs[1:]:
        scheduler.end(1, job.id, [MOVED], 0.1)
    assert len(scheduler.jobs_of(1)) == (4 if less else 8)


def test_connections_that_break_one_after_the_other_are_a_refusal() -> None:
    tuner = StreamTuner(16, start=8)
    tuner._start = 2
    scheduler = scheduler_of(streams=8, tuner=tuner)
    jobs = leases(scheduler.want([need(digest, APP, 1) for digest in digests(20)]))
    broken = TransportError("reset", origin=Origin.DESTINATION, phase="send")
    for job in jobs[:3]:
        scheduler.end(1, job.id, [failed(broken)], 0.0)
    assert scheduler.connections.allowed()["dst.example"] == 4
    assert scheduler.connections.allowed()["src.example"] is None
    assert tuner.allowed == 4


def test_nothing_is_leased_after_the_end() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    scheduler.stop()
    assert scheduler.want([need(B, APP, 1)]) == []
    assert scheduler.end(1, job.id, [MOVED], 0.0) == [BlobLanded(1, A, Arrival.MOVED, 10, 1)]


def test_a_result_that_says_nothing_is_a_mistake_of_ours() -> None:
    scheduler = scheduler_of()
    job = lease(scheduler.want([need(A, APP, 1)]))
    with pytest.raises(RuntimeError, match="without an outcome"):
        scheduler.end(1, job.id, [BlobOutcome(None)], 0.0)


def test_a_scheduler_tells_how_it_stands() -> None:
    scheduler = scheduler_of(streams=1)
    job = lease(scheduler.want([need(A, APP, 1), need(B, APP, 1)]))
    assert repr(scheduler) == "<Scheduler 1 workers, 1 jobs in flight, 1 wait for a worker, 0 for time, 2 blobs>"
    scheduler.end(1, job.id, [failed(source_error())], 0.0)
    assert "0 wait for a worker, 1 for time" in repr(scheduler)


@in_own_process
def test_a_distinct_blob_costs_less_than_a_kilobyte_and_a_finished_delivery_nothing() -> None:
    blobs = 2000
    digests = [digest_of(number.to_bytes(4, "big")) for number in range(blobs)]
    scheduler = scheduler_of()

    def move(delivery: int) -> None:
        for digest in digests:
            decisions = scheduler.want([need(digest, APP, delivery)])
            for job in leases(decisions):
                scheduler.end(1, job.id, [MOVED], 0.0)
            scheduler.drop(delivery)
            delivery += 1

    tracemalloc.start()
    begin, _ = tracemalloc.get_traced_memory()
    move(0)
    moved, _ = tracemalloc.get_traced_memory()
    move(blobs)
    again, _ = tracemalloc.get_traced_memory()
    # The digest itself, made before, is some 150.
    assert moved - begin < blobs * (1000 - 150), f"{(moved - begin) / blobs:.0f} bytes a blob"
    assert again - moved < blobs, f"{again - moved} bytes for {blobs} deliveries"


def test_one_broken_download_for_several_destinations_is_one_refusal() -> None:
    scheduler = Scheduler(LeaseLimits(8), RetryPolicy(), lambda: 0.0)
    scheduler.join(1)
    source = Repository("s.example", "a")
    needs = [BlobNeed(digest_of(b"x"), 10, source, Repository(f"d{n}.example", "a"), n) for n in range(3)]
    [lease] = scheduler.want(needs)
    error = TransportError("cut", phase="receive", origin=Origin.SOURCE)
    scheduler.end(1, lease.job.id, [BlobOutcome(None, error=error) for _ in range(3)], 0.0)
    assert scheduler.connections.allowed()["s.example"] is None


def test_who_waits_for_a_target_that_ended_does_not_wait_for_the_others() -> None:
    scheduler = Scheduler(LeaseLimits(8), RetryPolicy(), lambda: 0.0)
    scheduler.join(1)
    source = Repository("s.example", "a")
    needs = [BlobNeed(digest_of(b"x"), 10, source, Repository(f"d{n}.example", "a"), n) for n in range(2)]
    [lease] = scheduler.want(needs)
    moved = BlobOutcome(Arrival.MOVED, 10)
    assert scheduler.end_target(1, lease.job.id, 0, moved, 1.0) == [
        BlobLanded(0, digest_of(b"x"), Arrival.MOVED, 10, 1)
    ]
    assert scheduler.end_target(1, lease.job.id, 0, moved, 1.0) == []
    assert scheduler.end(1, lease.job.id, [moved, moved], 2.0) == [BlobLanded(1, digest_of(b"x"), Arrival.MOVED, 10, 1)]


def test_a_blob_that_comes_back_because_its_registry_is_left_alone_was_not_tried() -> None:
    scheduler = Scheduler(LeaseLimits(8), RetryPolicy(tries=1), lambda: 0.0)
    scheduler.join(1)
    need = BlobNeed(digest_of(b"x"), 10, Repository("s.example", "a"), Repository("d.example", "a"), 1)
    [lease] = scheduler.want([need])
    left_alone = NotAskedError("it asked to be left alone", origin=Origin.DESTINATION, retry_after_s=5.0)
    assert scheduler.end(1, lease.job.id, [BlobOutcome(None, error=left_alone)], 0.0) == []
    assert scheduler.wake_at == 5.0
    assert scheduler.connections.allowed()["d.example"] is None
    [again] = scheduler.tick(5.0)
    assert isinstance(again, Lease)


def test_while_it_is_held_nothing_is_leased_and_what_runs_goes_on() -> None:
    scheduler = scheduler_of(streams=4)
    first = lease(scheduler.want([need(digest_of(b"1"), APP, 1)]))
    assert scheduler.hold(held=True) == []
    assert scheduler.want([need(digest_of(b"2"), APP, 1)]) == []
    assert leases(scheduler.end(1, first.id, [BlobOutcome(Arrival.MOVED, 10)], 0.0)) == []
    assert scheduler.stats().held == {1: (0, 0)}
    assert lease(scheduler.hold(held=False)).digest == digest_of(b"2")


def test_streams_are_bounded_within_what_there_was_room_for() -> None:
    scheduler = scheduler_of(streams=4)
    assert scheduler.bind_streams(1, 0.0) == []
    assert len(leases(scheduler.want([need(digest_of(bytes([n])), APP, 1) for n in range(8)]))) == 1
    assert len(leases(scheduler.bind_streams(100, 0.0))) == 3
    assert (scheduler.stats().most_streams, scheduler.stats().held) == (4, {1: (4, 0)})
