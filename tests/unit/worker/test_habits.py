from __future__ import annotations

from dataclasses import replace

import pytest

from image_syncer.coordinator.quirks import Quirks
from image_syncer.registry import GENERIC, PROFILES, Endpoint, Mounts
from image_syncer.worker.habits import (
    HEADS_MANIFESTS,
    KEEPS_PARTIAL,
    MOST_BROUGHT,
    MOUNTS,
    MOUNTS_FROM_ITSELF,
    MOUNTS_IN_VAIN,
    TAKES_PIECES,
    Habits,
)

R = Endpoint("r.example", "https://r.example")
FACTS = {
    KEEPS_PARTIAL: "keeps_partial",
    TAKES_PIECES: "takes_pieces",
    MOUNTS_FROM_ITSELF: "mounts_from_itself",
    HEADS_MANIFESTS: "heads_manifests",
}


@pytest.mark.parametrize(("fact", "name"), FACTS.items())
@pytest.mark.parametrize("value", [True, False])
def test_what_the_profile_says_is_not_learnt(fact: str, name: str, value: bool) -> None:
    told: list[tuple[str, str, bool]] = []
    habits = Habits(lambda *learnt: told.append(learnt))
    endpoint = replace(R, profile=replace(GENERIC, **{name: value}))
    assert habits.known(R, fact) is None
    habits.learn(endpoint, fact, value=not value)
    assert (habits.known(endpoint, fact), told) == (value, [])
    habits.learn(R, fact, value=not value)
    assert (habits.known(R, fact), told) == (not value, [("r.example", fact, not value)])
    quirks = Quirks({("r.example", fact): not value})
    assert (quirks.known(R, fact), quirks.known(endpoint, fact)) == (not value, value)


def test_what_was_seen_is_told_once() -> None:
    told: list[tuple[str, str, bool]] = []
    habits = Habits(lambda *learnt: told.append(learnt))
    habits.told("r.example", TAKES_PIECES, value=True)
    for value in (True, False, False):
        habits.learn(R, TAKES_PIECES, value)
    assert told == [("r.example", TAKES_PIECES, False)]


def test_mounts_are_given_up_after_some_in_vain() -> None:
    habits = Habits()
    habits.brought(R, "app", "sha256:a")
    for _ in range(MOUNTS_IN_VAIN - 1):
        habits.mount_tried(R, "app", "sha256:a", went=False)
    assert habits.known(R, MOUNTS) is None
    habits.mount_tried(R, "app", "sha256:a", went=False)
    assert habits.known(R, MOUNTS) is False


def test_mounts_from_where_the_blob_may_be_gone_say_nothing() -> None:
    habits = Habits()
    habits.brought(R, "app", "sha256:a")
    for name, digest in (("app", "sha256:b"), ("web", "sha256:a"), *[("app", f"sha256:{n}") for n in range(9)]):
        habits.mount_tried(R, name, digest, went=False)
    assert habits.known(R, MOUNTS) is None


def test_mounts_that_went_once_are_never_given_up() -> None:
    habits = Habits()
    habits.mount_tried(R, "app", "sha256:a", went=True)
    habits.brought(R, "app", "sha256:b")
    for _ in range(2 * MOUNTS_IN_VAIN):
        habits.mount_tried(R, "app", "sha256:b", went=False)
    assert habits.known(R, MOUNTS) is True


def test_only_so_many_blobs_are_remembered() -> None:
    habits = Habits()
    for number in range(MOST_BROUGHT + 1):
        habits.brought(R, "app", f"sha256:{number}")
    for _ in range(MOUNTS_IN_VAIN):
        habits.mount_tried(R, "app", "sha256:0", went=False)
    assert habits.known(R, MOUNTS) is None


def test_blobs_are_mounted_where_the_profile_says_and_it_went() -> None:
    quirks = Quirks()
    assert quirks.mounts_at(None) is Mounts.ANYWHERE
    assert quirks.mounts_at(R) is Mounts.ANYWHERE
    assert quirks.mounts_at(replace(R, profile=PROFILES["ghcr"])) is Mounts.SAME_OWNER
    assert quirks.mounts_at(replace(R, profile=PROFILES["ecr"])) is Mounts.NOWHERE
    quirks.learn("r.example", MOUNTS, value=False)
    assert quirks.mounts_at(R) is Mounts.NOWHERE
