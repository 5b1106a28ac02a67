"""Whatever bytes a registry sends: a manifest with those bytes, or a sentence about what is wrong with them."""

from __future__ import annotations

import base64
import json
from typing import Any

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from image_syncer.oci import (
    MANIFEST_MEDIA_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    InvalidManifest,
    Manifest,
    ManifestKind,
    digest_of,
    parse_manifest,
)

HEADERS = st.none() | st.sampled_from((*MANIFEST_MEDIA_TYPES, "application/json", "text/html; charset=utf-8", ";"))
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([*MANIFEST_MEDIA_TYPES, str(digest_of(b"a")), str(digest_of(b"b", "sha512")), "e30=", 1, 2])
)
FIELDS = st.sampled_from(
    [
        "schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers", "signatures", "blobs", "subject",
        "artifactType", "annotations", "digest", "size", "platform", "os", "architecture", "os.features", "urls",
        "data", "blobSum", "protected", "Layers", "x",
    ]
)  # fmt: skip
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS | st.text(max_size=3), inner, max_size=5),
    max_leaves=25,
)
UNKNOWN = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=5,
)
DESCRIPTORS = st.fixed_dictionaries(
    {
        "mediaType": st.text(max_size=10) | st.sampled_from(MANIFEST_MEDIA_TYPES),
        "digest": st.builds(digest_of, st.binary(max_size=2), st.sampled_from(["sha256", "sha512"])).map(str),
        "size": st.integers(0, 2**63 - 1),
    },
    optional={
        "annotations": st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
        "platform": st.fixed_dictionaries({"os": st.text(max_size=4), "architecture": st.text(max_size=4)}),
        "urls": st.lists(st.text(max_size=5), max_size=2),
        "x-unknown": UNKNOWN,
    },
)
IMAGES = st.fixed_dictionaries(
    {"schemaVersion": st.just(2), "config": DESCRIPTORS, "layers": st.lists(DESCRIPTORS, max_size=4)},
    optional={"subject": DESCRIPTORS, "artifactType": st.text(max_size=5), "mediaType": st.just(OCI_MANIFEST)},
)
INDEXES = st.fixed_dictionaries(
    {"schemaVersion": st.just(2), "manifests": st.lists(DESCRIPTORS, max_size=4)},
    optional={"subject": DESCRIPTORS, "artifactType": st.text(max_size=5), "mediaType": st.just(OCI_INDEX)},
)
FS_LAYERS = st.binary(max_size=1).map(lambda data: {"blobSum": str(digest_of(data))})
SCHEMA1 = st.fixed_dictionaries(
    {
        "schemaVersion": st.just(1),
        "name": st.text(max_size=5),
        "fsLayers": st.lists(
            st.builds(lambda data: {"blobSum": str(digest_of(data))}, st.binary(max_size=1)), max_size=5
        ),
    }
)
INDENTS = st.none() | st.integers(0, 4)


def check_sentence(text: str) -> None:
    assert text
    assert text.isprintable()
    assert len(text) < 500


def check(raw: bytes, header: str | None) -> Manifest | None:
    """The manifest in `raw`, held to what is true of every manifest; None where it was refused properly."""
    try:
        manifest = parse_manifest(raw, header)
    except InvalidManifest as error:
        check_sentence(str(error))
        return None
    assert manifest.raw == raw
    assert manifest.media_type in MANIFEST_MEDIA_TYPES
    blobs = [blob.digest for blob in manifest.blobs]
    assert len(set(blobs)) == len(blobs)
    named = {layer.digest for layer in manifest.layers} | ({manifest.config.digest} if manifest.config else set())
    assert set(blobs) <= named
    if manifest.kind is ManifestKind.INDEX:
        assert not named
    else:
        assert not manifest.children
    if b"signatures" not in raw:
        assert manifest.digest == digest_of(raw)
    # Sent on with the type that was found, it is the same manifest.
    assert parse_manifest(raw, manifest.media_type) == manifest
    return manifest


@given(st.binary(max_size=200), HEADERS)
@example(b"\x00", None)
@example(b"{" * 5000, None)
def test_any_bytes(raw, header):
    check(raw, header)


@given(ANY_JSON, HEADERS, INDENTS)
@settings(deadline=None)
def test_any_json(value, header, indent):
    check(json.dumps(value, indent=indent).encode("utf-8", "surrogatepass"), header)


@given(IMAGES | INDEXES | SCHEMA1, st.data(), HEADERS)
@settings(deadline=None)
def test_a_manifest_with_anything_in_the_place_of_one_value(document, data, header):
    spot: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(spot)) if isinstance(spot, dict) else st.integers(0, len(spot) - 1))
        if not isinstance(spot[key], (dict, list)) or not spot[key] or data.draw(st.booleans()):
            break
        spot = spot[key]
    spot[key] = data.draw(ANY_JSON)
    check(json.dumps(document).encode("utf-8", "surrogatepass"), header)


@given(IMAGES | INDEXES | SCHEMA1, st.data(), HEADERS)
@settings(deadline=None)
def test_a_manifest_that_was_cut_short_is_refused(document, data, header):
    raw = json.dumps(document).encode()
    assert check(raw[: data.draw(st.integers(0, len(raw) - 1))], header) is None


@given(IMAGES, INDENTS)
@settings(deadline=None)
def test_images_are_read_in_full(document, indent):
    manifest = check(json.dumps(document, indent=indent).encode(), None)
    assert manifest is not None
    assert manifest.kind is ManifestKind.IMAGE
    assert manifest.config is not None
    read = [manifest.config, *manifest.layers]
    written = [document["config"], *document["layers"]]
    assert [(one.digest, one.size, one.media_type) for one in read] == [
        (one["digest"], one["size"], one["mediaType"]) for one in written
    ]
    assert (manifest.subject.digest if manifest.subject else None) == document.get("subject", {}).get("digest")


@given(INDEXES, INDENTS)
@settings(deadline=None)
def test_indexes_are_read_in_full(document, indent):
    manifest = check(json.dumps(document, indent=indent).encode(), None)
    assert manifest is not None
    assert manifest.kind is ManifestKind.INDEX
    assert [child.digest for child in manifest.children] == [entry["digest"] for entry in document["manifests"]]


@given(SCHEMA1, st.integers(1, 4), st.integers(1, 2))
@settings(deadline=None)
def test_the_digest_of_schema_1_does_not_see_its_signatures(document, indent, count):
    payload = json.dumps(document, indent=indent).encode()
    header = {"formatLength": len(payload) - 2, "formatTail": "Cn0"}
    protected = base64.urlsafe_b64encode(orjson.dumps(header)).decode().rstrip("=")
    signatures = orjson.dumps([{"signature": str(number), "protected": protected} for number in range(count)])
    manifest = check(payload[:-2] + b',"signatures":' + signatures + b"\n}", None)
    assert manifest is not None
    assert manifest.digest == digest_of(payload)
    unsigned = check(payload, None)
    assert unsigned is not None
    assert unsigned.digest == manifest.digest
    assert unsigned.layers == manifest.layers
