"""Whole images in the other form."""

from __future__ import annotations

import json

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest
from image_syncer.embedded.content import build_manifest
from image_syncer.oci import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, ManifestFormat, NotConvertible, parse_manifest
from image_syncer.scheduling import ImageTree
from image_syncer.scheduling.conversion import convert_tree

OCI, DOCKER = ManifestFormat.OCI, ManifestFormat.DOCKER


def tree_of(made: MadeManifest) -> ImageTree:
    return ImageTree(parse_manifest(made.raw, made.media_type), tuple(tree_of(child) for child in made.children))


def test_an_index_and_all_below_it() -> None:
    tree = tree_of(ContentBuilder().index(docker=True))
    there = convert_tree(tree, OCI)
    assert {each.media_type for each in there.publish_order()} == {OCI_INDEX, OCI_MANIFEST}
    assert [child.manifest.digest for child in there.children] == [each.digest for each in there.manifest.children]
    assert [child.platform for child in there.manifest.children] == [each.platform for each in tree.manifest.children]
    assert [blob.digest for blob in there.blobs()] == [blob.digest for blob in tree.blobs()]
    assert convert_tree(there, OCI) is there
    assert convert_tree(there, DOCKER) == convert_tree(tree, DOCKER) == tree
    assert convert_tree(tree, ManifestFormat.KEEP) is tree


def test_only_what_differs_is_written_anew() -> None:
    content = ContentBuilder()
    tree = tree_of(content.index([content.image(1), content.image(1, docker=True), content.nested_index()]))
    there = convert_tree(tree, OCI)
    same = [new is old for new, old in zip(there.children, tree.children, strict=True)]
    assert same == [True, False, True]
    assert there.manifest.digest != tree.manifest.digest


def test_it_says_which_manifest_cannot_be_converted() -> None:
    content = ContentBuilder()
    good, bad = content.image(1), content.image(1, annotations={"a": "b"}, platform="linux/arm64")
    with pytest.raises(NotConvertible, match=rf"{bad.digest[:19]}.* has annotations"):
        convert_tree(tree_of(content.index([good, bad])), DOCKER)
    with pytest.raises(NotConvertible, match="is an index"):
        convert_tree(tree_of(content.index([content.index()])), DOCKER)
    with pytest.raises(NotConvertible, match=r"layers\[0\] has annotations"):
        convert_tree(tree_of(content.index(attestations=True)), DOCKER)


def test_what_is_about_a_manifest_that_changes_is_not_left_pointing_at_nothing() -> None:
    content = ContentBuilder()
    image = content.image(1, docker=True)
    signature = content.artifact(subject=image)
    with pytest.raises(NotConvertible, match="its subject"):
        convert_tree(tree_of(content.index([image, signature])), OCI)
    elsewhere = content.artifact(subject=content.image(1, docker=True))
    assert convert_tree(tree_of(content.index([image, elsewhere])), OCI).children[0].manifest.media_type == OCI_MANIFEST


def test_indexes_that_name_each_other_in_endless_many_ways_are_entered_once() -> None:
    content = ContentBuilder()
    made: MadeManifest = content.image(1, docker=True)
    for _ in range(8):
        entry = made.descriptor()
        made = build_manifest(
            {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] * 20}, children=(made,) * 20
        )
    shared: dict[str, ImageTree] = {}

    def shared_tree(item: MadeManifest) -> ImageTree:
        if item.digest not in shared:
            children = tuple(shared_tree(child) for child in item.children)
            shared[item.digest] = ImageTree(parse_manifest(item.raw, item.media_type), children)
        return shared[item.digest]

    there = convert_tree(shared_tree(made), OCI)
    assert len(there.publish_order()) == 9
    assert DOCKER_MANIFEST not in {json.loads(each.raw)["mediaType"] for each in there.publish_order()}
