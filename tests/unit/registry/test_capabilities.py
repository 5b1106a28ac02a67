from __future__ import annotations

from dataclasses import replace

import pytest

from image_syncer.registry import GENERIC, PROFILES, Endpoint, Mounts
from image_syncer.registry.capabilities import (
    HEADS_MANIFESTS,
    KEEPS_PARTIAL,
    MOST_BROUGHT,
    MOUNTS,
    MOUNTS_FROM_ITSELF,
    MOUNTS_IN_VAIN,
    TAKES_PIECES,
    RegistryCapabilities,
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
    capabilities = RegistryCapabilities(on_learnt=lambda *learnt: told.append(learnt))
    endpoint = replace(R, profile=replace(GENERIC, **{name: value}))
    assert capabilities.known(R, fact) is None
    capabilities.learn(endpoint, fact, value=not value)
    assert (capabilities.known(endpoint, fact), told) == (value, [])
    capabilities.learn(R, fact, value=not value)
    assert (capabilities.known(R, fact), told) == (not value, [("r.example", fact, not value)])
    capabilities = RegistryCapabilities({("r.example", fact): not value})
    assert (capabilities.known(R, fact), capabilities.known(endpoint, fact)) == (not value, value)


def test_what_was_seen_is_told_once() -> None:
    told: list[tuple[str, str, bool]] = []
    capabilities = RegistryCapabilities(on_learnt=lambda *learnt: told.append(learnt))
    capabilities.told("r.example", TAKES_PIECES, value=True)
    for value in (True, False, False):
        capabilities.learn(R, TAKES_PIECES, value)
    assert told == [("r.example", TAKES_PIECES, False)]


def test_mounts_are_given_up_after_some_in_vain() -> None:
    capabilities = RegistryCapabilities()
    capabilities.brought(R, "app", "sha256:a")
    for _ in range(MOUNTS_IN_VAIN - 1):
        capabilities.mount_tried(R, "app", "sha256:a", went=False)
    assert capabilities.known(R, MOUNTS) is None
    capabilities.mount_tried(R, "app", "sha256:a", went=False)
    assert capabilities.known(R, MOUNTS) is False


def test_mounts_from_where_the_blob_may_be_gone_say_nothing() -> None:
    capabilities = RegistryCapabilities()
    capabilities.brought(R, "app", "sha256:a")
    for name, digest in (("app", "sha256:b"), ("web", "sha256:a"), *[("app", f"sha256:{n}") for n in range(9)]):
        capabilities.mount_tried(R, name, digest, went=False)
    assert capabilities.known(R, MOUNTS) is None


def test_mounts_that_went_once_are_never_given_up() -> None:
    capabilities = RegistryCapabilities()
    capabilities.mount_tried(R, "app", "sha256:a", went=True)
    capabilities.brought(R, "app", "sha256:b")
    for _ in range(2 * MOUNTS_IN_VAIN):
        capabilities.mount_tried(R, "app", "sha256:b", went=False)
    assert capabilities.known(R, MOUNTS) is True


def test_only_so_many_blobs_are_remembered() -> None:
    capabilities = RegistryCapabilities()
    for number in range(MOST_BROUGHT + 1):
        capabilities.brought(R, "app", f"sha256:{number}")
    for _ in range(MOUNTS_IN_VAIN):
        capabilities.mount_tried(R, "app", "sha256:0", went=False)
    assert capabilities.known(R, MOUNTS) is None


def test_blobs_are_mounted_where_the_profile_says_and_it_went() -> None:
    capabilities = RegistryCapabilities()
    assert capabilities.mounts_at(None) is Mounts.ANYWHERE
    assert capabilities.mounts_at(R) is Mounts.ANYWHERE
    assert capabilities.mounts_at(replace(R, profile=PROFILES["ghcr"])) is Mounts.SAME_OWNER
    assert capabilities.mounts_at(replace(R, profile=PROFILES["ecr"])) is Mounts.NOWHERE
    capabilities.note("r.example", MOUNTS, value=False)
    assert capabilities.mounts_at(R) is Mounts.NOWHERE
