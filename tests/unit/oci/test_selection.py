from __future__ import annotations

import base64
import json
from typing import Any

import orjson
import pytest

from image_syncer.oci import (
    DOCKER_MANIFEST_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    Manifest,
    PlatformFilter,
    digest_of,
    parse_manifest,
    parse_platform,
    select_platforms,
)


def entry(content: bytes, platform: str | None = None, **more: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "mediaType": OCI_MANIFEST,
        "digest": str(digest_of(content)),
        "size": len(content),
        **more,
    }
    if platform is not None:
        os, architecture, *variant = platform.split("/")
        described["platform"] = {"architecture": architecture, "os": os, **({"variant": variant[0]} if variant else {})}
    return described


def attestation(content: bytes, of: bytes, platform: str | None = "unknown/unknown") -> dict[str, Any]:
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": str(digest_of(of)),
    }
    return entry(content, platform, annotations=annotations)


def index(*entries: dict[str, Any], **more: Any) -> Manifest:
    return parse_manifest(
        orjson.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **more}), None
    )


def wanted(*platforms: str) -> PlatformFilter:
    return PlatformFilter(platforms=tuple(map(parse_platform, platforms)))


def chosen(index: Manifest, wanted: PlatformFilter, **nested: Any) -> list[str]:
    selected = select_platforms(index, wanted, **nested)
    assert selected is not None
    return [child.digest for child in selected.children]


def digests(*contents: bytes) -> list[str]:
    return [digest_of(content) for content in contents]


AMD64, ARM64, ARMV7 = (entry(b"amd64", "linux/amd64"), entry(b"arm64", "linux/arm64/v8"), entry(b"v7", "linux/arm/v7"))


def test_the_wanted_platforms_stay_in_their_order():
    assert chosen(index(ARM64, AMD64, ARMV7), wanted("linux/arm/v7", "linux/arm64")) == digests(b"arm64", b"v7")


def test_an_index_of_which_all_is_wanted_stays_the_same_object():
    every = index(AMD64, ARM64)
    assert select_platforms(every, PlatformFilter()) is every
    assert select_platforms(every, wanted("linux/amd64", "linux/arm64")) is every
    assert select_platforms(every, PlatformFilter(os_names=("linux",))) is every
    nothing = index()
    assert select_platforms(nothing, wanted("linux/amd64")) is nothing


def test_nothing_that_is_wanted_is_no_index():
    assert select_platforms(index(AMD64, attestation(b"a", b"amd64")), wanted("linux/s390x")) is None


def test_an_image_is_not_chosen_from():
    image = parse_manifest(orjson.dumps({"config": entry(b"config"), "layers": []}), None)
    assert select_platforms(image, wanted("linux/s390x")) is image


def test_a_rewritten_index_says_everything_else_as_before():
    raw = (
        b'{\n  "annotations" : {"b": "\\u00e9", "a": "\\n"},\n  "manifests": %s,'
        b'\n  "x": {"z": 1, "y": [1.5, true, null]},\n  "big": 123456789012345678901234567890,'
        b'\n  "subject": %s,\n  "mediaType": "%s", "schemaVersion": 2\n}'
    ) % (
        json.dumps([AMD64, ARM64 | {"unknown": {"b": 1, "a": 2}}], indent=2).encode(),
        json.dumps(entry(b"subject")).encode(),
        DOCKER_MANIFEST_LIST.encode(),
    )
    selected = select_platforms(parse_manifest(raw, None), wanted("linux/arm64"))
    assert selected is not None
    expected = json.loads(raw)
    del expected["manifests"][0]
    assert selected.raw == json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()
    assert selected.digest == digest_of(selected.raw)
    assert selected.media_type == DOCKER_MANIFEST_LIST
    assert selected.subject is not None
    assert b"123456789012345678901234567890" in selected.raw
    assert "é".encode() in selected.raw


def test_the_type_that_only_the_header_said_is_kept():
    raw = orjson.dumps({"manifests": [AMD64, ARM64]})
    selected = select_platforms(parse_manifest(raw, DOCKER_MANIFEST_LIST), wanted("linux/arm64"))
    assert selected is not None
    assert selected.media_type == DOCKER_MANIFEST_LIST


def test_the_algorithm_of_the_digest_is_kept():
    raw = orjson.dumps({"manifests": [AMD64, ARM64]})
    selected = select_platforms(parse_manifest(raw, None, algorithm="sha512"), wanted("linux/arm64"))
    assert selected is not None
    assert selected.digest == digest_of(selected.raw, "sha512")


@pytest.mark.parametrize("platform", ["unknown/unknown", None, "linux/amd64"])
def test_attestations_go_where_their_image_goes(platform):
    every = index(
        AMD64, ARM64, attestation(b"of amd64", b"amd64", platform), attestation(b"of arm64", b"arm64", platform)
    )
    assert chosen(every, wanted("linux/arm64")) == digests(b"arm64", b"of arm64")
    assert chosen(every, wanted("linux/amd64")) == digests(b"amd64", b"of amd64")
    assert select_platforms(every, wanted("linux/amd64", "linux/arm64")) is every


def test_an_attestation_may_stand_before_its_image():
    assert chosen(index(attestation(b"a", b"arm64"), AMD64, ARM64), wanted("linux/arm64")) == digests(b"a", b"arm64")


def test_an_attestation_of_nothing_in_the_index_goes():
    loose = entry(b"loose", annotations={"vnd.docker.reference.type": "attestation-manifest"})
    assert chosen(index(AMD64, loose, attestation(b"a", b"gone")), wanted("linux/amd64")) == digests(b"amd64")


def test_entries_without_a_platform_stay():
    others = [
        entry(b"sbom", artifactType="application/spdx"),
        entry(b"index", mediaType=OCI_INDEX),
        entry(b"unknown", "unknown/unknown"),
    ]
    assert chosen(index(AMD64, ARM64, *others), wanted("linux/arm64")) == digests(
        b"arm64", b"sbom", b"index", b"unknown"
    )
    every = index(*others)
    assert select_platforms(every, wanted("linux/arm64")) is every
    assert chosen(index(AMD64, *others), wanted("linux/arm64")) == digests(b"sbom", b"index", b"unknown")


def test_an_index_with_a_platform_is_chosen_by_it():
    every = index(entry(b"a", "linux/amd64", mediaType=OCI_INDEX), entry(b"b", "linux/arm64", mediaType=OCI_INDEX))
    assert chosen(every, wanted("linux/arm64")) == digests(b"b")


def test_the_same_image_under_two_platforms():
    every = index(entry(b"same", "linux/amd64"), entry(b"same", "linux/arm64"), attestation(b"a", b"same"))
    selected = select_platforms(every, wanted("linux/arm64"))
    assert selected is not None
    assert [str(child.platform) for child in selected.children] == ["linux/arm64", "unknown/unknown"]


def test_a_nested_index_that_changed_is_named_anew():
    inner = index(AMD64, ARM64)
    outer = index(
        {
            "data": base64.b64encode(inner.raw).decode(),
            "size": len(inner.raw),
            "x": 1,
            "digest": str(inner.digest),
            "mediaType": OCI_INDEX,
        },
        attestation(b"a", inner.raw),
        ARM64,
    )
    changed = select_platforms(inner, wanted("linux/arm64"))
    assert changed is not None
    selected = select_platforms(outer, wanted("linux/arm64"), {inner.digest: changed})
    assert selected is not None
    first, last = orjson.loads(selected.raw)["manifests"]
    assert list(first.items()) == [
        ("size", len(changed.raw)),
        ("x", 1),
        ("digest", str(changed.digest)),
        ("mediaType", OCI_INDEX),
    ]
    assert last == ARM64


def test_a_nested_index_that_did_not_change_changes_nothing():
    inner = index(ARM64)
    outer = index({"mediaType": OCI_INDEX, "digest": str(inner.digest), "size": len(inner.raw)}, ARM64)
    assert select_platforms(outer, wanted("linux/arm64"), {inner.digest: inner}) is outer


def test_a_nested_index_in_which_nothing_is_wanted_goes():
    inner = index(AMD64)
    nested = {"mediaType": OCI_INDEX, "digest": str(inner.digest), "size": len(inner.raw)}
    assert chosen(index(nested, ARM64), wanted("linux/arm64"), nested={inner.digest: None}) == digests(b"arm64")
    assert select_platforms(index(nested), wanted("linux/arm64"), {inner.digest: None}) is None
