from __future__ import annotations

import base64
import json
import pickle
from typing import Any

import orjson
import pytest

from image_syncer.oci import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1_SIGNED,
    MAX_DEPTH,
    MAX_MANIFEST_BYTES,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    InvalidManifest,
    ManifestKind,
    Platform,
    digest_of,
    parse_manifest,
)
from image_syncer.oci.descriptor import DOCKER_SCHEMA1, OCI_ARTIFACT_MANIFEST
from image_syncer.oci.document import MAX_ENTRIES


def described(content: bytes, media_type: str, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(digest_of(content)), "size": len(content), **more}


CONFIG = described(b"config", OCI_CONFIG)
LAYERS = [described(b"layer 1", OCI_LAYER_GZIP), described(b"layer 2", OCI_LAYER_GZIP)]
IMAGE: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": LAYERS}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [
        described(b"amd64", OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        described(b"arm64", OCI_MANIFEST, platform={"os": "linux", "architecture": "arm64", "variant": "v8"}),
    ],
}
SCHEMA1: dict[str, Any] = {
    "schemaVersion": 1,
    "name": "library/app",
    "tag": "1",
    "architecture": "amd64",
    "fsLayers": [{"blobSum": str(digest_of(content))} for content in (b"top", b"empty", b"empty", b"bottom")],
    "history": [{"v1Compatibility": "{}"}] * 4,
}


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def dump(document: object) -> bytes:
    return orjson.dumps(document)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def protected(length: object, tail: bytes) -> str:
    header = {"formatLength": length, "formatTail": base64url(tail), "time": "2016-01-01T00:00:00Z"}
    return base64url(dump(header))


def sign(payload: bytes, *headers: str) -> bytes:
    """The payload with signatures as Docker put them in: just before its last brace."""
    assert payload.endswith(b"\n}")
    header = headers or (protected(len(payload) - 2, b"\n}"),)
    signatures = [{"header": {"alg": "ES256"}, "signature": "AAAA", "protected": text} for text in header]
    return payload[:-2] + b',\n   "signatures": ' + json.dumps(signatures, indent=3).encode() + b"\n}"


PAYLOAD = json.dumps(SCHEMA1, indent=3).encode()


def test_an_oci_image():
    raw = dump(IMAGE)
    manifest = parse_manifest(raw, OCI_MANIFEST)
    assert (manifest.kind, manifest.media_type) == (ManifestKind.IMAGE, OCI_MANIFEST)
    assert manifest.raw == raw
    assert manifest.digest == digest_of(raw)
    assert manifest.config is not None
    assert manifest.config.digest == digest_of(b"config")
    assert [layer.size for layer in manifest.layers] == [7, 7]
    assert [blob.digest for blob in manifest.blobs] == [
        digest_of(content) for content in (b"config", b"layer 1", b"layer 2")
    ]
    assert (manifest.children, manifest.subject, manifest.artifact_type) == ((), None, None)


def test_a_docker_image():
    layers = [described(b"layer", DOCKER_LAYER)]
    document = IMAGE | {"mediaType": DOCKER_MANIFEST, "config": described(b"c", DOCKER_CONFIG), "layers": layers}
    manifest = parse_manifest(dump(document), DOCKER_MANIFEST)
    assert (manifest.kind, manifest.media_type) == (ManifestKind.IMAGE, DOCKER_MANIFEST)
    assert [layer.media_type for layer in manifest.layers] == [DOCKER_LAYER]


@pytest.mark.parametrize("media_type", [OCI_INDEX, DOCKER_MANIFEST_LIST])
def test_indexes_and_manifest_lists(media_type):
    manifest = parse_manifest(dump(INDEX | {"mediaType": media_type}), media_type)
    assert (manifest.kind, manifest.media_type) == (ManifestKind.INDEX, media_type)
    assert [child.platform for child in manifest.children] == [
        Platform("linux", "amd64"),
        Platform("linux", "arm64", "v8"),
    ]
    assert manifest.blobs == ()


def test_an_index_of_indexes_attestations_and_other_things():
    attestation = {"vnd.docker.reference.type": "attestation-manifest"}
    unknown = {"os": "unknown", "architecture": "unknown"}
    entries = [
        described(b"index", OCI_INDEX),
        described(b"attestation", OCI_MANIFEST, annotations=attestation, platform=unknown),
        described(b"chart", "application/vnd.example", artifactType="application/vnd.chart"),
    ]
    children = parse_manifest(dump(INDEX | {"manifests": entries}), OCI_INDEX).children
    assert [child.media_type for child in children] == [OCI_INDEX, OCI_MANIFEST, "application/vnd.example"]
    assert [child.platform for child in children] == [None, Platform("unknown", "unknown"), None]
    assert children[1].annotations == attestation
    assert children[2].artifact_type == "application/vnd.chart"


def test_an_artifact_of_any_types_with_a_subject_and_the_empty_descriptor():
    empty = described(b"{}", OCI_EMPTY, data="e30=")
    document = IMAGE | {
        "artifactType": "application/vnd.example.sbom",
        "config": empty,
        "layers": [described(b"sbom", "text/spdx"), empty],
        "subject": described(b"image", OCI_MANIFEST),
        "annotations": {"created": "today"},
        "unknown": {"deep": [1, None]},
    }
    manifest = parse_manifest(dump(document), OCI_MANIFEST)
    assert manifest.artifact_type == "application/vnd.example.sbom"
    assert manifest.subject is not None
    assert manifest.subject.digest == digest_of(b"image")
    assert [blob.media_type for blob in manifest.blobs] == [OCI_EMPTY, "text/spdx"]


def test_an_artifact_manifest_of_the_release_candidates():
    document = {
        "mediaType": OCI_ARTIFACT_MANIFEST,
        "artifactType": "application/vnd.cncf.notary.signature",
        "blobs": [described(b"signature", "application/jose+json")],
        "subject": described(b"image", OCI_MANIFEST),
    }
    manifest = parse_manifest(dump(document), OCI_ARTIFACT_MANIFEST)
    assert (manifest.kind, manifest.media_type) == (ManifestKind.IMAGE, OCI_ARTIFACT_MANIFEST)
    assert [blob.digest for blob in manifest.blobs] == [digest_of(b"signature")]
    assert parse_manifest(dump(without(document, "blobs")), None).blobs == ()


def test_an_artifact_manifest_cannot_hide_layers():
    with pytest.raises(InvalidManifest, match="but has the fields of an image"):
        parse_manifest(dump(IMAGE | {"mediaType": OCI_ARTIFACT_MANIFEST}), None)
    silent = parse_manifest(dump(without(IMAGE, "mediaType")), OCI_ARTIFACT_MANIFEST)
    assert silent.media_type == OCI_MANIFEST
    assert len(silent.blobs) == 3


def test_each_blob_is_named_once():
    document = IMAGE | {"layers": [*LAYERS, LAYERS[0] | {"annotations": {"a": "b"}}, CONFIG]}
    manifest = parse_manifest(dump(document), OCI_MANIFEST)
    assert len(manifest.layers) == 4
    assert len(manifest.blobs) == 3


@pytest.mark.parametrize(
    "media_type", [DOCKER_FOREIGN_LAYER, "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"]
)
def test_a_layer_that_comes_from_elsewhere_is_not_moved(media_type):
    foreign = described(b"windows", media_type, urls=["https://mcr.microsoft.com/layer"])
    homeless = described(b"nowhere", media_type)
    linked = described(b"linked", OCI_LAYER_GZIP, urls=["https://example.com/layer"])
    manifest = parse_manifest(dump(IMAGE | {"layers": [foreign, homeless, linked]}), OCI_MANIFEST)
    assert len(manifest.layers) == 3
    assert [blob.digest for blob in manifest.blobs] == [
        digest_of(content) for content in (b"config", b"nowhere", b"linked")
    ]


def test_bytes_are_kept_as_they_came():
    raw = b"\n " + json.dumps(IMAGE, indent=3).replace("/", "\\/").encode() + b"\n\n"
    manifest = parse_manifest(raw, OCI_MANIFEST)
    assert manifest.raw == raw
    assert manifest.digest == digest_of(raw)
    assert manifest.layers == parse_manifest(dump(IMAGE), None).layers


def test_the_digest_may_be_a_sha512():
    raw = dump(IMAGE)
    assert parse_manifest(raw, OCI_MANIFEST, algorithm="sha512").digest == digest_of(raw, "sha512")


@pytest.mark.parametrize(
    "header", [None, "", "application/json", "text/plain; charset=utf-8", OCI_INDEX, DOCKER_SCHEMA1]
)
def test_what_a_document_says_of_itself_goes_before_the_header(header):
    assert parse_manifest(dump(IMAGE | {"mediaType": DOCKER_MANIFEST}), header).media_type == DOCKER_MANIFEST
    assert parse_manifest(dump(IMAGE), header).media_type == OCI_MANIFEST


@pytest.mark.parametrize(
    ("document", "header", "media_type"),
    [
        (IMAGE, DOCKER_MANIFEST, DOCKER_MANIFEST),
        (IMAGE, "Application/vnd.docker.distribution.manifest.v2+JSON; charset=utf-8", DOCKER_MANIFEST),
        (IMAGE, OCI_INDEX, OCI_MANIFEST),
        (IMAGE, DOCKER_SCHEMA1_SIGNED, OCI_MANIFEST),
        (IMAGE, None, OCI_MANIFEST),
        (INDEX, None, OCI_INDEX),
        (INDEX, DOCKER_MANIFEST_LIST, DOCKER_MANIFEST_LIST),
        (INDEX, DOCKER_MANIFEST, OCI_INDEX),
        (INDEX, "application/json", OCI_INDEX),
        (SCHEMA1, None, DOCKER_SCHEMA1),
        (SCHEMA1, DOCKER_SCHEMA1_SIGNED, DOCKER_SCHEMA1),
        (SCHEMA1, OCI_MANIFEST, DOCKER_SCHEMA1),
    ],
)
def test_a_silent_document_is_what_the_header_says_where_its_fields_allow(document, header, media_type):
    assert parse_manifest(dump(without(document, "mediaType")), header).media_type == media_type


def test_a_media_type_that_is_none_of_a_manifest_is_passed_over():
    document = IMAGE | {"mediaType": OCI_CONFIG}
    assert parse_manifest(dump(document), None).media_type == OCI_MANIFEST
    assert parse_manifest(dump(document), DOCKER_MANIFEST).media_type == DOCKER_MANIFEST


def test_the_schema_version_may_be_missing():
    assert parse_manifest(dump(without(IMAGE, "schemaVersion")), None).kind is ManifestKind.IMAGE


def test_empty_lists_may_be_null():
    assert parse_manifest(dump(IMAGE | {"layers": None}), None).layers == ()
    assert parse_manifest(dump(INDEX | {"manifests": None}), None).children == ()
    assert parse_manifest(dump(INDEX | {"manifests": []}), None).children == ()


def test_schema_1_without_a_signature():
    raw = dump(SCHEMA1)
    manifest = parse_manifest(raw, DOCKER_SCHEMA1)
    assert (manifest.kind, manifest.media_type) == (ManifestKind.SCHEMA1, DOCKER_SCHEMA1)
    assert manifest.digest == digest_of(raw)
    assert len(manifest.layers) == 4
    assert [blob.digest for blob in manifest.blobs] == [digest_of(text) for text in (b"top", b"empty", b"bottom")]
    assert {blob.size for blob in manifest.blobs} == {-1}
    assert manifest.config is None


@pytest.mark.parametrize("header", [None, "application/json", DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED])
def test_the_digest_of_signed_schema_1_is_that_of_what_was_signed(header):
    raw = sign(PAYLOAD)
    manifest = parse_manifest(raw, header)
    assert manifest.raw == raw
    assert (manifest.kind, manifest.media_type) == (ManifestKind.SCHEMA1, DOCKER_SCHEMA1_SIGNED)
    assert manifest.digest == digest_of(PAYLOAD)
    assert len(manifest.blobs) == 3


def test_two_signatures_of_the_same_bytes():
    one = protected(len(PAYLOAD) - 2, b"\n}")
    assert parse_manifest(sign(PAYLOAD, one, one), None).digest == digest_of(PAYLOAD)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "!!!",
        base64url(b"not JSON"),
        base64url(b"[]"),
        base64url(b"{}"),
        base64url(b'{"formatLength":5,"formatTail":7}'),
        base64url(b'{"formatLength":"5","formatTail":"Cn0"}'),
        protected(-1, b"\n}"),
        protected(True, b"\n}"),
        protected(2.5, b"\n}"),
    ],
)
def test_a_signature_must_say_what_it_covers(header):
    with pytest.raises(InvalidManifest, match="does not say which bytes were signed"):
        parse_manifest(sign(PAYLOAD, header), None)


@pytest.mark.parametrize("signature", [None, "x", {}, {"protected": 5}])
def test_a_signature_must_have_a_protected_header(signature):
    with pytest.raises(InvalidManifest, match=r"signatures\[0\]"):
        parse_manifest(dump(SCHEMA1 | {"signatures": [signature]}), None)


def test_signatures_must_cover_the_document_and_all_of_them_the_same():
    other = PAYLOAD.replace(b"library/app", b"library/ape")
    with pytest.raises(InvalidManifest, match="cover something else"):
        parse_manifest(sign(PAYLOAD, protected(0, other)), None)
    with pytest.raises(InvalidManifest, match="not JSON"):
        parse_manifest(sign(PAYLOAD, protected(10, b"\n}")), None)
    with pytest.raises(InvalidManifest, match="different bytes"):
        parse_manifest(sign(PAYLOAD, protected(len(PAYLOAD) - 2, b"\n}"), protected(0, other)), None)


def test_many_signatures_that_claim_different_bytes_cost_little():
    headers = [protected(length, b"") for length in range(5000)]
    with pytest.raises(InvalidManifest, match="different bytes"):
        parse_manifest(sign(PAYLOAD, *headers), None)


def fails(raw: bytes, message: str, header: str | None = None) -> None:
    with pytest.raises(InvalidManifest, match=message) as caught:
        parse_manifest(raw, header)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is not JSON"),
        (b"<html><body>502 Bad Gateway</body></html>", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
        (b'{"mediaType":"\xc3"}', "is not JSON"),
        (b'{"mediaType":"\\ud800"}', "is not JSON"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
        (b'{"schemaVersion":NaN}', "is not JSON"),
        (b'{"schemaVersion":1e999}', "is not JSON"),
        (dump(IMAGE) + b"{}", "is not JSON"),
        (dump(IMAGE)[:-1], "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "is not JSON"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "nests deeper than 32"),
        (b"[]", "is not a JSON object but a list"),
        (b"null", "is not a JSON object but null"),
        (b'"text"', "is not a JSON object but 'text'"),
        (b"12", "is not a JSON object but 12"),
        (b"{}", "none of the fields"),
        (b'{"errors":[{"code":"UNKNOWN"}]}', "none of the fields"),
        (b'{"manifests":null}', "none of the fields"),
    ],
)
def test_what_is_no_manifest(raw, message):
    fails(raw, message)


def test_nesting_is_bounded_where_it_says():
    def nested(levels: int) -> bytes:
        return b'{"x":' * (levels - 1) + b"{}" + b"}" * (levels - 1)

    fails(nested(MAX_DEPTH), "none of the fields")
    fails(nested(MAX_DEPTH + 1), "nests deeper")


def test_size_is_bounded():
    raw = dump(IMAGE)
    assert parse_manifest(raw.ljust(MAX_MANIFEST_BYTES), None).kind is ManifestKind.IMAGE
    fails(raw.ljust(MAX_MANIFEST_BYTES + 1), "more than the 4194304 that are read")


def test_the_number_of_entries_is_bounded():
    fails(dump(IMAGE | {"layers": [0] * (MAX_ENTRIES + 1)}), "layers has 10001 entries")
    fails(dump(INDEX | {"manifests": [0] * (MAX_ENTRIES + 1)}), "manifests has 10001 entries")
    fails(dump(SCHEMA1 | {"fsLayers": [0] * (MAX_ENTRIES + 1)}), "fsLayers has 10001 entries")


@pytest.mark.parametrize(
    "raw",
    [
        dump(IMAGE)[:-1] + b',"layers":[]}',
        dump(IMAGE)[:-1] + b',"Layers":[]}',
        dump(IMAGE)[:-1] + ',"layerſ":[]}'.encode(),
        dump(IMAGE)[:-1] + b',"layer\\u0073":[]}',
        dump(IMAGE).replace(b'"size":6', b'"size":6,"Size":7'),
        dump(IMAGE)[:-1] + b',"annotations":{"a":"1","a":"2"}}',
        dump(INDEX).replace(b'"os":"linux"', b'"os":"linux","os":"windows"', 1),
    ],
)
def test_a_name_must_not_stand_twice(raw):
    fails(raw, "twice in one object")


def test_names_of_annotations_may_differ_in_case_only():
    document = IMAGE | {"annotations": {"Maintainer": "a", "maintainer": "b", "Size": "large"}}
    assert parse_manifest(dump(document), None).kind is ManifestKind.IMAGE


def test_numbers_of_any_length_in_unknown_fields():
    raw = dump(IMAGE)[:-1] + b',"unknown":[123456789012345678901234567890,1e300,-0.0]}'
    assert parse_manifest(raw, None).raw == raw
    fails(dump(IMAGE)[:-1] + b',"unknown":' + b"1" * 5000 + b"}", "not JSON")
    small = b"0." + b"1" * 5000
    assert parse_manifest(dump(IMAGE)[:-1] + b',"unknown":' + small + b"}", None).kind is ManifestKind.IMAGE


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (IMAGE | {"manifests": []}, "fields of an image and of an index"),
        (INDEX | {"layers": []}, "fields of an image and of an index"),
        (INDEX | {"config": {}}, "fields of an image and of an index"),
        (IMAGE | {"fsLayers": []}, "fields of an image and of a schema 1 image"),
        (IMAGE | {"mediaType": OCI_INDEX}, "but has the fields of an image"),
        (INDEX | {"mediaType": DOCKER_MANIFEST}, "but has the fields of an index"),
        (SCHEMA1 | {"mediaType": OCI_MANIFEST}, "but has the fields of a schema 1 image"),
        (IMAGE | {"mediaType": 5}, "mediaType must be text, not 5"),
        (IMAGE | {"schemaVersion": 1}, "schemaVersion must be 2 here, not 1"),
        (IMAGE | {"schemaVersion": 2.0}, "schemaVersion must be 2 here, not 2.0"),
        (IMAGE | {"schemaVersion": "2"}, "schemaVersion must be 2 here, not '2'"),
        (IMAGE | {"schemaVersion": {}}, "schemaVersion must be 2 here, not an object"),
        (SCHEMA1 | {"schemaVersion": True}, "schemaVersion must be 1 here, not true"),
        (SCHEMA1 | {"schemaVersion": 2}, "schemaVersion must be 1 here, not 2"),
        (without(IMAGE, "config"), "config must be an object, not null"),
        (without(IMAGE, "layers"), "layers is missing"),
        (IMAGE | {"config": None}, "config must be an object, not null"),
        (IMAGE | {"layers": {}}, "layers must be a list, not an object"),
        (IMAGE | {"layers": [*LAYERS, None]}, r"layers\[2\] must be an object, not null"),
        (IMAGE | {"layers": [{}]}, r"layers\[0\].digest is missing"),
        (IMAGE | {"config": CONFIG | {"size": -1}}, "config.size must be a whole number of bytes, not -1"),
        (IMAGE | {"subject": []}, "subject must be an object, not a list"),
        (IMAGE | {"artifactType": {}}, "artifactType must be text, not an object"),
        (INDEX | {"manifests": "x"}, "manifests must be a list, not 'x'"),
        (INDEX | {"manifests": [{"digest": "\x1b[2J" * 1000}]}, r"manifests\[0\].digest: '\\x1b\[2J.*… is not"),
        (SCHEMA1 | {"fsLayers": [{}]}, r"fsLayers\[0\].blobSum is missing"),
        (SCHEMA1 | {"fsLayers": ["sha256:x"]}, r"fsLayers\[0\] must be an object, not 'sha256:x'"),
        (SCHEMA1 | {"fsLayers": 5}, "fsLayers must be a list, not 5"),
        (SCHEMA1 | {"signatures": "x"}, "signatures must be a list, not 'x'"),
    ],
)
def test_manifests_that_cannot_be_used(document, message):
    fails(dump(document), message.replace("… is not", "…' is not"))


@pytest.mark.parametrize(
    ("header", "name"), [(OCI_INDEX, "manifests"), (OCI_MANIFEST, "config"), (DOCKER_SCHEMA1, "fsLayers")]
)
def test_a_document_without_the_fields_of_its_kind(header, name):
    fails(b"{}", f"{name} (is missing|must be an object)", header)
    fails(dump({name.upper(): []}), f"{name} (is missing|must be an object)", header)


def test_manifests_can_be_kept_in_sets_and_sent_between_processes():
    manifest = parse_manifest(dump(INDEX), None)
    assert len({manifest, parse_manifest(dump(INDEX), None)}) == 1
    assert pickle.loads(pickle.dumps(manifest)) == manifest


def test_a_manifest_does_not_show_its_bytes():
    assert "schemaVersion" not in repr(parse_manifest(dump(IMAGE), None))
