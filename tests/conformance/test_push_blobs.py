"""Section "Push": pushing blobs in one piece and in chunks, mounting, cancelling."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from support.client import with_digest

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder, MadeBlob
    from support.client import Answer, Client

SIZE = 3000


@pytest.fixture
def blob(content: ContentBuilder) -> MadeBlob:
    """A blob that nobody has."""
    return content.layer(SIZE)


def pullable(client: Client, answer: Answer, blob: MadeBlob) -> None:
    """201 with a `Location` from which the blob can be pulled."""
    assert answer.status == 201
    assert client.get(urljoin(client.url, answer.headers["location"])).body == blob.read()
    told = answer.headers.get("docker-content-digest", blob.digest)  # may be of another algorithm
    assert told == blob.digest or told.partition(":")[0] != blob.digest.partition(":")[0]


def chunk(client: Client, location: str, data: bytes, begin: int) -> Answer:
    """One PATCH, as the section "Pushing a blob in chunks" has it."""
    headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{begin}-{begin + len(data) - 1}"}
    return client.send("PATCH", location, data, headers)


def test_a_session_is_opened(client: Client, repository: str) -> None:
    """end-4a: 202 with a `Location`, relative or absolute."""
    answer = client.send("POST", f"/v2/{repository}/blobs/uploads/", headers={"Content-Length": "0"})
    assert answer.status == 202
    assert answer.headers["location"]


def test_post_then_put(client: Client, repository: str, blob: MadeBlob) -> None:
    """end-4a and end-6."""
    pullable(client, client.push_blob(repository, blob.read(), blob.digest), blob)
    assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


def test_a_single_post(client: Client, repository: str, blob: MadeBlob) -> None:
    """end-4b: 201, or 202 and a session from a registry that does not take blobs in this way."""
    answer = client.send("POST", f"/v2/{repository}/blobs/uploads/?digest={blob.digest}", blob.read())
    if answer.status == 202:
        answer = client.send("PUT", with_digest(answer.headers["location"], blob.digest), blob.read())
    pullable(client, answer, blob)


def test_an_empty_blob(client: Client, repository: str, content: ContentBuilder) -> None:
    """Nothing is a blob as others are."""
    empty = content.layer(0)
    pullable(client, client.push_blob(repository, b"", empty.digest), empty)


def test_a_blob_that_is_there_already(client: Client, repository: str, blob: MadeBlob) -> None:
    """Pushing it again changes nothing."""
    for _ in range(2):
        pullable(client, client.push_blob(repository, blob.read(), blob.digest), blob)


@pytest.mark.parametrize("last", ["in the PUT", "before the PUT"])
def test_chunks(client: Client, repository: str, blob: MadeBlob, last: str) -> None:
    """end-5 and end-6: each chunk 202 with the `Location` of the next and `Range: 0-<end>`; the last may be the PUT."""
    data, location = blob.read(), client.start_upload(repository)
    cuts = [0, 1000, 1001, 2500] + ([SIZE] if last == "before the PUT" else [])
    for begin, end in itertools.pairwise(cuts):
        answer = chunk(client, location, data[begin:end], begin)
        assert answer.status == 202
        assert answer.headers["range"] == f"0-{end - 1}"
        location = answer.headers["location"]
    rest = data[cuts[-1] :]
    headers = {"Content-Range": f"{cuts[-1]}-{SIZE - 1}"} if rest else {}
    pullable(client, client.send("PUT", with_digest(location, blob.digest), rest, headers), blob)


def test_a_stream_without_a_range(client: Client, repository: str, blob: MadeBlob) -> None:
    """A PATCH without `Content-Range`, as Docker sends it, is the whole."""
    answer = client.send("PATCH", client.start_upload(repository), blob.read())
    assert answer.status == 202
    pullable(client, client.send("PUT", with_digest(answer.headers["location"], blob.digest)), blob)


def test_a_chunk_out_of_order(client: Client, repository: str, blob: MadeBlob) -> None:
    """416, and the upload can be finished from where it was."""
    data = blob.read()
    answer = chunk(client, client.start_upload(repository), data[:1000], 0)
    location = answer.headers["location"]
    assert chunk(client, location, data[2000:], 2000).status == 416
    state = client.get(location)
    assert state.headers["range"] == "0-999"
    location = state.headers["location"]
    pullable(client, client.send("PUT", with_digest(location, blob.digest), data[1000:]), blob)


def test_a_chunk_that_was_sent_before(client: Client, repository: str, blob: MadeBlob) -> None:
    """416: it is out of order, too."""
    data = blob.read()
    answer = chunk(client, client.start_upload(repository), data[:1000], 0)
    assert chunk(client, answer.headers["location"], data[:1000], 0).status == 416


def test_how_far_an_upload_came(client: Client, repository: str, blob: MadeBlob) -> None:
    """end-13: 204 with `Location` and `Range`, from which the upload goes on."""
    data, location = blob.read(), client.start_upload(repository)
    answer = client.get(chunk(client, location, data[:1234], 0).headers["location"])
    assert (answer.status, answer.body) == (204, b"")
    assert re.fullmatch(r"(bytes=)?0-1233", answer.headers["range"])
    location = answer.headers["location"]
    pullable(client, client.send("PUT", with_digest(location, blob.digest), data[1234:]), blob)


@pytest.mark.parametrize("form", ["PUT", "PATCH"])
def test_other_bytes_than_the_digest_says(client: Client, repository: str, blob: MadeBlob, form: str) -> None:
    """400 with DIGEST_INVALID or BLOB_UPLOAD_INVALID, and no blob."""
    location, wrong = client.start_upload(repository), b"x" * SIZE
    if form == "PATCH":
        location, wrong = client.send("PATCH", location, wrong).headers["location"], b""
    answer = client.send("PUT", with_digest(location, blob.digest), wrong)
    assert answer.status == 400
    assert set(answer.codes) <= {"DIGEST_INVALID", "BLOB_UPLOAD_INVALID", "SIZE_INVALID"}
    assert client.head(f"/v2/{repository}/blobs/{blob.digest}").status == 404


@pytest.mark.parametrize("digest", ["sha256:abc", "abc", f"md4:{'0' * 32}", ""])
def test_a_digest_that_is_none(client: Client, repository: str, digest: str) -> None:
    """400, whatever the bytes are."""
    answer = client.send("PUT", with_digest(client.start_upload(repository), digest), b"x")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_an_upload_that_is_not_there(client: Client, repository: str) -> None:
    """404 with BLOB_UPLOAD_UNKNOWN for each method."""
    path = f"/v2/{repository}/blobs/uploads/11111111-2222-3333-4444-555555555555"
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        target = with_digest(path, f"sha256:{'0' * 64}") if method == "PUT" else path
        answer = client.send(method, target, b"x" if method in ("PUT", "PATCH") else None)
        assert answer.status == 404, method
        assert set(answer.codes) <= {"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"}


def test_cancelling_an_upload(client: Client, repository: str, blob: MadeBlob) -> None:
    """end-14: 204, and the upload is gone."""
    location = client.start_upload(repository)
    location = chunk(client, location, blob.read()[:100], 0).headers["location"]
    assert client.delete(location).status == 204
    assert client.get(location).status == 404


def test_a_mount(client: Client, repository: str, blob: MadeBlob) -> None:
    """end-11: 201 with the `Location` of the blob in its new repository; 202 and a session also conform."""
    client.push_blob(f"{repository}-from", blob.read(), blob.digest)
    answer = client.send("POST", f"/v2/{repository}/blobs/uploads/?mount={blob.digest}&from={repository}-from")
    if answer.status == 202:
        answer = client.send("PUT", with_digest(answer.headers["location"], blob.digest), blob.read())
    pullable(client, answer, blob)
    assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


@pytest.mark.parametrize("source", ["&from={repository}-from", ""])
def test_a_mount_of_what_is_not_there(client: Client, repository: str, blob: MadeBlob, source: str) -> None:
    """end-11: 202 and a session, with `from` or without it."""
    query = f"mount={blob.digest}{source.format(repository=repository)}"
    answer = client.send("POST", f"/v2/{repository}/blobs/uploads/?{query}")
    assert answer.status == 202
    pullable(client, client.send("PUT", with_digest(answer.headers["location"], blob.digest), blob.read()), blob)


def test_a_digest_of_sha512(client: Client, repository: str, content: ContentBuilder) -> None:
    """The image specification's other registered algorithm."""
    blob = content.layer(SIZE, algorithm="sha512")
    pullable(client, client.push_blob(repository, blob.read(), blob.digest), blob)
