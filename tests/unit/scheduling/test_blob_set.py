from __future__ import annotations

from image_syncer.errors import SyncError
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import Mounts
from image_syncer.scheduling import BlobNeed, BlobSet, BlobTarget, Tries

BLOB = digest_of(b"blob")
SOURCE, OTHER_SOURCE = Repository("src.example", "base/os"), Repository("src.example", "base/web")
APP, WEB, TOOL = (Repository("dst.example", name) for name in ("app", "web", "tool"))
ELSEWHERE = Repository("else.example", "app")


def need(target: Repository, delivery: int = 1, *, source: Repository = SOURCE, size: int = 10) -> BlobNeed:
    return BlobNeed(BLOB, size, source, target, delivery)


def joined(blobs: BlobSet, target: Repository, **facts) -> BlobTarget:
    made = blobs.join(need(target, **facts))
    assert made is not None
    return made


def test_the_first_repository_gets_it_from_the_source_and_the_others_wait() -> None:
    blobs = BlobSet()
    first = joined(blobs, APP)
    assert (first.repository, first.mounts, first.mount_from, first.booked_bytes) == (APP, False, "app", 10)
    assert blobs.join(need(WEB)) is None
    served, released = blobs.landed(first)
    assert served == []
    assert [(one.repository, one.mounts, one.mount_from) for one in released] == [(WEB, True, "app")]
    assert (blobs.work.wanted_blobs, blobs.work.wanted_bytes) == (2, 10)


def test_a_source_of_the_same_registry_is_mounted_from() -> None:
    blobs = BlobSet()
    first = joined(blobs, APP, source=TOOL)
    assert (first.mounts, first.mount_from, first.booked_bytes) == (True, "tool", 0)
    assert not blobs.has(TOOL, BLOB)  # only what was done in this run is known for sure
    assert joined(blobs, ELSEWHERE, source=TOOL).mounts is False
    blobs.failed(first, source_failed=False)
    itself = joined(blobs, TOOL, source=TOOL)
    assert (itself.mounts, itself.mount_from) == (False, "tool")


def test_each_registry_gets_it_once() -> None:
    blobs = BlobSet()
    assert joined(blobs, APP).mounts is joined(blobs, ELSEWHERE).mounts is False
    assert len(blobs) == 2


def test_a_need_of_the_same_repository_joins_the_one_before() -> None:
    blobs = BlobSet()
    first = joined(blobs, APP, delivery=1)
    assert blobs.join(need(WEB, 2)) is None
    assert blobs.join(need(APP, 3)) is None
    assert blobs.join(need(WEB, 4)) is None
    assert first.deliveries == [1, 3]
    [waiting] = blobs.landed(first)[1]
    assert waiting.deliveries == [2, 4]
    assert blobs.work.wanted_blobs == 2


def test_what_has_landed_is_known() -> None:
    blobs = BlobSet()
    assert not blobs.has(APP, BLOB)
    first = joined(blobs, APP)
    assert not blobs.has(APP, BLOB)
    blobs.landed(first)
    assert blobs.has(APP, BLOB)
    assert not blobs.has(WEB, BLOB)
    assert not blobs.has(ELSEWHERE, BLOB)
    assert joined(blobs, WEB).mount_from == "app"


def test_mounts_from_the_first_home_go_on_side_by_side() -> None:
    blobs = BlobSet()
    blobs.landed(joined(blobs, APP))
    web, tool = joined(blobs, WEB), joined(blobs, TOOL)
    blobs.landed(web)
    assert (web.mount_from, tool.mount_from) == ("app", "app")
    assert (web.booked_bytes, tool.booked_bytes) == (0, 0)


def test_one_of_those_that_waited_takes_over_where_the_destination_failed() -> None:
    blobs = BlobSet()
    first = joined(blobs, APP)
    blobs.join(need(WEB))
    blobs.join(need(TOOL))
    fallen, [second] = blobs.failed(first, source_failed=False)
    assert (fallen, second.repository, second.mounts) == ([], WEB, False)
    assert [one.mount_from for one in blobs.landed(second)[1]] == ["web"]


def test_those_that_wait_for_the_same_of_a_source_fall_with_it() -> None:
    blobs = BlobSet()
    first = joined(blobs, APP)
    blobs.join(need(WEB, 2))
    blobs.join(need(TOOL, 3, source=OTHER_SOURCE))
    blobs.join(need(ELSEWHERE, 4))
    blobs.join(need(TOOL, 5, size=11))
    fallen, [second] = blobs.failed(first, source_failed=True)
    assert [one.deliveries for one in fallen] == [[2]]
    assert second.deliveries == [3]
    assert [one.deliveries for one in blobs.failed(second, source_failed=True)[1]] == [[5]]


def test_a_need_that_differs_in_source_or_size_does_not_share_the_fate_of_the_first() -> None:
    blobs = BlobSet()
    first = joined(blobs, APP, delivery=1)
    assert blobs.join(need(APP, 2, size=11)) is None
    assert blobs.join(need(APP, 3, source=OTHER_SOURCE)) is None
    assert blobs.join(need(APP, 4, size=11)) is None
    assert first.deliveries == [1]
    fallen, [second] = blobs.failed(first, source_failed=True)
    assert (fallen, second.deliveries, second.mounts) == ([], [2, 4], False)
    served, released = blobs.landed(second)
    assert ([one.deliveries for one in served], released) == ([[3]], [])


def test_a_repository_is_mounted_into_once_at_a_time() -> None:
    blobs = BlobSet()
    blobs.landed(joined(blobs, APP))
    web = joined(blobs, WEB)
    assert blobs.join(need(WEB, 2, size=11)) is None
    tool = joined(blobs, TOOL)
    assert blobs.failed(tool, source_failed=False) == ([], [])
    _, [again] = blobs.failed(web, source_failed=False)
    assert (again.deliveries, again.mount_from) == ([2], "app")


def test_a_blob_that_failed_can_be_wanted_again() -> None:
    blobs = BlobSet()
    first = joined(blobs, APP, delivery=1)
    first.tries = Tries(0.0).plus(SyncError("broke"), 1.0)
    blobs.failed(first, source_failed=True)
    again = joined(blobs, APP, delivery=2)
    assert (again.tries, again.deliveries, again.booked_bytes) == (None, [2], 10)
    assert (blobs.work.wanted_blobs, blobs.work.wanted_bytes) == (2, 20)


def test_unknown_sizes_book_nothing() -> None:
    blobs = BlobSet()
    assert joined(blobs, APP, size=-1).booked_bytes == 0
    assert blobs.work.wanted_bytes == 0


def test_where_nothing_is_mounted_nobody_waits() -> None:
    blobs = BlobSet(mounts_at=lambda _registry: Mounts.NOWHERE)
    first, second = joined(blobs, APP, source=TOOL), joined(blobs, WEB, source=TOOL)
    assert [(one.mounts, one.booked_bytes) for one in (first, second)] == [(False, 10), (False, 10)]
    assert blobs.join(need(APP, 2, source=TOOL)) is None  # that one is on its way
    assert blobs.landed(first) == ([], [])
    assert blobs.landed(second) == ([], [])
    assert not joined(blobs, TOOL).mounts
    assert len(blobs) == 1


def test_blobs_are_mounted_within_an_owner() -> None:
    blobs = BlobSet(mounts_at=lambda _registry: Mounts.SAME_OWNER)
    mine, mine_too, yours, yours_too = (
        Repository("dst.example", f"{one}/app") for one in ("me", "me/x", "you", "you/x")
    )
    first, other = joined(blobs, mine), joined(blobs, yours)
    assert blobs.join(need(mine_too)) is None
    [mounting] = blobs.landed(first)[1]
    assert (mounting.repository, mounting.mount_from) == (mine_too, "me/app")
    blobs.landed(mounting)
    blobs.landed(other)
    assert joined(blobs, yours_too).mount_from == "you/app"  # although "me/app" was the first that had it
    near, far = (joined(blobs, Repository("dst.example", name), source=mine) for name in ("me/y", "they/y"))
    assert (near.mount_from, far.mount_from) == ("me/app", "they/y")


def test_registry_that_is_found_not_to_mount_is_waited_for_no_more() -> None:
    mounts = [Mounts.ANYWHERE]
    blobs = BlobSet(mounts_at=lambda _registry: mounts[0])
    first = joined(blobs, APP)
    assert blobs.join(need(WEB)) is None
    mounts[0] = Mounts.NOWHERE
    assert not joined(blobs, TOOL).mounts
    [released] = blobs.landed(first)[1]
    assert released.repository == WEB
    blobs.failed(released, source_failed=False)
    assert len(blobs) == 1
