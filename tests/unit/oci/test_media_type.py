from __future__ import annotations

import pytest

from image_syncer.oci import (
    MANIFEST_MEDIA_TYPES,
    is_image,
    is_index,
    is_schema1,
    media_type_of,
)
from image_syncer.oci.descriptor import is_nondistributable


def test_every_manifest_type_is_of_exactly_one_kind():
    for media_type in MANIFEST_MEDIA_TYPES:
        assert [is_index(media_type), is_image(media_type), is_schema1(media_type)].count(True) == 1


def test_indexes_are_preferred_to_images_and_both_to_schema_1():
    kinds = [(is_index(name), is_image(name)) for name in MANIFEST_MEDIA_TYPES]
    assert kinds == sorted(kinds, reverse=True)


@pytest.mark.parametrize("media_type", ["", "application/json", "application/vnd.oci.image.config.v1+json"])
def test_other_types_are_of_no_kind(media_type):
    assert [is_index(media_type), is_image(media_type), is_schema1(media_type)] == [False] * 3


@pytest.mark.parametrize(
    ("media_type", "answer"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", True),
        ("application/vnd.oci.image.layer.v1.tar+gzip", False),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", False),
        ("", False),
    ],
)
def test_nondistributable_layers(media_type, answer):
    assert is_nondistributable(media_type) is answer


@pytest.mark.parametrize(
    ("header", "media_type"),
    [
        (None, ""),
        ("", ""),
        (";", ""),
        ("application/json", "application/json"),
        (" Application/JSON ; charset=utf-8", "application/json"),
    ],
)
def test_the_media_type_of_a_header(header, media_type):
    assert media_type_of(header) == media_type
