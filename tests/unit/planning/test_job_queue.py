from __future__ import annotations

from collections.abc import Callable

from image_syncer.oci import Repository, digest_of
from image_syncer.planning import Job, Target
from image_syncer.planning.job import MOST_LOSSES
from image_syncer.planning.job_queue import MOST_TARGETS, JobQueue

SOURCE = Repository("src.example", "app")


def target(
    registry: str = "dst.example",
    blob: bytes = b"blob",
    *,
    size: int = 10,
    source: Repository = SOURCE,
    mount_from: str = "app",
    losses: int = 0,
) -> Target:
    repository = Repository(registry, "app")
    return Target(digest_of(blob), size, source, repository, [1], mount_from, losses=losses)


def queue_of(*targets: Target, limit_of: Callable[[str], int | None] = lambda _: None) -> JobQueue:
    queue = JobQueue(limit_of)
    for one in targets:
        queue.add(one)
    return queue


def popped(queue: JobQueue, *, idle: bool = False) -> list[Job]:
    jobs = []
    while (job := queue.pop(idle=idle)) is not None:
        jobs.append(job)
    assert len(queue) == 0
    return jobs


def test_mounts_come_first_and_then_the_largest() -> None:
    queue = queue_of(
        target(blob=b"a", size=10),
        target(blob=b"b", size=-1),
        target(blob=b"c", size=2**63 - 1),
        target(blob=b"d", size=5, mount_from="other"),
        target(blob=b"e", size=0),
        target("else.example", blob=b"f", size=20),
    )
    assert len(queue) == 6
    assert [job.size for job in popped(queue)] == [5, 2**63 - 1, 20, 10, -1, 0]


def test_jobs_of_the_same_size_come_in_the_order_of_their_wanting() -> None:
    queue = queue_of(target(blob=b"a"), target("else.example", blob=b"b"), target(blob=b"c"))
    ids = [job.id for job in popped(queue)]
    assert ids == sorted(ids)


def test_one_download_serves_several_registries() -> None:
    one, two = target("one.example"), target("two.example")
    queue = queue_of(one, two)
    assert len(queue) == 1
    [job] = popped(queue)
    assert job.targets == [one, two]
    assert job.lane == ("src.example", "one.example", "two.example")


def test_what_differs_gets_a_job_of_its_own() -> None:
    others = [
        target("other.example", blob=b"other"),
        target("other.example", source=Repository("src.example", "other")),
        target("other.example", size=11),
        target("other.example", losses=1),
        target("other.example", mount_from="other"),
        target("dst.example"),
    ]
    for other in others:
        assert len(queue_of(target(), other)) == 2


def test_a_job_has_a_bounded_number_of_targets() -> None:
    queue = queue_of(*(target(f"r{number}.example") for number in range(MOST_TARGETS + 2)))
    assert sorted(len(job.targets) for job in popped(queue)) == [2, MOST_TARGETS]


def test_mounts_never_share_a_job() -> None:
    queue = queue_of(target("one.example", mount_from="other"), target("two.example", mount_from="other"))
    assert len(queue) == 2
    queue.add(target("three.example"))
    assert len(queue) == 3


def test_nothing_joins_a_job_that_was_taken() -> None:
    queue = queue_of(target("one.example"))
    job = queue.pop(idle=False)
    queue.add(target("two.example"))
    assert job is not None
    assert len(job.targets) == len(queue) == 1


def test_a_job_waits_for_connections_on_both_sides() -> None:
    queue = queue_of(target(blob=b"a"), target(blob=b"b"), limit_of={"src.example": 1, "dst.example": 5}.get)
    first = queue.pop(idle=False)
    assert first is not None
    queue.occupy(first)
    assert queue.pop(idle=False) is None
    queue.vacate(first)
    assert queue.pop(idle=False) is not None


def test_a_job_that_cannot_go_holds_no_other_back() -> None:
    queue = queue_of(target("full.example", blob=b"a", size=20), target(blob=b"b"), limit_of={"full.example": 1}.get)
    queue.occupy(Job(0, digest_of(b""), 1, SOURCE, [target("full.example")]))
    job = queue.pop(idle=False)
    assert job is not None
    assert job.size == 10
    assert queue.pop(idle=False) is None
    assert len(queue) == 1


def test_a_job_that_was_joined_waits_for_all_its_registries() -> None:
    queue = queue_of(target(), target("full.example"), limit_of={"full.example": 1}.get)
    other = Job(0, digest_of(b""), 1, SOURCE, [target("full.example")])
    queue.occupy(other)
    assert queue.pop(idle=False) is None
    queue.vacate(other)
    assert len(popped(queue)) == 1


def test_a_registry_that_is_both_sides_needs_two_connections_and_makes_do_with_one() -> None:
    for most, fits in [(None, 3), (3, 1), (2, 1), (1, 1), (4, 2)]:
        queue = queue_of(
            *(target("src.example", blob=blob) for blob in (b"a", b"b", b"c")), limit_of=lambda _, most=most: most
        )
        taken = 0
        while (job := queue.pop(idle=False)) is not None:
            queue.occupy(job)
            taken += 1
        assert (most, taken) == (most, fits)


def test_what_needs_a_worker_of_its_own_goes_first_to_an_idle_one_only() -> None:
    queue = queue_of(target(blob=b"a", size=20), target(blob=b"b", losses=MOST_LOSSES - 1))
    job = queue.pop(idle=False)
    assert job is not None
    assert not job.alone
    assert queue.pop(idle=False) is None
    assert len(queue) == 1
    queue = queue_of(target(blob=b"a", size=20), target(blob=b"b", losses=MOST_LOSSES - 1))
    assert [job.alone for job in popped(queue, idle=True)] == [True, False]


def test_what_needs_a_worker_of_its_own_waits_for_connections_too() -> None:
    queue = queue_of(target(losses=MOST_LOSSES - 1), limit_of={"dst.example": 1}.get)
    other = Job(0, digest_of(b""), 1, SOURCE, [target()])
    queue.occupy(other)
    assert queue.pop(idle=True) is None
    queue.vacate(other)
    assert queue.pop(idle=True) is not None


def test_nothing_is_left_of_jobs_that_were_taken() -> None:
    queue = queue_of(
        target("one.example"),
        target("two.example"),
        target("one.example"),
        target(losses=MOST_LOSSES - 1),
        target(mount_from="other"),
    )
    assert len(popped(queue, idle=True)) == 4
    assert (queue._jobs, queue._joinable, queue._lanes, queue._alone) == ({}, {}, {}, [])


def test_the_weight_of_a_job() -> None:
    assert Job(1, digest_of(b""), 10, SOURCE, [target(mount_from="other")]).weight == 0
    assert Job(1, digest_of(b""), 10, SOURCE, [target()]).weight == 10
    assert Job(1, digest_of(b""), -1, SOURCE, [target()]).weight == 1
