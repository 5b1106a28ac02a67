"""What nobody here knows is kept: unknown fields, annotations, media types of strangers, digests by sha512. To a
docker-registry and on from there, looked at by raw requests.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http, serve_in_thread
from image_syncer.embedded.content import build_manifest
from image_syncer.oci import OCI_INDEX, OCI_MANIFEST
from support.client import Client

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = [pytest.mark.real, pytest.mark.extended]

STRANGE = {"x-vendor": {"nested": [1, 2.50, None, "ü", "\u0000"]}, "X-VENDOR": True}
WASM = "application/vnd.wasm.content.layer.v1+wasm"


def strange_index(content: ContentBuilder) -> MadeManifest:
    """An index of two artifacts, printed as nobody else does, in which nothing is as usual."""
    children = []
    for algorithm in ("sha256", "sha512"):
        layer = content.layer(700, WASM, algorithm=algorithm)
        config = content.json_blob({"strange": [algorithm]}, "application/vnd.example.strange.config+json")
        value = {
            "x-before": 1,
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.strange",
            "config": config.descriptor(annotations={"of": "a config"}, **STRANGE),
            "layers": [layer.descriptor(annotations={"org.example/ü": "<&>\n"}, urls=[], **STRANGE)],
            "annotations": {"empty": "", "long": "x" * 5000},
            **STRANGE,
        }
        children.append(build_manifest(value, (config, layer), indent=3))
    entries = [child.descriptor(annotations={"a": "b"}, **STRANGE) for child in children]
    entries[0]["platform"] = {"os": "strange", "architecture": "none", "os.features": ["x"], "x": {}}
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, "annotations": {"z": "y"}, **STRANGE}
    return build_manifest(value, children=tuple(children), indent=5)


def test_it_arrives_byte_for_byte_twice(
    command: Command, source: DockerRegistry, destination: DockerRegistry, content: ContentBuilder, repository: str
) -> None:
    index = strange_index(content)
    assert json.loads(index.raw)["x-vendor"] == STRANGE["x-vendor"]
    push_over_http(source.url, repository, index, ["v1"])
    with serve_in_thread() as third:
        places = source, destination, third
        insecure = [word for each in places for word in ("--insecure", each.address)]
        for near, far in itertools.pairwise(places):
            names = f"{near.address}/{repository}:v1", f"{far.address}/{repository}"
            assert command.run("copy", *names, *insecure, "--verify").outcomes == {"copied": 1}
            assert command.run("copy", *names, *insecure).outcomes == {"unchanged": 1}
            with Client(far.url) as client:
                for item in index.manifests():
                    name = "v1" if item is index else item.digest
                    got = client.get(f"/v2/{repository}/manifests/{name}", accept=item.media_type)
                    assert (got.status, got.body, got.headers["content-type"]) == (200, item.raw, item.media_type)
                for blob in index.all_blobs():
                    assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()
