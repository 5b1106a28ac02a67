"""The platform that a schema 1 manifest names."""

from __future__ import annotations

import json

import pytest

from image_syncer.oci import Platform, platform_of_schema1


def manifest(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 1, "name": "a", "tag": "b", "fsLayers": [], **fields}).encode()


def history(**fields: object) -> list[dict[str, str]]:
    return [{"v1Compatibility": json.dumps(fields)}, {"v1Compatibility": json.dumps({"os": "plan9"})}]


@pytest.mark.parametrize(
    ("raw", "platform"),
    [
        (manifest(architecture="arm64", history=history(os="windows")), Platform("windows", "arm64")),
        (manifest(architecture="amd64", history=history(id="x")), Platform("linux", "amd64")),
        (manifest(architecture="amd64"), Platform("linux", "amd64")),
        (manifest(architecture="amd64", history=[{"v1Compatibility": "[]"}]), Platform("linux", "amd64")),
        (manifest(history=history(os="linux")), None),
        (manifest(architecture="amd64", history=[{"v1Compatibility": "{"}]), None),
        (manifest(architecture="amd64", history=["x"]), None),
        (b"no manifest", None),
    ],
)
def test_its_architecture_and_the_system_of_its_newest_layer(raw: bytes, platform: Platform | None) -> None:
    assert platform_of_schema1(raw) == platform
