from __future__ import annotations

from dataclasses import replace

from image_syncer.oci import Repository
from image_syncer.registry import Endpoint
from image_syncer.scheduling import Arrival
from image_syncer.worker.context import FreshRepositories
from image_syncer.worker.protocol import Place, TargetPlace


def target(name: str = "team/app", mount_from: str | None = None) -> TargetPlace:
    endpoint = Endpoint("r.example", "https://r.example")
    return TargetPlace(Place.of(endpoint, Repository("r.example", name)), mount_from or name)


def test_the_first_blob_of_a_repository_is_asked_for_before_it_is_fetched() -> None:
    assert not FreshRepositories().expect((target(),))


def test_a_repository_that_lacked_a_blob_will_lack_the_next_one() -> None:
    fresh = FreshRepositories()
    fresh.learn(target(), Arrival.MOVED)
    assert fresh.expect((target(),))
    assert not fresh.expect((target("team/other"),))
    assert fresh.expect((target("team/other"), target()))


def test_what_may_be_mounted_is_asked_for_first() -> None:
    fresh = FreshRepositories()
    fresh.learn(target(), Arrival.MOVED)
    assert not fresh.expect((target(mount_from="team/base"),))


def test_a_repository_that_has_a_blob_may_have_the_next_one() -> None:
    fresh = FreshRepositories()
    fresh.learn(target(), Arrival.MOVED)
    fresh.learn(target(), None)  # a blob that failed tells nothing
    assert fresh.expect((target(),))
    fresh.learn(target(), Arrival.PRESENT)
    assert not fresh.expect((target(),))


def test_what_the_registry_says_is_absent_need_not_be_asked_for() -> None:
    assert FreshRepositories().expect((replace(target(), absent=True),))
