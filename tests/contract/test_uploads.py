"""Upload sessions: OCI distribution specification 1.1, "Pushing blobs"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contract.target import Capability, Target
from support.client import with_digest

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder
    from support.client import Client

SIZE = 3 * 2**20 + 17  # more than one batch, and no round number


def test_post_and_one_put(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(SIZE)
    answer = client.push_blob(repository, blob.read(), blob.digest)
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == blob.digest
    assert answer.headers["location"].endswith(f"/v2/{repository}/blobs/{blob.digest}")
    assert client.get(answer.headers["location"]).body == blob.read()


def test_a_session_tells_where_it_is(client: Client, repository: str) -> None:
    answer = client.send("POST", f"/v2/{repository}/blobs/uploads/")
    assert (answer.status, answer.body) == (202, b"")
    assert f"/v2/{repository}/blobs/uploads/" in answer.headers["location"]
    assert answer.headers["range"] == "0-0"
    assert answer.headers["docker-upload-uuid"] in answer.headers["location"]


def test_put_with_chunked_encoding(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(SIZE)
    location = client.start_upload(repository)
    answer = client.send("PUT", with_digest(location, blob.digest), blob.pieces())
    assert answer.status == 201
    assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


def test_a_put_that_waits_for_100(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(1000)
    location = client.start_upload(repository)
    connection = client.connect()
    connection.putrequest("PUT", with_digest(location, blob.digest).removeprefix(client.url))
    connection.putheader("Content-Length", "1000")
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(4096).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.send(blob.read())
    assert connection.getresponse().status == 201


def test_patches_and_an_empty_put(client: Client, repository: str, content: ContentBuilder) -> None:
    data = content.layer(SIZE)
    location = client.start_upload(repository)
    offset = 0
    for piece in data.pieces():
        answer = client.send("PATCH", location, piece, {"Content-Range": f"{offset}-{offset + len(piece) - 1}"})
        offset += len(piece)
        assert answer.status == 202
        assert answer.headers["range"] == f"0-{offset - 1}"
        location = answer.headers["location"]
    assert client.send("PUT", with_digest(location, data.digest), b"").status == 201
    assert client.get(f"/v2/{repository}/blobs/{data.digest}").body == data.read()


def test_a_patch_and_the_rest_with_the_put(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(5000)
    data = blob.read()
    answer = client.send("PATCH", client.start_upload(repository), data[:2000])
    assert answer.status == 202
    location = with_digest(answer.headers["location"], blob.digest)
    assert client.send("PUT", location, data[2000:]).status == 201
    assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == data


def test_a_patched_blob_named_by_sha512(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(5000, algorithm="sha512")
    data = blob.read()
    answer = client.send("PATCH", client.start_upload(repository), data[:2000])
    location = with_digest(answer.headers["location"], blob.digest)
    assert client.send("PUT", location, data[2000:]).status == 201
    assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == data


def test_the_state_of_an_upload(client: Client, repository: str) -> None:
    location = client.start_upload(repository)
    location = client.send("PATCH", location, b"x" * 100).headers["location"]
    answer = client.get(location)
    assert (answer.status, answer.headers["range"]) == (204, "0-99")
    assert f"/v2/{repository}/blobs/uploads/" in answer.headers["location"]


def test_a_location_that_is_not_the_newest_is_refused(
    target: Target, client: Client, repository: str, content: ContentBuilder
) -> None:
    blob = content.layer(200)
    old = client.start_upload(repository)
    assert client.send("PATCH", old, blob.read()[:100]).status == 202
    answer = client.send("PUT", with_digest(old, blob.digest), blob.read()[100:])
    assert answer.status == (416 if Capability.STALE_LOCATION_416 in target.can else 404)
    assert client.head(f"/v2/{repository}/blobs/{blob.digest}").status == 404


def test_a_chunk_out_of_order(target: Target, client: Client, repository: str) -> None:
    location = client.start_upload(repository)
    location = client.send("PATCH", location, b"x" * 100, {"Content-Range": "0-99"}).headers["location"]
    answer = client.send("PATCH", location, b"x" * 100, {"Content-Range": "200-299"})
    assert answer.status == (416 if Capability.CHUNK_ORDER in target.can else 202)
    assert answer.headers["range"] == ("0-99" if Capability.CHUNK_ORDER in target.can else "0-199")


def test_a_cancelled_upload_is_gone(client: Client, repository: str) -> None:
    location = client.start_upload(repository)
    assert client.delete(location).status == 204
    answer = client.get(location)
    assert (answer.status, answer.codes) == (404, ["BLOB_UPLOAD_UNKNOWN"])


def test_wrong_bytes_make_no_blob(client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(1000)
    location = client.start_upload(repository)
    answer = client.send("PUT", with_digest(location, blob.digest), b"y" * 1000)
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])
    assert client.head(f"/v2/{repository}/blobs/{blob.digest}").status == 404


def test_a_put_without_a_digest(client: Client, repository: str) -> None:
    answer = client.send("PUT", client.start_upload(repository), b"abc")
    assert (answer.status, answer.codes) == (400, ["DIGEST_INVALID"])


def test_a_post_with_the_whole_blob(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    blob = content.layer(1000)
    answer = client.send("POST", f"/v2/{repository}/blobs/uploads/?digest={blob.digest}", blob.read())
    there = client.head(f"/v2/{repository}/blobs/{blob.digest}").status
    if Capability.SINGLE_POST in target.can:
        assert (answer.status, there) == (201, 200)
        assert answer.headers["location"].endswith(f"/v2/{repository}/blobs/{blob.digest}")
    else:
        assert (answer.status, there) == (202, 404)
        assert client.send("PUT", with_digest(answer.headers["location"], blob.digest), blob.read()).status == 201


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_body_that_is_cut_makes_no_blob(
    target: Target, client: Client, repository: str, content: ContentBuilder, method: str
) -> None:
    blob = content.layer(SIZE)
    location = client.start_upload(repository)
    connection = client.connect()
    path = with_digest(location, blob.digest) if method == "PUT" else location
    connection.putrequest(method, path.removeprefix(target.url))
    connection.putheader("Content-Length", str(SIZE))
    connection.endheaders()
    connection.send(blob.read()[: SIZE // 2])
    client.close()
    with target.client() as other:
        assert other.head(f"/v2/{repository}/blobs/{blob.digest}").status == 404
        status = _status_once_the_cut_is_seen(other, location)
        if Capability.KEEPS_PARTIAL not in target.can:
            assert status == 404
            return
        assert status == 204
        state = other.get(location)
        offset = int(state.headers["range"].partition("-")[2]) + 1
        rest = with_digest(state.headers["location"], blob.digest)
        assert other.send("PUT", rest, blob.read()[offset:]).status == 201
        assert other.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


def _status_once_the_cut_is_seen(client: Client, location: str) -> int:
    """The registry learns of a cut some time after it: asks until the session has gone, or has taken what it got."""
    for _ in range(10_000):
        answer = client.get(location)
        if answer.status != 204 or answer.headers["range"] != "0-0":
            return answer.status
    raise AssertionError("the registry never noticed that the body was cut")


@pytest.mark.parametrize("same", [True, False])
def test_a_mount(client: Client, repository: str, content: ContentBuilder, *, same: bool) -> None:
    """From another repository, or from the repository itself: then it asks whether the blob is there."""
    blob = content.layer(1000)
    client.push_blob(repository, blob.read(), blob.digest)
    destination = repository if same else f"{repository}-other"
    answer = client.send("POST", f"/v2/{destination}/blobs/uploads/?mount={blob.digest}&from={repository}")
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["location"].endswith(f"/v2/{destination}/blobs/{blob.digest}")
    assert client.get(f"/v2/{destination}/blobs/{blob.digest}").body == blob.read()


@pytest.mark.parametrize("source", ["{repository}", "unknown/repository", None])
def test_a_mount_of_what_is_not_there_opens_a_session(
    client: Client, repository: str, content: ContentBuilder, source: str | None
) -> None:
    blob = content.layer(1000)
    query = f"mount={blob.digest}"
    if source is not None:
        query += f"&from={source.format(repository=repository)}"
    answer = client.send("POST", f"/v2/{repository}/blobs/uploads/?{query}")
    assert answer.status == 202
    assert client.send("PUT", with_digest(answer.headers["location"], blob.digest), blob.read()).status == 201


def test_an_unknown_session(client: Client, repository: str) -> None:
    answer = client.get(f"/v2/{repository}/blobs/uploads/00000000-0000-0000-0000-000000000000")
    assert answer.status == 404
