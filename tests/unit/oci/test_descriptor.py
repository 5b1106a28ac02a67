from __future__ import annotations

import base64
import pickle

import pytest

from image_syncer.oci import (
    OCI_EMPTY,
    OCI_LAYER_GZIP,
    Descriptor,
    InvalidManifest,
    Platform,
    digest_of,
    parse_descriptor,
)
from support.digests import EMPTY_DIGEST

PLAIN = {"mediaType": OCI_LAYER_GZIP, "digest": str(EMPTY_DIGEST), "size": 0}


def test_a_plain_descriptor():
    assert parse_descriptor(PLAIN, "layers[0]") == Descriptor(OCI_LAYER_GZIP, EMPTY_DIGEST, 0)


def test_everything_a_descriptor_can_say():
    value = {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "digest": "sha512:" + 128 * "0",
        "size": 2**63 - 1,
        "platform": {
            "architecture": "amd64",
            "os": "windows",
            "variant": "v2",
            "os.version": "10.0.17763.1",
            "os.features": ["win32k"],
            "features": ["sse4"],
        },
        "annotations": {"a": "b"},
        "urls": ["https://example.com/layer"],
        "artifactType": "application/vnd.example",
        "unknown": [{"field": None}],
    }
    descriptor = parse_descriptor(value, "manifests[0]")
    assert descriptor.digest.algorithm == "sha512"
    assert descriptor.size == 2**63 - 1
    assert descriptor.platform == Platform("windows", "amd64", "v2", "10.0.17763.1", ("win32k",))
    assert descriptor.annotations == {"a": "b"}
    assert descriptor.urls == ("https://example.com/layer",)
    assert descriptor.artifact_type == "application/vnd.example"
    assert descriptor.data is None


def test_the_empty_descriptor_embeds_its_content():
    value = {"mediaType": OCI_EMPTY, "digest": str(digest_of(b"{}")), "size": 2, "data": "e30="}
    assert parse_descriptor(value, "config").data == b"{}"


def test_null_is_as_good_as_nothing():
    nulls = dict.fromkeys(("platform", "annotations", "urls", "artifactType", "data", "mediaType"))
    assert parse_descriptor(PLAIN | nulls, "x") == Descriptor("", EMPTY_DIGEST, 0)


def test_a_platform_that_says_nothing_is_none():
    assert parse_descriptor(PLAIN | {"platform": {}}, "x").platform is None
    assert parse_descriptor(PLAIN | {"platform": {"os": "", "variant": "v8"}}, "x").platform is None


def test_descriptors_can_be_kept_in_sets_and_sent_between_processes():
    one = parse_descriptor(PLAIN | {"annotations": {"a": "b"}}, "x")
    assert len({one, parse_descriptor(PLAIN | {"annotations": {"a": "b"}}, "x")}) == 1
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": None}, "layers[3].digest is missing"),
        ({"digest": 5}, "layers[3].digest must be text, not 5"),
        ({"digest": "sha256:xyz"}, "layers[3].digest: 'sha256:xyz' is not a digest"),
        ({"size": None}, "layers[3].size must be a whole number of bytes, not null"),
        ({"size": -1}, "layers[3].size must be a whole number of bytes, not -1"),
        ({"size": 1.5}, "layers[3].size must be a whole number of bytes, not 1.5"),
        ({"size": 1.0}, "layers[3].size must be a whole number of bytes, not 1.0"),
        ({"size": True}, "layers[3].size must be a whole number of bytes, not true"),
        ({"size": "12"}, "layers[3].size must be a whole number of bytes, not '12'"),
        ({"size": 2**63}, "layers[3].size must be a whole number of bytes, not 9223372036854775808"),
        ({"size": [1]}, "layers[3].size must be a whole number of bytes, not a list"),
        ({"mediaType": 7}, "layers[3].mediaType must be text, not 7"),
        ({"urls": "https://x"}, "layers[3].urls must be a list, not 'https://x'"),
        ({"urls": [None]}, "layers[3].urls[0] must be text, not null"),
        ({"annotations": []}, "layers[3].annotations must be an object, not a list"),
        ({"annotations": {"a": 1}}, "layers[3].annotations: 'a' must be text, not 1"),
        ({"platform": "linux"}, "layers[3].platform must be an object, not 'linux'"),
        ({"platform": {"os": 1}}, "layers[3].platform.os must be text, not 1"),
        ({"platform": {"os.version": {}}}, "layers[3].platform.os.version must be text, not an object"),
        ({"platform": {"os.features": [1]}}, "layers[3].platform.os.features[0] must be text, not 1"),
        ({"artifactType": False}, "layers[3].artifactType must be text, not false"),
        ({"data": "not base64!"}, "layers[3].data must be base64"),
        ({"data": "é"}, "layers[3].data must be base64"),
        ({"data": "!!!!"}, "layers[3].data must be base64"),
        ({"data": base64.b64encode(b"x").decode()}, "layers[3].data is not what the digest"),
    ],
)
def test_a_bad_descriptor_is_refused_with_its_place(change, message):
    with pytest.raises(InvalidManifest) as caught:
        parse_descriptor(PLAIN | change, "layers[3]")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [None, [], "text", 5, True])
def test_a_descriptor_is_an_object(value):
    with pytest.raises(InvalidManifest, match="config must be an object, not"):
        parse_descriptor(value, "config")


def test_data_of_the_right_size_but_of_another_digest_is_refused():
    with pytest.raises(InvalidManifest, match="data is not what the digest"):
        parse_descriptor({"digest": str(digest_of(b"ab")), "size": 2, "data": "e30="}, "config")
