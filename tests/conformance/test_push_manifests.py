"""Section "Push": pushing manifests, with and without a subject."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from image_syncer.embedded import push_over_http
from image_syncer.oci import MANIFEST_MEDIA_TYPES, OCI_INDEX, OCI_MANIFEST, digest_of

if TYPE_CHECKING:
    from contract.target import Target
    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.client import Answer, Client

ACCEPT = ", ".join(MANIFEST_MEDIA_TYPES)
MIB = 2**20


def pushed_blobs(client: Client, repository: str, made: MadeManifest) -> None:
    """What the manifest names is there."""
    for blob in made.all_blobs():
        assert client.push_blob(repository, blob.read(), blob.digest).status == 201


def pullable(client: Client, answer: Answer, raw: bytes) -> None:
    """201 with a `Location` from which the manifest can be pulled, byte for byte."""
    assert answer.status == 201
    there = client.get(urljoin(client.url, answer.headers["location"]), Accept=ACCEPT)
    assert (there.status, there.body) == (200, raw)


@pytest.mark.parametrize("by", ["tag", "digest"])
@pytest.mark.parametrize("indent", [None, 3])
def test_a_manifest(client: Client, repository: str, content: ContentBuilder, by: str, indent: int | None) -> None:
    """end-7: 201 with a `Location`; the bytes are kept as they came, blanks included."""
    made = content.image(indent=indent)
    pushed_blobs(client, repository, made)
    reference = "v1.0_x-y" if by == "tag" else made.digest
    answer = client.push_manifest(repository, reference, made.raw, made.media_type)
    pullable(client, answer, made.raw)
    assert answer.headers.get("docker-content-digest", made.digest) == made.digest
    assert client.get(f"/v2/{repository}/manifests/{reference}", Accept=ACCEPT).body == made.raw


def test_an_index(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    """end-7, with children that are there."""
    made = content.index()
    push_over_http(target.url, repository, made)
    pullable(client, client.push_manifest(repository, "v1", made.raw, made.media_type), made.raw)


def test_an_index_of_nothing(client: Client, repository: str) -> None:
    """The image specification allows an empty list of manifests."""
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()
    pullable(client, client.push_manifest(repository, "empty", raw, OCI_INDEX), raw)


def test_a_tag_is_moved(client: Client, repository: str, content: ContentBuilder) -> None:
    """A tag that is there points to what was pushed last; what it pointed to stays, by its digest."""
    first, second = content.image(), content.image()
    for made in (first, second):
        pushed_blobs(client, repository, made)
        assert client.push_manifest(repository, "latest", made.raw, made.media_type).status == 201
    assert client.get(f"/v2/{repository}/manifests/latest", Accept=ACCEPT).body == second.raw
    assert client.get(f"/v2/{repository}/manifests/{first.digest}", Accept=ACCEPT).body == first.raw


def test_a_manifest_whose_blobs_are_missing(client: Client, repository: str, content: ContentBuilder) -> None:
    """400 or 404 with MANIFEST_BLOB_UNKNOWN or MANIFEST_INVALID, and no manifest."""
    made = content.image()
    answer = client.push_manifest(repository, "v1", made.raw, made.media_type)
    assert answer.status in (400, 404)
    assert set(answer.codes) <= {"MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "BLOB_UNKNOWN"}
    assert client.head(f"/v2/{repository}/manifests/v1", Accept=ACCEPT).status == 404


def test_other_bytes_than_the_digest_says(client: Client, repository: str, content: ContentBuilder) -> None:
    """400 with DIGEST_INVALID."""
    made = content.image()
    pushed_blobs(client, repository, made)
    answer = client.push_manifest(repository, digest_of(b"other"), made.raw, made.media_type)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


@pytest.mark.parametrize("raw", [b"", b"no JSON", b"[]", b'{"schemaVersion": 2'])
def test_what_is_no_manifest(client: Client, repository: str, raw: bytes) -> None:
    """400 with MANIFEST_INVALID."""
    answer = client.push_manifest(repository, "v1", raw, OCI_MANIFEST)
    assert (answer.status, answer.codes) == (400, ["MANIFEST_INVALID"])


def test_a_manifest_of_nearly_4_mib(client: Client, repository: str, content: ContentBuilder) -> None:
    """A registry should take manifests of up to 4 MiB."""
    plain = content.image()
    pushed_blobs(client, repository, plain)
    value = {**json.loads(plain.raw), "annotations": {"filler": "x" * (4 * MIB - 2048 - len(plain.raw))}}
    raw = json.dumps(value).encode()
    assert 3.99 * MIB < len(raw) < 4 * MIB
    pullable(client, client.push_manifest(repository, "huge", raw, plain.media_type), raw)


def test_a_manifest_that_is_too_large(client: Client, repository: str) -> None:
    """413 is what the specification suggests; it must not be taken in silence, and not be an error of the server."""
    raw = json.dumps({"schemaVersion": 2, "manifests": [], "annotations": {"filler": "x" * (5 * MIB)}}).encode()
    answer = client.push_manifest(repository, "too-large", raw, OCI_INDEX)
    assert 400 <= answer.status < 500


def with_subject(artifact: MadeManifest, subject: MadeManifest) -> bytes:
    """`artifact`, as one that refers to `subject`."""
    described = {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.raw)}
    return json.dumps({**json.loads(artifact.raw), "subject": described}).encode()


def test_a_subject_is_confirmed(client: Client, repository: str, content: ContentBuilder) -> None:
    """A registry with the referrers API has to answer `OCI-Subject`."""
    subject, artifact = content.image(), content.artifact()
    pushed_blobs(client, repository, artifact)
    raw = with_subject(artifact, subject)
    answer = client.push_manifest(repository, digest_of(raw), raw, OCI_MANIFEST)
    assert answer.headers["oci-subject"] == subject.digest


def test_a_subject_that_is_not_there(client: Client, repository: str, content: ContentBuilder) -> None:
    """A manifest may be pushed before its subject."""
    subject, artifact = content.image(), content.artifact()
    pushed_blobs(client, repository, artifact)
    raw = with_subject(artifact, subject)
    pullable(client, client.push_manifest(repository, digest_of(raw), raw, OCI_MANIFEST), raw)
