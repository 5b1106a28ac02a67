"""Destinations with holes: the tag is there, and something below it is gone; `--force` brings that and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour
from image_syncer.oci import Digest
from image_syncer.telemetry import Outcome
from support.sync_runs import REPOSITORY, missing_parts

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry, MadeManifest
    from support.sync_runs import Done, SyncLab

STRICT = Behaviour()
"""Refuses manifests whose parts are missing, as distribution does."""


@pytest.fixture
def whole(lab: SyncLab) -> MadeManifest:
    """An index of several platforms, an index and attestations in it, which is at both sides."""
    lab.destination.behaviour = STRICT
    inner = lab.content.index(platforms=("linux/amd64", "linux/arm64"), attestations=True)
    image = lab.push(lab.content.index([inner, lab.content.image(2, platform="linux/s390x")]))
    lab.run()
    return image


def drop_blobs(registry: EmbeddedRegistry, *digests: str) -> None:
    for digest in digests:
        assert registry.storage.delete_blob(REPOSITORY, Digest(digest))


def drop_manifests(registry: EmbeddedRegistry, *digests: str) -> None:
    for digest in digests:
        assert registry.storage.delete_manifest(REPOSITORY, Digest(digest))


def assert_repaired(lab: SyncLab, image: MadeManifest, done: Done, blobs: int) -> None:
    assert (done.image.outcome, done.image.blobs_moved) == (Outcome.COPIED, blobs)
    assert done.at(lab.source).count("get blob") == blobs
    assert missing_parts(lab.destination.storage) == []
    lab.assert_arrived(image)
    assert lab.verify().outcomes == ["equal"]


def test_what_is_gone_is_seen_by_verify(lab: SyncLab, whole: MadeManifest) -> None:
    """Without `--force`, a sync compares the tag and nothing below it: what it is for is told there."""
    drop_blobs(lab.destination, whole.children[1].blobs[0].digest)
    done = lab.verify(exit_code=1)
    assert [difference.what for difference in done.image.differences or ()] == ["blob"]


def test_a_blob_is_gone(lab: SyncLab, whole: MadeManifest) -> None:
    drop_blobs(lab.destination, whole.children[0].children[0].blobs[1].digest)
    assert_repaired(lab, whole, lab.run(force=True), 1)


@pytest.mark.extended
def test_manifests_are_gone_and_no_blob_moves(lab: SyncLab, whole: MadeManifest) -> None:
    inner = whole.children[0]
    drop_manifests(lab.destination, inner.digest, inner.children[0].digest, inner.children[-1].digest)
    assert_repaired(lab, whole, lab.run(force=True), 0)


@pytest.mark.extended
def test_manifests_and_blobs_are_gone(lab: SyncLab, whole: MadeManifest) -> None:
    child = whole.children[0].children[1]
    drop_manifests(lab.destination, child.digest)
    drop_blobs(lab.destination, *(blob.digest for blob in child.blobs))
    assert_repaired(lab, whole, lab.run(force=True), len(child.blobs))


@pytest.mark.extended
def test_a_blob_that_another_repository_has_is_mounted(lab: SyncLab, whole: MadeManifest) -> None:
    blob = whole.children[1].blobs[0]
    lab.push(whole, "team/other", to=lab.source)
    lab.run(lab.rule("team/other"))
    drop_blobs(lab.destination, blob.digest)
    rules = [lab.rule("team/other"), lab.rule()]
    done = lab.run(*rules, force=True)
    assert done.at(lab.source).count("get blob") <= 1
    assert missing_parts(lab.destination.storage) == []
    lab.assert_arrived(whole)


@pytest.mark.extended
def test_nothing_is_gone(lab: SyncLab, whole: MadeManifest) -> None:
    done = lab.run(force=True)
    assert (done.image.outcome, done.image.bytes_moved) == (Outcome.COPIED, 0)
    assert done.at(lab.source).count("get blob") == 0
