"""Every kind of manifest arrives byte for byte, its blobs first, then what it names, then itself, then the tag."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer import load_report
from image_syncer.config import MissingPlatform
from image_syncer.embedded import Behaviour, ContentBuilder, MadeManifest, StoredManifest
from image_syncer.embedded.content import build_manifest
from image_syncer.oci import (
    DOCKER_FOREIGN_LAYER,
    OCI_INDEX,
    OCI_MANIFEST,
    PlatformFilter,
    digest_of,
    parse_platform,
)
from image_syncer.oci.descriptor import OCI_ARTIFACT_MANIFEST
from image_syncer.reporting.chosen_work import find_unfinished
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.sync_runs import SyncLab

ABOUT = {"vnd.docker.reference.type": "attestation-manifest"}


def index_with_attestations(content: ContentBuilder) -> MadeManifest:
    """As BuildKit writes it with some options: the entries of the attestations have no platform."""
    images = [content.image(1), content.image(1, platform="linux/arm64")]
    entries = [image.descriptor() for image in images]
    children = list(images)
    for image in images:
        attestation = content.attestation()
        about = {**ABOUT, "vnd.docker.reference.digest": image.digest}
        entries.append(attestation.descriptor(platform=None, annotations=about))
        children.append(attestation)
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "x-vendor": {"kept": True}}
    return build_manifest(value, children=tuple(children))


def empty_artifact(content: ContentBuilder) -> MadeManifest:
    """The empty descriptor as config and as the only layer, with its bytes inside."""
    empty = content.empty_config()
    described = empty.descriptor(data="e30=")
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": "application/vnd.example",
        "config": described,
        "layers": [described],
    }
    return build_manifest(value, (empty,))


def artifact_manifest(content: ContentBuilder) -> MadeManifest:
    """The kind that the image specification had in a release candidate, and that some registries still hold."""
    blob = content.layer(300)
    value = {
        "mediaType": OCI_ARTIFACT_MANIFEST,
        "artifactType": "application/vnd.example",
        "blobs": [blob.descriptor()],
    }
    return build_manifest(value, (blob,))


def image_with_twice_the_same_layer(content: ContentBuilder) -> MadeManifest:
    layer = content.layer()
    image = content.image([layer, content.layer(), layer])
    return MadeManifest(image.raw, image.media_type, image.blobs[:3], platform=image.platform)


def image_without_media_type(content: ContentBuilder) -> MadeManifest:
    image = content.image(1)
    value = json.loads(image.raw)
    del value["mediaType"]
    return MadeManifest(json.dumps(value).encode(), OCI_MANIFEST, image.blobs)


def foreign_layer_without_address(content: ContentBuilder) -> MadeManifest:
    """A layer that may not be given away, and that nobody can get elsewhere: the registry has it."""
    return content.image([content.layer(media_type=DOCKER_FOREIGN_LAYER), content.layer()])


KINDS: dict[str, Callable[[ContentBuilder], MadeManifest]] = {
    "oci image": lambda content: content.image(2, annotations={"a": "b"}),
    "docker schema 2": lambda content: content.image(2, docker=True),
    "docker list": lambda content: content.index(docker=True),
    "oci index": lambda content: content.index(annotations={"c": "d"}),
    "nested index": lambda content: content.nested_index(),
    "attestations with a platform": lambda content: content.index(attestations=True),
    "attestations without a platform": index_with_attestations,
    "artifact": lambda content: content.artifact(),
    "artifact with a subject": lambda content: content.artifact(subject=content.image()),
    "artifact manifest": artifact_manifest,
    "empty descriptor": empty_artifact,
    "zero-byte layer": lambda content: content.image([content.empty_layer(), content.layer()]),
    "only a zero-byte layer": lambda content: content.image([content.empty_layer()]),
    "the same layer twice": image_with_twice_the_same_layer,
    "no layer": lambda content: content.image([]),
    "schema 1": lambda content: content.schema1(),
    "pretty index": lambda content: content.pretty_index(),
    "pretty image": lambda content: content.image(1, indent=7),
    "sha512 layer": lambda content: content.image([content.layer(algorithm="sha512"), content.layer()]),
    "foreign layer": lambda content: content.foreign_image(),
    "foreign layer without address": foreign_layer_without_address,
    "no media type in the body": image_without_media_type,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_arrives_byte_for_byte_and_in_order(lab: SyncLab, kind: str) -> None:
    manifest = lab.push(KINDS[kind](lab.content))
    lab.destination.behaviour = Behaviour()  # takes no manifest before what it names
    done = lab.run()
    lab.assert_arrived(manifest)
    blobs, manifests = len(manifest.all_blobs()), manifest.manifests()
    assert done.at(lab.source).count("get blob") == sum(1 for blob in manifest.all_blobs() if blob.size)
    assert done.at(lab.destination).requests == {
        "head manifest": 1,
        **({"start upload": blobs, "put upload": blobs} if blobs else {}),
        "put manifest": len(manifests),
    }
    kinds = [seen.kind for seen in lab.destination.counters.history()]
    assert "put upload" not in kinds[kinds.index("put manifest") :]
    order = [seen.reference for seen in lab.destination.counters.history("put manifest")]
    assert order[-1] == TAG
    for item in manifest.manifests():
        for child in item.children:
            below, above = order.index(child.digest), order.index(TAG if item is manifest else item.digest)
            assert below < above


def test_a_run_by_digest_keeps_the_digest_and_makes_no_tag(lab: SyncLab) -> None:
    index = lab.push(lab.content.index(), tags=())
    done = lab.run(lab.rule(digest=index.digest))
    assert done.outcomes == ["copied"]
    assert lab.destination.storage.tag(REPOSITORY, TAG) is None
    stored = lab.destination.storage.manifest(REPOSITORY, index.digest)
    assert stored is not None
    assert lab.destination.storage.read_manifest(stored) == index.raw
    assert lab.run(lab.rule(digest=index.digest)).outcomes == ["unchanged"]


@pytest.mark.extended
def test_manifests_that_are_named_by_sha512(lab: SyncLab) -> None:
    image = lab.push(lab.content.image(1), tags=())
    child = digest_of(image.raw, "sha512")
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_MANIFEST, "digest": child, "size": len(image.raw)}],
    }
    index = build_manifest(value)
    storage = lab.source.storage
    storage.put_manifest(REPOSITORY, StoredManifest(child, OCI_MANIFEST, len(image.raw)), image.raw)
    storage.put_manifest(REPOSITORY, StoredManifest(index.digest, OCI_INDEX, len(index.raw)), index.raw, TAG)
    assert lab.run(lab.rule()).outcomes == ["copied"]
    stored = lab.destination.storage.manifest(REPOSITORY, child)
    assert stored is not None
    assert lab.destination.storage.read_manifest(stored) == image.raw
    assert lab.run(lab.rule(digest=child)).outcomes == ["unchanged"]


@pytest.mark.extended
def test_a_blob_of_several_windows(lab: SyncLab) -> None:
    image = lab.image(2, layer_bytes=3_000_001)
    lab.run(window_bytes=64 * 1024)
    lab.assert_arrived(image)


def test_a_filter_keeps_what_fits_with_its_attestations_and_unknown_fields(lab: SyncLab) -> None:
    index = lab.push(index_with_attestations(lab.content))
    done = lab.run(platform_filter=PlatformFilter((parse_platform("linux/arm64"),)))
    written = lab.destination.storage.tag(REPOSITORY, TAG)
    assert done.image.source_digest == index.digest
    assert done.image.destination_digest == written != index.digest
    assert written is not None
    stored = lab.destination.storage.manifest(REPOSITORY, written)
    assert stored is not None
    document = json.loads(lab.destination.storage.read_manifest(stored))
    entries = json.loads(index.raw)["manifests"]
    assert document["manifests"] == [entries[1], entries[3]]
    assert document["x-vendor"] == {"kept": True}
    assert done.at(lab.source).count("get manifest") == 3


def test_a_filter_skips_a_single_image_with_a_reason(lab: SyncLab) -> None:
    lab.image(2, platform="linux/s390x")
    done = lab.run(platform_filter=PlatformFilter((parse_platform("linux/amd64"),)))
    assert done.outcomes == ["skipped"]
    assert done.image.reason is not None
    assert "linux/s390x" in done.image.reason
    assert done.at(lab.source).requests == {"head manifest": 1, "get manifest": 1, "get blob": 1}
    assert done.at(lab.destination).requests == {"head manifest": 1}


@pytest.mark.extended
def test_a_filter_finds_nothing_in_an_index(lab: SyncLab) -> None:
    lab.push(lab.content.index())
    done = lab.run(platform_filter=PlatformFilter((parse_platform("windows/amd64"),)))
    assert done.outcomes == ["skipped"]
    assert lab.destination.storage.repositories() == []


@pytest.mark.extended
@pytest.mark.parametrize("kind", ["image", "index"])
@pytest.mark.parametrize("policy", list(MissingPlatform))
def test_an_image_without_the_wanted_platform(lab: SyncLab, kind: str, policy: MissingPlatform) -> None:
    made = lab.push(lab.content.index() if kind == "index" else lab.content.image(1))
    wanted = PlatformFilter(architectures=("s390x",))
    failing = policy is MissingPlatform.FAIL
    done = lab.run(platform_filter=wanted, missing_platform=policy, exit_code=int(failing))
    if policy is MissingPlatform.COPY:
        assert done.outcomes == ["copied"]
        lab.assert_arrived(made)
        assert lab.run(platform_filter=wanted, missing_platform=policy).outcomes == ["unchanged"]
    else:
        assert done.outcomes == ["failed" if failing else "skipped"]
        assert "s390x" in str(done.image.reason)
        assert lab.destination.storage.repositories() == []
    assert str(find_unfinished(load_report(str(lab.report_path))).missing_platform) == policy.value
