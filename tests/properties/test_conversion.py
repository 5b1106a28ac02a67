"""Conversion loses nothing: there and back are the same bytes, or there is a sentence about what stands against it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from image_syncer.oci import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    ManifestFormat,
    ManifestKind,
    NotConvertible,
    convert,
    digest_of,
    parse_manifest,
)
from properties.test_manifests import ANY_JSON, HEADERS, IMAGES, INDENTS, UNKNOWN, check, check_sentence

OCI, DOCKER = ManifestFormat.OCI, ManifestFormat.DOCKER
DIGESTS = st.builds(digest_of, st.binary(max_size=2), st.sampled_from(["sha256", "sha512"])).map(str)
NAMES = st.text("xyz-", min_size=1, max_size=4).map(lambda name: f"x-{name}")


def descriptors(*media_types: str) -> st.SearchStrategy[dict[str, object]]:
    known = {"mediaType": st.sampled_from(media_types), "digest": DIGESTS, "size": st.integers(0, 2**63 - 1)}
    return st.builds(lambda fields, more: {**more, **fields}, st.fixed_dictionaries(known), UNKNOWNS)


UNKNOWNS = st.dictionaries(NAMES, UNKNOWN | st.integers(-(2**90), 2**90), max_size=3)
DOCKER_IMAGES = st.builds(
    lambda fields, more: {**fields, **more},
    st.fixed_dictionaries(
        {
            "schemaVersion": st.just(2),
            "mediaType": st.just(DOCKER_MANIFEST),
            "config": descriptors(DOCKER_CONFIG),
            "layers": st.lists(descriptors(DOCKER_LAYER, DOCKER_FOREIGN_LAYER), max_size=4),
        }
    ),
    UNKNOWNS,
)


@given(DOCKER_IMAGES, INDENTS, st.randoms())
@settings(deadline=None)
def test_there_and_back(document, indent, random):
    fields = list(document.items())
    random.shuffle(fields)
    manifest = parse_manifest(json.dumps(dict(fields), indent=indent).encode(), None)
    there = convert(manifest, OCI)
    assert convert(there, OCI) is there
    assert json.loads(there.raw).keys() == document.keys()
    assert list(json.loads(there.raw)) == [name for name, _ in fields]
    assert b"vnd.docker" not in there.raw
    back = convert(there, DOCKER)
    assert json.loads(back.raw) == document
    assert convert(back, OCI).raw == there.raw
    assert convert(convert(back, OCI), DOCKER).raw == back.raw
    assert [blob.digest for blob in there.named_blobs] == [blob.digest for blob in manifest.named_blobs]


@given(IMAGES | ANY_JSON, HEADERS, st.sampled_from([OCI, DOCKER]))
@settings(deadline=None)
def test_whatever_is_an_image(document, header, wanted):
    manifest = check(json.dumps(document).encode("utf-8", "surrogatepass"), header)
    if manifest is None or manifest.kind is ManifestKind.INDEX:
        return
    try:
        there = convert(manifest, wanted)
    except NotConvertible as error:
        check_sentence(str(error))
        return
    if there is not manifest:
        assert there.digest == digest_of(there.raw, manifest.digest.algorithm)
        assert parse_manifest(there.raw, None) == there
        assert convert(there, wanted) is there
