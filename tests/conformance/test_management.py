"""Section "Content Management": deleting tags, manifests and blobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import push_over_http
from image_syncer.oci import MANIFEST_MEDIA_TYPES

if TYPE_CHECKING:
    from contract.target import Target
    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.client import Client

ACCEPT = ", ".join(MANIFEST_MEDIA_TYPES)
UNKNOWN = f"sha256:{'0' * 64}"


@pytest.fixture
def image(target: Target, repository: str, content: ContentBuilder) -> MadeManifest:
    """An image with two tags."""
    made = content.image()
    push_over_http(target.url, repository, made, ["one", "two"])
    return made


def status_of(client: Client, repository: str, reference: str) -> int:
    return client.head(f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT).status


def test_deleting_a_tag(client: Client, repository: str, image: MadeManifest) -> None:
    """end-9 by a tag: 202; the manifest and its other tags stay. (400 or 405 from a registry that does not.)"""
    assert client.delete(f"/v2/{repository}/manifests/one").status == 202
    assert status_of(client, repository, "one") == 404
    assert status_of(client, repository, "two") == status_of(client, repository, image.digest) == 200
    assert client.get(f"/v2/{repository}/tags/list").json()["tags"] == ["two"]


def test_deleting_a_manifest(client: Client, repository: str, image: MadeManifest) -> None:
    """end-9 by a digest: 202; neither the manifest nor a tag of it is there any more."""
    assert client.delete(f"/v2/{repository}/manifests/{image.digest}").status == 202
    for reference in (image.digest, "one", "two"):
        assert status_of(client, repository, reference) == 404


def test_deleting_a_manifest_that_is_not_there(client: Client, repository: str, image: MadeManifest) -> None:
    """end-9: 404."""
    assert status_of(client, repository, image.digest) == 200
    assert client.delete(f"/v2/{repository}/manifests/{UNKNOWN}").status == 404


def test_deleting_a_blob(client: Client, repository: str, content: ContentBuilder) -> None:
    """end-10: 202, and it is gone; again: 404."""
    blob = content.layer(100)
    client.push_blob(repository, blob.read(), blob.digest)
    path = f"/v2/{repository}/blobs/{blob.digest}"
    assert client.delete(path).status == 202
    assert client.head(path).status == client.get(path).status == 404
    assert client.delete(path).status == 404


def test_deleting_a_blob_of_one_repository(client: Client, repository: str, content: ContentBuilder) -> None:
    """end-10: others keep it."""
    blob = content.layer(100)
    for name in (repository, f"{repository}-other"):
        client.push_blob(name, blob.read(), blob.digest)
    assert client.delete(f"/v2/{repository}/blobs/{blob.digest}").status == 202
    assert client.get(f"/v2/{repository}-other/blobs/{blob.digest}").body == blob.read()


def test_a_deleted_manifest_can_be_pushed_again(
    target: Target, client: Client, repository: str, image: MadeManifest
) -> None:
    """Its blobs are perhaps still there; either way it arrives."""
    client.delete(f"/v2/{repository}/manifests/{image.digest}")
    push_over_http(target.url, repository, image, ["again"])
    assert client.get(f"/v2/{repository}/manifests/again", Accept=ACCEPT).body == image.raw
