"""Blobs that several images, repositories or sources have in common, where one of them fails: the others get theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault
from image_syncer.errors import IntegrityError, NotFoundError, Origin
from support.sync_runs import REPOSITORY, TRUSTING

if TYPE_CHECKING:
    from support.sync_runs import SyncLab

FOREVER = None


def test_a_blob_that_one_source_lacks_comes_from_another(lab: SyncLab) -> None:
    other = lab.add_registry()
    image = lab.content.image(2)
    for registry in (lab.source, other):
        lab.push(image, to=registry)
    lab.source.storage.delete_blob(REPOSITORY, image.blobs[1].digest)
    lab.destination.behaviour = replace(TRUSTING, mounts=False)  # or the first could get it from the second
    rules = [lab.rule(to=[(lab.destination, "a/one")]), lab.rule(origin=other, to=[(lab.destination, "b/two")])]
    done = lab.run(*rules, exit_code=1)
    assert isinstance(done.error, NotFoundError)
    assert done.error.origin is Origin.SOURCE
    lab.assert_arrived(image, "b/two")


@pytest.mark.extended
def test_a_repository_that_may_not_be_written_leaves_the_blobs_to_the_next(lab: SyncLab) -> None:
    image = lab.content.image(3)
    for repository in ("team/one", "team/two", "team/three"):
        lab.push(image, repository)
    denied = Fault("start upload", status=403, match="/team/one/", times=FOREVER)
    lab.destination.behaviour = replace(TRUSTING, faults=(denied,))
    done = lab.run(exit_code=1)
    assert done.failure.destination.endswith("/team/one:v1")
    assert done.at(lab.source).count("get blob") == 4
    for repository in ("team/two", "team/three"):
        lab.assert_arrived(image, repository)


@pytest.mark.parametrize("same_repository", [True, False])
def test_blobs_of_an_image_that_has_failed_still_come_for_the_others(lab: SyncLab, *, same_repository: bool) -> None:
    shared = [lab.content.layer(1000 + number) for number in range(6)]
    bad = lab.content.layer(50_000)  # the largest, so that it is the first to move
    other = REPOSITORY if same_repository else "team/other"
    lab.push(lab.content.image([bad, *shared]), tags=["bad"])
    image = lab.push(lab.content.image(shared), other, ["good"])
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", status=403, match=bad.digest, times=FOREVER),))
    done = lab.run(exit_code=1, workers=1, streams=1)
    assert done.outcomes == ["copied", "failed"]
    assert done.error.digest == bad.digest
    lab.assert_arrived(image, other, "good")


@pytest.mark.extended
def test_a_manifest_that_lies_about_a_size_leaves_the_others_alone(lab: SyncLab) -> None:
    shared = lab.content.layer(5000)
    honest = lab.push(lab.content.image([shared]), "team/honest")
    liar = lab.content.image([shared])
    value = json.loads(liar.raw)
    value["layers"][0]["size"] += 10
    lab.push(replace(liar, raw=json.dumps(value).encode()), "team/liar")
    lab.destination.behaviour = replace(TRUSTING, mounts=False)  # or the liar could get it from the honest one
    done = lab.run(exit_code=1)
    assert done.failure.destination.endswith("/team/liar:v1")
    assert isinstance(done.error, IntegrityError)
    assert done.error.digest == shared.digest
    lab.assert_arrived(honest, "team/honest")


def test_within_one_registry_nothing_is_moved(lab: SyncLab) -> None:
    image = lab.image(3)
    done = lab.run(lab.rule(to=[(lab.source, "copy/of/app")]))
    assert done.at(lab.source).requests == {
        "head manifest": 2,
        "get manifest": 1,
        "start upload": 4,
        "put manifest": 1,
    }
    assert done.image.blobs_mounted == 4
    lab.assert_arrived(image, "copy/of/app", at=lab.source)


@pytest.mark.extended
def test_within_one_registry_that_mounts_nothing_the_blobs_are_moved(lab: SyncLab) -> None:
    image = lab.image(3)
    lab.source.behaviour = Behaviour(mounts=False)
    done = lab.run(lab.rule(to=[(lab.source, "copy/of/app")]))
    assert done.at(lab.source).count("put upload") == 4
    lab.assert_arrived(image, "copy/of/app", at=lab.source)


@pytest.mark.extended
@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_bound_of_connections_is_kept_and_ends_nothing(lab: SyncLab, most: int) -> None:
    images = [lab.image(3, f"team/app{number}") for number in range(3)]
    for registry in (lab.source, lab.destination):
        lab.enter(registry, max_connections=most)
    lab.run(workers=2)
    for registry in (lab.source, lab.destination):
        at_once = registry.counters.values().most_at_once
        assert max(at_once.get("get blob", 0), at_once.get("put upload", 0)) <= max(1, most - 1)
    for number, image in enumerate(images):
        lab.assert_arrived(image, f"team/app{number}")


@pytest.mark.extended
def test_one_blob_at_a_time(lab: SyncLab) -> None:
    images = [lab.image(3, f"team/app{number}") for number in range(2)]
    done = lab.run(workers=2, proc=1)
    assert done.at(lab.source).most_at_once["get blob"] == 1
    for number, image in enumerate(images):
        lab.assert_arrived(image, f"team/app{number}")


@pytest.mark.extended
def test_a_digest_that_was_asked_for_is_what_is_copied_whatever_the_source_says(lab: SyncLab) -> None:
    pinned, other = lab.push(lab.content.image(), tags=()), lab.image()
    claim = (("Docker-Content-Digest", other.digest),)
    lie = Fault("head manifest", status=200, body="", content_type=other.media_type, headers=claim, times=FOREVER)
    lab.source.behaviour = Behaviour(faults=(lie,))
    lab.push(other, to=lab.destination)
    done = lab.run(lab.rule(digest=pinned.digest))
    assert done.image.destination_digest == pinned.digest
    stored = lab.destination.storage.manifest(REPOSITORY, pinned.digest)
    assert stored is not None
    assert lab.destination.storage.read_manifest(stored) == pinned.raw
