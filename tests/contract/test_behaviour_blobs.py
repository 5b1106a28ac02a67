"""What the embedded registry does to blobs on request: redirects, and faults in the middle of a body."""

from __future__ import annotations

import http.client
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    DirectoryStorage,
    Fault,
    FaultKind,
    MadeBlob,
    push_to,
    serve_in_thread,
)
from image_syncer.registry import Operation
from support.client import Client, with_digest

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry

SIZE = 2 * 2**20 + 11


@pytest.fixture
def blob(embedded: EmbeddedRegistry, content: ContentBuilder) -> MadeBlob:
    made = content.layer(SIZE)
    embedded.storage.put_blob("a", made.pieces(), made.digest)
    return made


def url_of(blob: MadeBlob) -> str:
    return f"/v2/a/blobs/{blob.digest}"


def what_comes_of(response: http.client.HTTPResponse) -> bytes:
    """All that can be read of a body, whether it ends or is cut."""
    got = bytearray()
    with suppress(ConnectionError):
        while piece := response.read1(65536):
            got += piece
    return bytes(got)


def test_a_redirect_leads_to_the_companion(embedded: EmbeddedRegistry, judge: Client, blob: MadeBlob) -> None:
    embedded.behaviour = Behaviour(redirect_blobs=True)
    answer = judge.get(url_of(blob))
    assert answer.status == 307
    assert answer.headers["location"].startswith(f"http://{embedded.companion_address}/storage/a/")
    with Client(f"http://{embedded.companion_address}") as storage:
        assert storage.get(answer.headers["location"]).body == blob.read()
        assert storage.get(answer.headers["location"], Range="bytes=5-9").body == blob.read()[5:10]
        assert embedded.counters.authorization_on_companion == 0
        refused = storage.get(answer.headers["location"], Authorization="Bearer abc")
        assert refused.status == 400
        assert embedded.counters.authorization_on_companion == 1
        assert storage.get(answer.headers["location"].replace("Signature=", "Signature=0")).status == 403
    assert embedded.counters.requests["get blob"] == 1
    assert embedded.counters.requests["get redirected blob"] == 4
    assert judge.get(url_of(blob).replace("/a/", "/other/")).status == 404


def test_a_signed_address_expires(embedded: EmbeddedRegistry, judge: Client, blob: MadeBlob) -> None:
    embedded.behaviour = Behaviour(redirect_blobs=True, redirect_uses=1, redirect_status=302)
    first = judge.get(url_of(blob))
    assert first.status == 302
    with Client(f"http://{embedded.companion_address}") as storage:
        assert storage.get(first.headers["location"]).status == 200
        assert storage.get(first.headers["location"]).status == 403
        assert storage.get(judge.get(url_of(blob)).headers["location"]).status == 200


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.SHORT_BODY])
def test_a_download_that_is_cut_and_resumed(
    embedded: EmbeddedRegistry, judge: Client, blob: MadeBlob, kind: FaultKind
) -> None:
    embedded.behaviour = Behaviour(faults=(Fault(Operation.GET_BLOB, kind, after_bytes=1_500_000),))
    connection = judge.connect()
    connection.request("GET", url_of(blob))
    response = connection.getresponse()
    assert response.headers["Content-Length"] == str(SIZE)
    got = what_comes_of(response)
    judge.close()
    assert len(got) <= 1_500_000
    assert blob.read().startswith(got)
    rest = judge.get(url_of(blob), Range=f"bytes={len(got)}-")
    assert (rest.status, got + rest.body) == (206, blob.read())


def test_a_short_body_is_exactly_as_long_as_was_asked_for(
    embedded: EmbeddedRegistry, judge: Client, blob: MadeBlob
) -> None:
    embedded.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.SHORT_BODY, after_bytes=1_000_000),))
    with pytest.raises(http.client.IncompleteRead) as caught:
        judge.get(url_of(blob))
    assert caught.value.partial == blob.read()[:1_000_000]


def test_one_wrong_byte(embedded: EmbeddedRegistry, judge: Client, blob: MadeBlob) -> None:
    embedded.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.WRONG_BYTES, after_bytes=SIZE - 1),))
    right, wrong = blob.read(), judge.get(url_of(blob)).body
    assert (wrong[:-1], wrong[-1] ^ right[-1]) == (right[:-1], 0xFF)
    assert judge.get(url_of(blob)).body == right


def test_a_download_that_stalls(embedded: EmbeddedRegistry, judge: Client, blob: MadeBlob) -> None:
    embedded.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.STALL, after_bytes=1000),))
    connection = judge.connect()
    connection.timeout = 0.2
    connection.request("GET", url_of(blob))
    response = connection.getresponse()
    assert response.read(1000) == blob.read()[:1000]
    with pytest.raises(TimeoutError):
        response.read(1)


def test_ranges_that_are_ignored(embedded: EmbeddedRegistry, judge: Client, blob: MadeBlob) -> None:
    embedded.behaviour = Behaviour(ranges=False)
    answer = judge.get(url_of(blob), Range="bytes=100-")
    assert (answer.status, answer.body) == (200, blob.read())


@pytest.mark.parametrize("storage", ["memory", "directory"])
def test_limits_of_bandwidth_and_idleness_change_no_byte(tmp_path: Path, content: ContentBuilder, storage: str) -> None:
    kept = None if storage == "memory" else DirectoryStorage(tmp_path)
    behaviour = Behaviour(bandwidth_bytes_per_s=50e6, idle_timeout_s=20, latency_s=0.001)
    blob = content.layer(SIZE)
    with serve_in_thread(kept, behaviour) as embedded, Client(embedded.url) as judge:
        assert judge.push_blob("a", blob.read(), blob.digest).status == 201
        assert judge.get(url_of(blob)).body == blob.read()
        assert (embedded.counters.bytes_in, embedded.counters.bytes_out) == (SIZE, SIZE)


def test_an_upload_that_idles_is_cut(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(idle_timeout_s=0.05)
    blob = content.layer(1000)
    location = with_digest(judge.start_upload("a"), blob.digest)
    connection = judge.connect()
    connection.putrequest("PUT", location)
    connection.putheader("Content-Length", "1000")
    connection.endheaders()
    connection.send(blob.read()[:500])
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        connection.getresponse()
    judge.close()
    assert judge.get(location).headers["range"] == "0-499"


def test_a_download_that_idles_is_cut(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(idle_timeout_s=0.05)
    large = content.layer(64 * 2**20)  # more than the buffers between the two hold
    push_to(embedded.storage, "a", content.image([large]))
    connection = judge.connect()
    connection.request("GET", url_of(large))
    response = connection.getresponse()
    # It reads nothing until the registry has given up.
    assert embedded.counters.wait_until(lambda values: values.statuses.get("get blob 0") == 1, timeout_s=30)
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        response.read()
