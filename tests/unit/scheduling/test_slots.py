from __future__ import annotations

from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import BlobTarget, Job
from image_syncer.scheduling.blob_set import MOST_LOSSES
from image_syncer.scheduling.scheduler import Slots, WorkerLeases

SOURCE, APP = Repository("src.example", "app"), Repository("dst.example", "app")


def job(number: int, size: int, *, small: bool = False, losses: int = 0) -> Job:
    target = BlobTarget(digest_of(b""), size, SOURCE, APP, [1], "app", losses=losses)
    return Job(number, digest_of(b""), size, SOURCE, [target], small)


def slots_of(workers: int, streamed: int = 2, small: int = 2) -> tuple[Slots, list[WorkerLeases]]:
    slots = Slots()
    slots.bind(streamed, small)
    for number in range(workers):
        slots.join(number)
    return slots, list(slots.workers.values())


def test_the_kinds_do_not_take_each_others_slots() -> None:
    slots, [worker] = slots_of(1, streamed=1, small=2)
    slots.open(worker, job(1, 10))
    assert slots.freest(small=False) is None
    assert slots.freest(small=True) is worker
    slots.open(worker, job(2, 10, small=True))
    slots.open(worker, job(3, 10, small=True))
    assert slots.freest(small=True) is None
    assert (slots.held, worker.held, slots.bytes_left) == ([1, 2], [1, 2], 30)
    slots.close(worker, worker.jobs[1])
    assert slots.freest(small=False) is worker


def test_what_has_come_already_counts_no_more() -> None:
    slots, [one, two] = slots_of(2)
    giant = job(1, 1000)
    slots.open(one, giant)
    slots.open(two, job(2, 600))
    assert slots.freest(small=False, waiting_bytes=5000) is two
    assert slots.note_progress(one, giant, 500) == 500
    assert (one.bytes_left, slots.bytes_left) == (500, 1100)
    assert slots.freest(small=False, waiting_bytes=5000) is one
    assert slots.note_progress(one, giant, 0) == 0, "it began anew"
    assert slots.bytes_left == 1600
    slots.note_progress(one, giant, 10**9)
    slots.close(one, giant)
    assert (one.bytes_left, slots.bytes_left) == (0, 600)


def test_a_worker_with_more_than_its_part_is_left_alone_with_it() -> None:
    slots, [one, two] = slots_of(2)
    slots.open(one, job(1, 1000))
    slots.open(two, job(2, 100))
    slots.open(two, job(3, 100))
    assert slots.freest(small=False, waiting_bytes=700) is None
    assert slots.freest(small=False, waiting_bytes=800) is one, "half of all is not more than its part"
    assert slots.freest(small=True) is two
    slots.leave(1)
    assert slots.freest(small=False, waiting_bytes=1) is one, "the only one gets all"


def test_a_closed_worker_gets_nothing_until_it_is_open_again() -> None:
    slots, [worker] = slots_of(1)
    alone = job(1, 10, losses=MOST_LOSSES - 1)
    slots.open(worker, alone)
    assert slots.freest(small=False) is slots.freest(small=True) is None
    slots.close(worker, alone)
    assert slots.freest(small=False) is slots.freest(small=True) is worker


def test_bounds_may_change_under_way() -> None:
    slots, [worker] = slots_of(1)
    slots.open(worker, job(1, 10))
    slots.open(worker, job(2, 10))
    slots.bind(1, 1)
    slots.close(worker, worker.jobs[1])
    assert slots.freest(small=False) is None, "one is held, and one is allowed"
    slots.bind(2, 1)
    assert slots.freest(small=False) is worker


def test_nothing_is_left_of_a_worker_that_is_gone() -> None:
    slots, [worker, _] = slots_of(2)
    jobs = [job(1, 10), job(2, 10, small=True)]
    for one in jobs:
        slots.open(worker, one)
    assert slots.leave(0) == jobs
    assert (slots.held, slots.bytes_left, list(slots.workers), slots.leave(0)) == ([0, 0], 0, [1], [])
    assert [one.number for one in slots.workers.values() if not one.jobs] == [1]
