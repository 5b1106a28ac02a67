"""Manifests: OCI distribution specification 1.1, "Pulling", "Pushing" and "Deleting manifests"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract.target import Capability, Target
from image_syncer.embedded import ContentBuilder, push_over_http
from image_syncer.oci import MANIFEST_MEDIA_TYPES, OCI_MANIFEST, digest_of
from support.skopeo import Skopeo

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.client import Client

ACCEPT = ", ".join(MANIFEST_MEDIA_TYPES)


SHAPES = {
    "image": lambda content: content.image(3),
    "docker image": lambda content: content.image(docker=True),
    "image with an empty layer": lambda content: content.image([content.empty_layer(), content.layer()]),
    "image with a foreign layer": lambda content: content.foreign_image(),
    "pretty image": lambda content: content.image(indent=4),
    "index": lambda content: content.index(),
    "index with attestations": lambda content: content.index(attestations=True),
    "docker list": lambda content: content.index(docker=True),
    "pretty index": lambda content: content.pretty_index(),
    "nested index": lambda content: content.nested_index(),
    "artifact": lambda content: content.artifact(),
}


@pytest.fixture(params=SHAPES)
def made(request: pytest.FixtureRequest, content: ContentBuilder) -> MadeManifest:
    """Everything that a registry has to take."""
    return SHAPES[request.param](content)


def test_every_shape_comes_back_byte_for_byte(
    target: Target, client: Client, repository: str, made: MadeManifest
) -> None:
    push_over_http(target.url, repository, made, ["v1"])
    for reference in ("v1", made.digest):
        answer = client.get(f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT)
        assert (answer.status, answer.body) == (200, made.raw)
        assert answer.headers["content-type"] == made.media_type
        assert answer.headers["docker-content-digest"] == made.digest


def test_head_tells_all_but_the_body(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    made = content.image()
    push_over_http(target.url, repository, made, ["v1"])
    answer = client.head(f"/v2/{repository}/manifests/v1", Accept=ACCEPT)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == made.media_type
    assert answer.headers["content-length"] == str(len(made.raw))
    assert answer.headers["docker-content-digest"] == made.digest


def test_a_push_is_confirmed(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    made = content.image()
    push_over_http(target.url, repository, made)
    answer = client.push_manifest(repository, "v1", made.raw, made.media_type)
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == made.digest
    assert answer.headers["location"].endswith(f"/v2/{repository}/manifests/{made.digest}")


def test_a_tag_moves(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    first, second = content.image(), content.image()
    push_over_http(target.url, repository, first, ["latest"])
    push_over_http(target.url, repository, second, ["latest"])
    answer = client.head(f"/v2/{repository}/manifests/latest", Accept=ACCEPT)
    assert answer.headers["docker-content-digest"] == second.digest
    assert client.head(f"/v2/{repository}/manifests/{first.digest}", Accept=ACCEPT).status == 200


@pytest.mark.parametrize("missing", ["config", "layer"])
def test_a_manifest_before_its_blobs_is_refused(
    client: Client, repository: str, content: ContentBuilder, missing: str
) -> None:
    made = content.image(1)
    config, layer = made.blobs
    there = layer if missing == "config" else config
    client.push_blob(repository, there.read(), there.digest)
    answer = client.push_manifest(repository, "v1", made.raw, made.media_type)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_BLOB_UNKNOWN"])
    assert client.head(f"/v2/{repository}/manifests/v1", Accept=ACCEPT).status == 404


def test_an_index_before_its_children_is_refused(
    target: Target, client: Client, repository: str, content: ContentBuilder
) -> None:
    made = content.index()
    push_over_http(target.url, repository, made.children[0])
    answer = client.push_manifest(repository, "v1", made.raw, made.media_type)
    assert answer.status == 400
    assert set(answer.codes) == {"MANIFEST_BLOB_UNKNOWN"}


def test_a_manifest_under_another_digest_is_refused(
    target: Target, client: Client, repository: str, content: ContentBuilder
) -> None:
    made = content.image()
    push_over_http(target.url, repository, made)
    answer = client.push_manifest(repository, digest_of(b"other"), made.raw, made.media_type)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"schemaVersion": 2}'])
def test_what_is_no_manifest_is_refused(client: Client, repository: str, raw: bytes) -> None:
    assert client.push_manifest(repository, "v1", raw, OCI_MANIFEST).status == 400
    assert client.head(f"/v2/{repository}/manifests/v1", Accept=ACCEPT).status == 404


def test_schema_1(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    made = content.schema1(repository, "old")
    for blob in made.blobs:
        client.push_blob(repository, blob.read(), blob.digest)
    answer = client.push_manifest(repository, "old", made.raw, made.media_type)
    if Capability.SCHEMA1 not in target.can:
        assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])
        return
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == made.digest != digest_of(made.raw)
    back = client.get(f"/v2/{repository}/manifests/{made.digest}", Accept=ACCEPT)
    assert (back.body, back.headers["content-type"]) == (made.raw, made.media_type)


def test_a_manifest_of_almost_4_mib(client: Client, repository: str, content: ContentBuilder) -> None:
    annotations = {f"key-{number}": "x" * 1000 for number in range(4000)}
    made = content.image(annotations=annotations)
    for blob in made.blobs:
        client.push_blob(repository, blob.read(), blob.digest)
    assert client.push_manifest(repository, "v1", made.raw, made.media_type).status == 201
    assert client.get(f"/v2/{repository}/manifests/v1", Accept=ACCEPT).body == made.raw


def test_a_manifest_of_more_than_4_mib_is_refused(client: Client, repository: str, content: ContentBuilder) -> None:
    made = content.image(annotations={f"key-{number}": "x" * 1000 for number in range(4500)})
    answer = client.push_manifest(repository, "v1", made.raw, made.media_type)
    assert answer.status in (400, 413)


def test_an_unknown_manifest(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    push_over_http(target.url, repository, content.image(), ["v1"])
    answer = client.get(f"/v2/{repository}/manifests/v2", Accept=ACCEPT)
    assert (answer.status, answer.codes) == (404, ["MANIFEST_UNKNOWN"])
    assert client.head(f"/v2/{repository}/manifests/{digest_of(b'other')}", Accept=ACCEPT).status == 404


def test_a_deleted_manifest_takes_its_tags_along(
    target: Target, client: Client, repository: str, content: ContentBuilder
) -> None:
    made = content.image()
    push_over_http(target.url, repository, made, ["v1"])
    assert client.delete(f"/v2/{repository}/manifests/{made.digest}").status == 202
    for reference in ("v1", made.digest):
        assert client.head(f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT).status == 404
    assert client.delete(f"/v2/{repository}/manifests/{made.digest}").status == 404


def test_a_deleted_tag(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    made = content.image()
    push_over_http(target.url, repository, made, ["v1", "v2"])
    answer = client.delete(f"/v2/{repository}/manifests/v1")
    if Capability.TAG_DELETE not in target.can:
        assert answer.status in (400, 404, 405)
        return
    assert answer.status == 202
    assert client.head(f"/v2/{repository}/manifests/v1", Accept=ACCEPT).status == 404
    assert client.head(f"/v2/{repository}/manifests/v2", Accept=ACCEPT).status == 200
    assert client.delete(f"/v2/{repository}/manifests/v1").status == 404


@pytest.mark.real
def test_skopeo_sees_and_copies_what_was_pushed(
    target: Target, client: Client, repository: str, made: MadeManifest
) -> None:
    push_over_http(target.url, repository, made, ["v1"])
    skopeo = Skopeo()
    assert skopeo.inspect_raw(f"{target.address}/{repository}:v1") == made.raw
    assert skopeo.list_tags(f"{target.address}/{repository}") == ["v1"]


@pytest.mark.real
@pytest.mark.parametrize("shape", ["image", "docker image", "index with attestations", "docker list"])
def test_skopeo_pushes(target: Target, client: Client, repository: str, content: ContentBuilder, shape: str) -> None:
    made = SHAPES[shape](content)
    push_over_http(target.url, repository, made, ["v1"])
    copy = f"{repository}-copy"
    Skopeo().copy(f"{target.address}/{repository}:v1", f"{target.address}/{copy}:v2")
    assert client.get(f"/v2/{copy}/manifests/v2", Accept=ACCEPT).body == made.raw
    for blob in made.all_blobs():
        assert client.get(f"/v2/{copy}/blobs/{blob.digest}").body == blob.read()
