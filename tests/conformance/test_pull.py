"""Section "Pull": pulling manifests, pulling blobs, checking if content exists."""

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
    """An image with the tag v1."""
    made = content.image(2)
    push_over_http(target.url, repository, made, ["v1"])
    return made


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifest(client: Client, repository: str, image: MadeManifest, by: str) -> None:
    """end-3: the manifest as it was pushed, with 200; `Docker-Content-Digest`, if there, is its digest."""
    answer = client.get(f"/v2/{repository}/manifests/{image.digest if by == 'digest' else 'v1'}", Accept=ACCEPT)
    assert (answer.status, answer.body) == (200, image.raw)
    assert answer.headers["content-type"] == image.media_type
    assert answer.headers["docker-content-digest"] == image.digest


@pytest.mark.parametrize("reference", ["v2", UNKNOWN])
def test_a_manifest_that_is_not_there(client: Client, repository: str, image: MadeManifest, reference: str) -> None:
    """end-3: 404, also where the repository is there."""
    assert client.get(f"/v2/{repository}/manifests/v1", Accept=ACCEPT).body == image.raw
    assert client.get(f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT).status == 404


def test_a_blob(client: Client, repository: str, image: MadeManifest) -> None:
    """end-2: the blob, with 200 and its length."""
    for blob in image.blobs:
        answer = client.get(f"/v2/{repository}/blobs/{blob.digest}")
        assert (answer.status, answer.body) == (200, blob.read())
        assert answer.headers["content-length"] == str(len(blob.read()))
        assert answer.headers.get("docker-content-digest", blob.digest) == blob.digest


def test_a_blob_that_is_not_there(client: Client, repository: str, image: MadeManifest) -> None:
    """end-2: 404."""
    assert image.blobs
    assert client.get(f"/v2/{repository}/blobs/{UNKNOWN}").status == 404


def test_a_blob_of_another_repository(client: Client, repository: str, image: MadeManifest) -> None:
    """A blob is in the repositories that it was pushed or mounted to, and in no other."""
    assert client.get(f"/v2/{repository}-other/blobs/{image.blobs[0].digest}").status == 404


@pytest.mark.parametrize(
    ("field", "begin", "end"),
    [("bytes=0-9", 0, 10), ("bytes=5-", 5, None), ("bytes=-7", -7, None), ("bytes=10-99999999", 10, None)],
)
def test_a_part_of_a_blob(
    client: Client, repository: str, image: MadeManifest, field: str, begin: int, end: int | None
) -> None:
    """end-2: a registry should support `Range` as RFC 9110 has it: 206 and the right `Content-Range`."""
    blob = image.blobs[0].read()
    answer = client.get(f"/v2/{repository}/blobs/{image.blobs[0].digest}", Range=field)
    wanted = blob[begin:end]
    first = begin if begin >= 0 else len(blob) + begin
    assert (answer.status, answer.body) == (206, wanted)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(wanted) - 1}/{len(blob)}"


def test_a_part_behind_the_end(client: Client, repository: str, image: MadeManifest) -> None:
    """end-2 and RFC 9110, section 15.5.17: 416."""
    assert client.get(f"/v2/{repository}/blobs/{image.blobs[0].digest}", Range="bytes=99999999-").status == 416


def test_content_exists(client: Client, repository: str, image: MadeManifest) -> None:
    """HEAD of end-2 and end-3: 200 with the size in `Content-Length`, and no body."""
    blob = image.blobs[0]
    for path, size in ((f"blobs/{blob.digest}", len(blob.read())), ("manifests/v1", len(image.raw))):
        answer = client.head(f"/v2/{repository}/{path}", Accept=ACCEPT)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(size)


def test_content_does_not_exist(client: Client, repository: str, image: MadeManifest) -> None:
    """HEAD of end-2 and end-3: 404."""
    assert image.raw
    for path in (f"blobs/{UNKNOWN}", f"manifests/{UNKNOWN}", "manifests/v2"):
        assert client.head(f"/v2/{repository}/{path}", Accept=ACCEPT).status == 404
