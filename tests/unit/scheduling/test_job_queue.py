from __future__ import annotations

from collections.abc import Callable

from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import BlobTarget, Job
from image_syncer.scheduling.blob_set import MOST_LOSSES
from image_syncer.scheduling.connections import ConnectionLimits
from image_syncer.scheduling.job_queue import MOST_TARGETS, JobQueue

SOURCE = Repository("src.example", "app")


def target(
    registry: str = "dst.example",
    blob: bytes = b"blob",
    *,
    size: int = 10,
    source: Repository = SOURCE,
    mount_from: str = "app",
    losses: int = 0,
) -> BlobTarget:
    repository = Repository(registry, "app")
    return BlobTarget(digest_of(blob), size, source, repository, [1], mount_from, losses=losses)


def queue_of(
    *targets: BlobTarget, limit_of: Callable[[str], int | None] = lambda _: None, small_bytes: int | None = None
) -> JobQueue:
    return filled(ConnectionLimits(limit_of), *targets, small_bytes=small_bytes)


def filled(connections: ConnectionLimits, *targets: BlobTarget, small_bytes: int | None = None) -> JobQueue:
    queue = JobQueue(connections, small_bytes=small_bytes)
    for one in targets:
        queue.add(one)
    return queue


def occupy(queue: JobQueue, job: Job, times: int = 1) -> None:
    """A worker gets `job`; with `times` -1 its lease ends."""
    for host, needed in queue.lane_of(job.registries).hosts:
        host.held[job.small] += needed * times


def popped(queue: JobQueue, *, idle: bool = False) -> list[Job]:
    jobs = []
    while (job := (queue.pop_alone() if idle else None) or queue.pop(small=False)) is not None:
        jobs.append(job)
    assert len(queue) == queue.streamed == queue.streamed_bytes == 0
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
    assert job.registries == ("src.example", "one.example", "two.example")


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
    job = queue.pop(small=False)
    queue.add(target("two.example"))
    assert job is not None
    assert len(job.targets) == len(queue) == 1


def test_a_job_waits_for_connections_on_both_sides() -> None:
    queue = queue_of(target(blob=b"a"), target(blob=b"b"), limit_of={"src.example": 1, "dst.example": 5}.get)
    first = queue.pop(small=False)
    assert first is not None
    occupy(queue, first)
    assert queue.pop(small=False) is None
    occupy(queue, first, -1)
    assert queue.pop(small=False) is not None


def test_a_job_that_cannot_go_holds_no_other_back() -> None:
    queue = queue_of(target("full.example", blob=b"a", size=20), target(blob=b"b"), limit_of={"full.example": 1}.get)
    occupy(queue, Job(0, digest_of(b""), 1, SOURCE, [target("full.example")]))
    job = queue.pop(small=False)
    assert job is not None
    assert job.size == 10
    assert queue.pop(small=False) is None
    assert len(queue) == 1


def test_one_download_serves_repositories_of_a_registry_that_does_not_mount() -> None:
    one, two = (
        BlobTarget(digest_of(b"blob"), 10, SOURCE, Repository("one.example", name), [1], name)
        for name in ("app", "web")
    )
    [job] = popped(queue_of(one, two))
    assert job.targets == [one, two]
    assert len(popped(queue_of(one, one))) == 2


def test_a_job_that_was_joined_waits_for_all_its_registries() -> None:
    queue = queue_of(target(), target("full.example"), limit_of={"full.example": 1}.get)
    other = Job(0, digest_of(b""), 1, SOURCE, [target("full.example")])
    occupy(queue, other)
    assert queue.pop(small=False) is None
    occupy(queue, other, -1)
    assert len(popped(queue)) == 1


def test_a_registry_that_is_both_sides_needs_two_connections_and_makes_do_with_one() -> None:
    for most, fits in [(None, 3), (3, 1), (2, 1), (1, 1), (4, 2)]:
        queue = queue_of(
            *(target("src.example", blob=blob) for blob in (b"a", b"b", b"c")), limit_of=lambda _, most=most: most
        )
        taken = 0
        while (job := queue.pop(small=False)) is not None:
            occupy(queue, job)
            taken += 1
        assert (most, taken) == (most, fits)


def test_what_needs_a_worker_of_its_own_goes_first_to_an_idle_one_only() -> None:
    queue = queue_of(target(blob=b"a", size=20), target(blob=b"b", losses=MOST_LOSSES - 1))
    job = queue.pop(small=False)
    assert job is not None
    assert not job.alone
    assert queue.pop(small=False) is None
    assert len(queue) == 1
    queue = queue_of(target(blob=b"a", size=20), target(blob=b"b", losses=MOST_LOSSES - 1))
    assert [job.alone for job in popped(queue, idle=True)] == [True, False]


def test_what_needs_a_worker_of_its_own_waits_for_connections_too() -> None:
    queue = queue_of(target(losses=MOST_LOSSES - 1), limit_of={"dst.example": 1}.get)
    other = Job(0, digest_of(b""), 1, SOURCE, [target()])
    occupy(queue, other)
    assert queue.pop_alone() is None
    occupy(queue, other, -1)
    assert queue.pop_alone() is not None


def test_nothing_is_left_of_jobs_that_were_taken() -> None:
    queue = queue_of(
        target("one.example"),
        target("two.example"),
        target("one.example"),
        target(losses=MOST_LOSSES - 1),
        target(mount_from="other"),
    )
    assert len(popped(queue, idle=True)) == 4
    assert (queue._joinable, queue._busy, queue.alone) == ({}, ({}, {}), [])


def test_the_weight_of_a_job() -> None:
    assert Job(1, digest_of(b""), 10, SOURCE, [target(mount_from="other")]).weight == 0
    assert Job(1, digest_of(b""), 10, SOURCE, [target()]).weight == 10
    assert Job(1, digest_of(b""), -1, SOURCE, [target()]).weight == 1


def test_small_blobs_and_mounts_wait_apart_in_the_order_of_their_wanting() -> None:
    queue = queue_of(
        target(blob=b"a", size=5),
        target(blob=b"b", size=101),
        target(blob=b"c", size=100),
        target(blob=b"d", size=-1),
        target(blob=b"e", size=0),
        target(blob=b"f", size=2**40, mount_from="other"),
        small_bytes=100,
    )
    assert (queue.small, queue.streamed, queue.streamed_bytes, len(queue)) == (4, 2, 102, 6)
    small = [queue.pop(small=True) for _ in range(5)]
    assert [job and (job.size, job.small, job.weight) for job in small] == [
        (2**40, True, 0),
        (5, True, 5),
        (100, True, 100),
        (0, True, 1),
        None,
    ]
    assert [job.size for job in popped(queue)] == [101, -1]


def test_without_small_slots_no_job_is_small() -> None:
    queue = queue_of(target(blob=b"a", size=0), target(blob=b"b", mount_from="other"))
    assert queue.small == 0
    assert [job.small for job in popped(queue)] == [False, False]


def test_a_small_blob_for_several_registries_is_one_job() -> None:
    queue = queue_of(target("one.example"), target("two.example"), target("two.example", blob=b"b"), small_bytes=10)
    assert queue.small == 2
    jobs = [queue.pop(small=True) for _ in range(3)]
    # The first went to another lane when it was joined; both lanes give the first of theirs.
    assert [job and len(job.targets) for job in jobs] == [2, 1, None]
    assert (queue.small, queue._busy) == (0, ({}, {}))


def test_a_registry_that_did_not_mount_is_expected_to_get_bytes() -> None:
    queue = queue_of(small_bytes=100)
    queue.learn_mount("dst.example", mounted=False)
    queue.add(target(size=1000, mount_from="other"))
    queue.add(target(blob=b"b", size=50, mount_from="other"))
    queue.add(target("else.example", size=1000, mount_from="other"))
    assert (queue.streamed_bytes, queue.small) == (1000, 2)
    assert [job.weight for job in popped_small(queue)] == [0, 50]
    queue.learn_mount("dst.example", mounted=True)
    queue.add(target(size=1000, mount_from="other"))
    assert [job.weight for job in popped_small(queue)] == [0]


def popped_small(queue: JobQueue) -> list[Job]:
    jobs = []
    while (job := queue.pop(small=True)) is not None:
        jobs.append(job)
    return jobs


def test_a_fair_share_of_scarce_connections_is_half() -> None:
    queue = queue_of(
        *(target(blob=bytes([number]), size=size) for number, size in enumerate([1, 500] * 4)),
        limit_of={"dst.example": 3}.get,
        small_bytes=10,
    )
    taken = []
    for small in (False, True):
        while (job := queue.pop(small=small, fair=True)) is not None:
            occupy(queue, job)
            taken.append(job.size)
    assert taken == [500, 500, 1]
    assert queue.pop(small=True) is queue.pop(small=False) is None


def test_what_one_kind_does_not_use_is_the_others() -> None:
    queue = queue_of(
        *(target(blob=bytes([number])) for number in range(4)), limit_of={"dst.example": 3}.get, small_bytes=10
    )
    for _ in range(3):
        job = queue.pop(small=True)
        assert job is not None
        occupy(queue, job)
    assert queue.pop(small=True) is None
    assert queue.small == 1


def test_a_registry_that_refuses_gets_half_and_then_bit_by_bit_more() -> None:
    connections = ConnectionLimits()
    queue = filled(connections, *(target(blob=bytes([number])) for number in range(20)))
    held = [queue.pop(small=False) for _ in range(8)]
    for job in held:
        assert job is not None
        occupy(queue, job)
    assert not connections.limited
    first = held.pop()
    assert first is not None
    occupy(queue, first, -1)
    assert connections.refused("dst.example", 100.0)
    assert connections.limited
    assert not connections.refused("dst.example", 101.9), "the same refusal"
    assert queue.pop(small=False) is None
    for job in held[:4]:
        assert job is not None
        occupy(queue, job, -1)
    assert queue.pop(small=False) is not None, "three of four are in use"
    connections.recover(106.8)
    assert connections.host("dst.example").allowed == 4
    connections.recover(106.9)
    assert connections.host("dst.example").allowed == 5
    connections.recover(111.9)
    assert connections.host("dst.example").allowed == 6
    connections.recover(200.0)
    assert connections.host("dst.example").allowed is None


def test_a_refusal_never_gives_more_than_the_user_allowed_nor_less_than_one() -> None:
    connections = ConnectionLimits({"dst.example": 4}.get)
    for second in range(0, 100, 3):
        assert connections.refused("dst.example", second)
    host = connections.host("dst.example")
    assert host.allowed == 1
    for second in range(100, 200):
        connections.recover(second)
        assert 1 <= host.allowed <= 4
    assert host.allowed == 4


def test_one_broken_connection_is_no_refusal_but_several_are() -> None:
    connections = ConnectionLimits()
    assert [connections.refused("dst.example", second, broken=True) for second in (0.0, 1.0, 2.5, 3.0)] == [False] * 4
    assert connections.refused("dst.example", 3.5, broken=True)
