from __future__ import annotations

import json

from image_syncer.oci import Manifest, digest_of, parse_manifest
from image_syncer.scheduling import MAX_DEPTH, ImageTree

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


def descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def image(*layers: bytes) -> ImageTree:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, b"config of " + b",".join(layers)),
        "layers": [descriptor(LAYER_TYPE, layer) for layer in layers],
    }
    return ImageTree(parsed(document))


def index(*children: ImageTree) -> ImageTree:
    named = [
        {"mediaType": child.manifest.media_type, "digest": child.manifest.digest, "size": len(child.manifest.raw)}
        for child in children
    ]
    return ImageTree(parsed({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": named}), children)


def parsed(document: dict[str, object]) -> Manifest:
    return parse_manifest(json.dumps(document).encode(), str(document["mediaType"]))


def test_an_image_alone() -> None:
    tree = image(b"base", b"app")
    assert tree.publish_order() == [tree.manifest]
    assert [blob.digest for blob in tree.blobs()] == [
        digest_of(b"config of base,app"),
        digest_of(b"base"),
        digest_of(b"app"),
    ]


def test_children_come_before_what_names_them() -> None:
    amd64, arm64, attestation = image(b"base", b"app"), image(b"other base"), image(b"facts")
    inner = index(arm64, attestation)
    tree = index(amd64, inner)
    assert tree.publish_order() == [one.manifest for one in (amd64, arm64, attestation, inner, tree)]


def test_what_is_named_twice_is_there_once() -> None:
    shared, other = image(b"base", b"app"), image(b"base", b"web")
    tree = index(shared, index(other, shared), shared)
    order = tree.publish_order()
    assert len(order) == len({manifest.digest for manifest in order}) == 4
    assert order.index(shared.manifest) < order.index(other.manifest)
    blobs = [blob.digest for blob in tree.blobs()]
    assert blobs == [
        digest_of(b"config of base,app"),
        digest_of(b"base"),
        digest_of(b"app"),
        digest_of(b"config of base,web"),
        digest_of(b"web"),
    ]


def test_an_index_without_children_has_no_blobs() -> None:
    tree = index()
    assert (tree.publish_order(), tree.blobs()) == ([tree.manifest], [])


def test_the_work_does_not_grow_with_the_number_of_paths() -> None:
    # A hostile index names the next one again and again: 200 to the power of 8 paths lead to the image.
    tree = image(b"base")
    for _ in range(MAX_DEPTH):
        tree = index(*[tree] * 200)
    assert len(tree.publish_order()) == MAX_DEPTH + 1
    assert len(tree.blobs()) == 2
