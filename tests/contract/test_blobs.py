"""Blobs: OCI distribution specification 1.1, "Pulling blobs", "Deleting blobs"."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from contract.target import Capability, Target
from support.client import Client

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder, MadeBlob

SIZE = 100_000


@pytest.fixture
def blob(client: Client, repository: str, content: ContentBuilder) -> MadeBlob:
    made = content.layer(SIZE)
    assert client.push_blob(repository, made.read(), made.digest).status == 201
    return made


def test_a_blob_comes_back_as_it_went(client: Client, repository: str, blob: MadeBlob) -> None:
    answer = client.get(f"/v2/{repository}/blobs/{blob.digest}")
    assert (answer.status, answer.body) == (200, blob.read())
    assert answer.headers["docker-content-digest"] == blob.digest
    assert answer.headers["content-length"] == str(SIZE)


def test_head_tells_the_size_and_sends_nothing(client: Client, repository: str, blob: MadeBlob) -> None:
    answer = client.head(f"/v2/{repository}/blobs/{blob.digest}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["docker-content-digest"] == blob.digest


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=99990-", 99_990, SIZE),
        ("bytes=50000-500000", 50_000, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
    ],
)
def test_a_range(client: Client, repository: str, blob: MadeBlob, asked: str, begin: int, end: int) -> None:
    answer = client.get(f"/v2/{repository}/blobs/{blob.digest}", Range=asked)
    assert (answer.status, answer.body) == (206, blob.read()[begin:end])
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(end - begin)


def head_of(client: Client, target: str, asked: str) -> tuple[int, str | None]:
    """Status and Content-Range of a GET with a Range, the body unread: distribution 2.8 sends less than it promises."""
    connection = client.connect()
    connection.request("GET", target, headers={"Range": asked})
    response = connection.getresponse()
    client.close()
    if response.status == 307:
        where = urlsplit(response.headers["Location"])
        with Client(f"{where.scheme}://{where.netloc}") as other:
            return head_of(other, f"{where.path}?{where.query}", asked)
    return response.status, response.headers["Content-Range"]


def test_a_range_after_the_end_is_refused(client: Client, repository: str, blob: MadeBlob) -> None:
    found = head_of(client, f"/v2/{repository}/blobs/{blob.digest}", f"bytes={SIZE}-")
    assert found == (416, f"bytes */{SIZE}")


def test_a_range_in_another_unit(target: Target, client: Client, repository: str, blob: MadeBlob) -> None:
    status, _ = head_of(client, f"/v2/{repository}/blobs/{blob.digest}", "lines=1-2")
    assert status == (200 if Capability.OTHER_RANGE_UNITS in target.can else 416)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unknown_blob(client: Client, repository: str, content: ContentBuilder, method: str) -> None:
    answer = client.send(method, f"/v2/{repository}/blobs/{content.layer().digest}")
    assert answer.status == 404
    if method == "GET":
        assert answer.codes == ["BLOB_UNKNOWN"]


def test_a_blob_of_another_repository_is_unknown(client: Client, repository: str, blob: MadeBlob) -> None:
    assert client.head(f"/v2/{repository}-other/blobs/{blob.digest}").status == 404


def test_what_is_no_digest_is_refused(client: Client, repository: str) -> None:
    answer = client.get(f"/v2/{repository}/blobs/sha256:abc")
    assert answer.status in (400, 404)


def test_a_blob_without_bytes(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.empty_layer()
    assert client.push_blob(repository, b"", blob.digest).status == 201
    answer = client.get(f"/v2/{repository}/blobs/{blob.digest}")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


def test_a_blob_named_by_sha512(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(SIZE, algorithm="sha512")
    assert client.push_blob(repository, blob.read(), blob.digest).status == 201
    answer = client.get(f"/v2/{repository}/blobs/{blob.digest}")
    assert (answer.status, answer.body) == (200, blob.read())


def test_a_deleted_blob_is_gone(client: Client, repository: str, blob: MadeBlob) -> None:
    assert client.delete(f"/v2/{repository}/blobs/{blob.digest}").status == 202
    assert client.head(f"/v2/{repository}/blobs/{blob.digest}").status == 404
    assert client.delete(f"/v2/{repository}/blobs/{blob.digest}").status == 404


def test_a_blob_deleted_in_one_repository_stays_in_another(client: Client, repository: str, blob: MadeBlob) -> None:
    other = f"{repository}-other"
    assert client.push_blob(other, blob.read(), blob.digest).status == 201
    assert client.delete(f"/v2/{repository}/blobs/{blob.digest}").status == 202
    assert client.get(f"/v2/{other}/blobs/{blob.digest}").body == blob.read()
