"""Whole runs in which manifests are converted: Docker's media types to OCI's, or the other way round."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer import load_report
from image_syncer.config import parse_on_conflict
from image_syncer.embedded import Behaviour
from image_syncer.oci import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Digest,
    ManifestFormat,
    PlatformFilter,
    parse_platform,
)
from image_syncer.reporting.chosen_work import find_unfinished
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import StoredManifest
    from support.sync_runs import SyncLab

OCI, DOCKER = ManifestFormat.OCI, ManifestFormat.DOCKER


def stored(lab: SyncLab, digest: str | None = None) -> StoredManifest:
    found = Digest(digest) if digest is not None else lab.destination.storage.tag(REPOSITORY, TAG)
    assert found is not None
    manifest = lab.destination.storage.manifest(REPOSITORY, found)
    assert manifest is not None
    return manifest


def arrived(lab: SyncLab) -> set[str]:
    """The media types of all manifests under the tag."""
    root = stored(lab)
    document = json.loads(lab.destination.storage.read_manifest(root))
    children = [stored(lab, entry["digest"]) for entry in document.get("manifests", ())]
    return {root.media_type, *(child.media_type for child in children)}


@pytest.mark.parametrize(
    ("wanted", "types"),
    [(OCI, {OCI_INDEX, OCI_MANIFEST}), (DOCKER, {DOCKER_MANIFEST_LIST, DOCKER_MANIFEST})],
)
def test_an_index_arrives_in_the_other_form(lab: SyncLab, wanted: ManifestFormat, types: set[str]) -> None:
    made = lab.push(lab.content.index(docker=wanted is OCI))
    lab.destination.behaviour = Behaviour()  # takes no manifest before what it names
    done = lab.run(manifest_format=wanted)
    assert arrived(lab) == types
    assert done.image.source_digest == made.digest
    assert done.image.destination_digest == stored(lab).digest != made.digest
    assert done.document["settings"]["format"] == wanted.value
    assert all(lab.destination.storage.read_blob(REPOSITORY, blob.digest) for blob in made.all_blobs())
    assert lab.verify(manifest_format=wanted, deep=True).outcomes == ["equal"]
    assert lab.verify(exit_code=1).outcomes == ["different"]


@pytest.mark.extended
def test_a_second_run_reads_manifests_and_writes_nothing(lab: SyncLab) -> None:
    made = lab.push(lab.content.index(docker=True))
    lab.run(manifest_format=OCI)
    again = lab.run(manifest_format=OCI)
    assert again.outcomes == ["unchanged"]
    assert again.image.source_digest == made.digest
    assert again.image.destination_digest == stored(lab).digest
    assert again.at(lab.source).requests == {"head manifest": 1, "get manifest": 1 + len(made.children)}
    assert again.at(lab.destination).requests == {"head manifest": 1}


def test_what_has_the_form_already_arrives_byte_for_byte(lab: SyncLab) -> None:
    made = lab.push(lab.content.pretty_index())
    lab.run(manifest_format=OCI, verify=True)
    lab.assert_arrived(made)


@pytest.mark.extended
def test_one_image_and_back_again(lab: SyncLab) -> None:
    image = lab.image(2, docker=True)
    lab.run(manifest_format=OCI)
    assert stored(lab).media_type == OCI_MANIFEST
    back = lab.add_registry()
    lab.run(lab.rule(origin=lab.destination, to=[(back, REPOSITORY)]), manifest_format=DOCKER)
    lab.assert_arrived(image, at=back)


@pytest.mark.parametrize("kind", ["annotations", "schema 1"])
def test_what_would_lose_something_fails_before_anything_moves(lab: SyncLab, kind: str) -> None:
    lab.push(lab.content.schema1() if kind == "schema 1" else lab.content.image(1, annotations={"a": "b"}))
    done = lab.run(manifest_format=DOCKER, exit_code=1)
    assert "it cannot be converted" in str(done.error)
    assert kind in str(done.error)
    assert "--format keep" in str(done.error)
    assert done.at(lab.source).count("get blob") == 0
    assert lab.destination.storage.repositories() == []
    assert lab.verify(manifest_format=DOCKER, exit_code=1).outcomes == ["not checked"]
    assert lab.run(manifest_format=DOCKER, dry_run=True, exit_code=1).outcomes == ["failed"]
    assert find_unfinished(load_report(str(lab.report_path))).manifest_format is DOCKER


@pytest.mark.extended
def test_a_platform_is_selected_before_it_is_converted(lab: SyncLab) -> None:
    lost = lab.content.image(1, annotations={"a": "b"}, platform="linux/s390x")
    lab.push(lab.content.index([lab.content.image(1), lost]))
    wanted = PlatformFilter((parse_platform("linux/amd64"),))
    done = lab.run(manifest_format=DOCKER, platform_filter=wanted)
    assert arrived(lab) == {DOCKER_MANIFEST_LIST, DOCKER_MANIFEST}
    assert lab.run(manifest_format=DOCKER, platform_filter=wanted).outcomes == ["unchanged"]
    assert done.image.destination_digest == stored(lab).digest


@pytest.mark.extended
def test_by_digest_the_destination_gets_the_new_digest(lab: SyncLab) -> None:
    made = lab.push(lab.content.index(docker=True), tags=())
    rule = lab.rule(digest=made.digest)
    done = lab.run(rule, manifest_format=OCI)
    assert done.image.destination.endswith(f"@{done.image.destination_digest}")
    assert stored(lab, done.image.destination_digest).media_type == OCI_INDEX
    assert lab.run(rule, manifest_format=OCI).outcomes == ["unchanged"]
    assert lab.verify(rule, manifest_format=OCI).outcomes == ["equal"]


@pytest.mark.extended
def test_other_content_under_the_tag_is_known_by_the_digest_that_is_wanted(lab: SyncLab) -> None:
    made = lab.push(lab.content.index(docker=True))
    lab.run()
    assert lab.destination.storage.tag(REPOSITORY, TAG) == made.digest
    skip = lab.run(manifest_format=OCI, on_conflict=parse_on_conflict("skip"))
    assert skip.outcomes == ["skipped"]
    planned = lab.run(manifest_format=OCI, dry_run=True)
    assert (planned.outcomes, planned.image.replaced_digest) == (["would be copied"], made.digest)
    done = lab.run(manifest_format=OCI)
    assert done.image.replaced_digest == made.digest
    assert done.at(lab.destination).count("put upload") == 0


@pytest.mark.extended
def test_with_a_journal_a_tag_that_has_not_moved_costs_one_request(lab: SyncLab, tmp_path: Path) -> None:
    lab.push(lab.content.index(docker=True))
    state = str(tmp_path / "journal")
    lab.run(manifest_format=OCI, state_path=state)
    again = lab.run(manifest_format=OCI, state_path=state)
    assert again.outcomes == ["unchanged"]
    assert again.at(lab.source).requests == {"head manifest": 1}
    assert again.at(lab.destination).requests == {}
