from __future__ import annotations

import hashlib
import json

import pytest

from image_syncer.embedded import ContentBuilder, MemoryStorage, push_to
from image_syncer.oci import ManifestKind, digest_of, parse_manifest


def test_a_seed_makes_the_same_bytes_on_every_machine() -> None:
    """Written down, so that a change of them is seen: benchmarks compare one release with another."""
    layer = "sha256:9c4a0373d38034599b45508059b125ed0fe0388a8c6b3038770ec18c08a5ae39"
    index = "sha256:69e107a189517d6cc5f4330185a55397741d0db36cf69aca71d769eaff0250b3"
    assert ContentBuilder(7).layer(3 * 2**20 + 5).digest == layer
    assert ContentBuilder(7).index(attestations=True).digest == index
    assert ContentBuilder(8).layer(3 * 2**20 + 5).digest != layer


def test_no_two_layers_are_alike() -> None:
    content = ContentBuilder()
    assert len({content.layer().digest for _ in range(100)}) == 100


@pytest.mark.parametrize("size", [0, 1, 3, 4096, 2**20, 2**20 + 1, 3 * 2**20 + 5])
def test_a_layer_is_as_long_as_it_says(size: int) -> None:
    layer = ContentBuilder().layer(size)
    data = layer.read()
    assert len(data) == size
    assert data[:4] == b"\x1f\x8b\x08\x00"[:size]
    assert layer.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_the_pieces_of_a_large_layer_differ() -> None:
    pieces = list(ContentBuilder().layer(3 * 2**20).pieces())
    assert [len(piece) for piece in pieces] == [2**20] * 3
    assert len(set(pieces)) == 3


def test_sha512() -> None:
    layer = ContentBuilder().layer(1000, algorithm="sha512")
    assert layer.digest == digest_of(layer.read(), "sha512")


def test_an_image_names_its_blobs() -> None:
    image = ContentBuilder().image(3, docker=True, annotations={"a": "b"})
    parsed = parse_manifest(image.raw, image.media_type)
    assert parsed.kind is ManifestKind.IMAGE
    assert [blob.digest for blob in parsed.blobs] == [blob.digest for blob in image.blobs]
    assert [blob.size for blob in parsed.blobs] == [blob.size for blob in image.blobs]
    assert json.loads(image.raw)["annotations"] == {"a": "b"}


def test_an_index_with_attestations_as_buildkit_writes_them() -> None:
    index = ContentBuilder().index(attestations=True)
    entries = json.loads(index.raw)["manifests"]
    assert [entry["platform"]["architecture"] for entry in entries] == ["amd64", "arm64", "arm", *["unknown"] * 3]
    assert entries[2]["platform"]["variant"] == "v7"
    for image, attestation in zip(entries[:3], entries[3:], strict=True):
        assert attestation["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    assert len(index.manifests()) == 7
    assert index.manifests()[-1] is index


def test_shared_layers_are_counted_once() -> None:
    content = ContentBuilder()
    shared = content.layer(1000)
    index = content.index(platforms=("linux/amd64", "linux/arm64"), shared_layers=[shared], layer_bytes=10)
    sizes = sorted(blob.size for blob in index.all_blobs() if blob.media_type.endswith("gzip"))
    assert sizes == [10, 10, 1000]
    assert index.size_bytes == sum(blob.size for blob in index.all_blobs())


def test_a_pretty_index_is_no_one_elses_spelling() -> None:
    index = ContentBuilder().pretty_index()
    assert json.dumps(json.loads(index.raw)).encode() != index.raw
    assert b"\n   " in index.raw


def test_a_nested_index() -> None:
    index = ContentBuilder().nested_index()
    entries = json.loads(index.raw)["manifests"]
    assert ["platform" in entry for entry in entries] == [False, True, False]
    digests = [item.digest for item in index.manifests()]
    assert digests.index(entries[0]["digest"]) < digests.index(index.digest)


def test_schema_1_goes_by_the_digest_of_its_payload() -> None:
    made = ContentBuilder().schema1("library/old", "1.0")
    parsed = parse_manifest(made.raw, made.media_type)
    assert parsed.kind is ManifestKind.SCHEMA1
    assert made.digest == parsed.digest != digest_of(made.raw)
    assert {blob.digest for blob in parsed.blobs} == {blob.digest for blob in made.blobs}


def test_foreign_layers_and_artifacts() -> None:
    content = ContentBuilder()
    foreign = content.foreign_image()
    assert len(json.loads(foreign.raw)["layers"]) == len(foreign.blobs)
    artifact = parse_manifest(content.artifact(subject=foreign).raw, None)
    assert artifact.subject is not None
    assert artifact.subject.digest == foreign.digest
    assert artifact.config is not None
    assert artifact.config.digest == digest_of(b"{}")


def test_a_push_into_a_storage_brings_all_of_it() -> None:
    storage, index = MemoryStorage(), ContentBuilder().nested_index()
    push_to(storage, "a", index, iter(["v1", "v2"]))
    push_to(storage, "a", index, ["v1"])
    assert list(storage.tags("a")) == ["v1", "v2"]
    assert storage.tag("a", "v2") == index.digest
    assert all(storage.read_blob("a", blob.digest) == blob.read() for blob in index.all_blobs())
    assert all(storage.manifest("a", item.digest) is not None for item in index.manifests())
