"""The source serves what was built, the sink takes it and counts; both ask for access and slow down when told to."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest
from perf.stage.content import MANIFEST_TYPE, ContentSpec, build_content
from perf.stage.processes import ROOT
from perf.stage.servers import counts, registry, reset, sink, source

from support.client import Client
from support.programs import find_program, locate_program

REPOSITORY = "bench/r0000"
LARGE = 2 * 2**20
SPOILED = {"broken uploads", "missing blobs", "wrong sizes"}
needs_openssl = pytest.mark.skipif(locate_program("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage")
    return build_content(ContentSpec(tags=2, layers=2, layer_bytes=LARGE), folder / "content")


def client_of(place, token: str | None = None) -> Client:
    context = ssl.create_default_context(cafile=str(place.ca_file)) if place.ca_file else None
    credential = (place.username, place.password) if place.username and not token else None
    scheme = "https" if place.ca_file else "http"
    return Client(f"{scheme}://{place.address}", credential=credential, token=token, context=context)


def stranger_to(place) -> Client:
    return Client(f"http://{place.address}")


def manifest_of(content, tag: str = "v00000") -> dict:
    return json.loads((content.root / "v2" / REPOSITORY / "manifests" / tag).read_bytes())


# -- the source --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, pytest.param(True, marks=needs_openssl)])
@pytest.mark.parametrize("kind", ["python", "nginx"])
def test_a_source_is_a_registry(content, kind, tls) -> None:
    if kind == "nginx":
        find_program("nginx")
    with source(content, kind=kind, tls=tls) as place, client_of(place) as client:
        assert client.get("/v2/").status == 200
        listing = client.get(f"/v2/{REPOSITORY}/tags/list")
        assert (listing.headers["content-type"], listing.json()["tags"]) == ("application/json", ["v00000", "v00001"])
        raw = (content.root / "v2" / REPOSITORY / "manifests" / "v00001").read_bytes()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        for reference in ("v00001", digest):
            for answer in (client.head(f"/v2/{REPOSITORY}/manifests/{reference}"),
                           client.get(f"/v2/{REPOSITORY}/manifests/{reference}")):  # fmt: skip
                assert answer.status == 200
                assert answer.headers["docker-content-digest"] == digest
                assert answer.headers["content-type"] == MANIFEST_TYPE
                assert answer.headers["content-length"] == str(len(raw))
            assert answer.body == raw
        for blob in (manifest_of(content)["config"], *manifest_of(content)["layers"]):
            path = f"/v2/{REPOSITORY}/blobs/{blob['digest']}"
            assert client.head(path).headers["content-length"] == str(blob["size"])
            for _ in range(2):  # the second time, a small one comes from memory
                answer = client.get(path)
                assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == blob["digest"]
            part = client.get(path, Range="bytes=10-19")
            assert (part.status, part.body) == (206, answer.body[10:20])
            assert part.headers["content-range"] == f"bytes 10-19/{blob['size']}"
        assert client.get(f"/v2/{REPOSITORY}/manifests/none").status == 404
        assert client.get(f"/v2/{REPOSITORY}/blobs/sha256:{'0' * 64}").status == 404


def test_basic_asks_for_the_password(content) -> None:
    with (
        source(content, auth="basic") as place,
        Client(f"http://{place.address}") as stranger,
        client_of(place) as user,
    ):
        answer = stranger.get("/v2/")
        assert (answer.status, answer.challenges) == (401, ('Basic realm="perf"',))
        assert user.get(f"/v2/{REPOSITORY}/tags/list").status == 200
        assert counts(place)["refused 401"] == 1


def test_bearer_sends_to_the_token_endpoint_and_names_the_scope(content) -> None:
    with (
        source(content, auth="bearer") as place,
        Client(f"http://{place.address}") as stranger,
        client_of(place) as user,
    ):
        answer = stranger.get(f"/v2/{REPOSITORY}/manifests/v00000")
        assert answer.status == 401
        wanted = f'Bearer realm="http://{place.address}/token",service="perf",scope="repository:{REPOSITORY}:pull"'
        assert answer.challenges == (wanted,)
        assert stranger.get("/token").status == 401
        token = user.get(f"/token?service=perf&scope=repository:{REPOSITORY}:pull").json()["token"]
        with client_of(place, token) as holder:
            assert holder.get(f"/v2/{REPOSITORY}/manifests/v00000").status == 200
        assert counts(place)["GET token"] == 2


@pytest.mark.parametrize("tls", [False, pytest.param(True, marks=needs_openssl)])
def test_a_slow_source_is_slow_and_its_bytes_are_right(content, tls) -> None:
    layer = manifest_of(content)["layers"][0]
    with source(content, bytes_per_s=10 * 2**20, tls=tls) as place, client_of(place) as client:
        begin = time.monotonic()
        body = client.get(f"/v2/{REPOSITORY}/blobs/{layer['digest']}").body
        # What had gathered (20 ms) and what is in flight is no more than a quarter of it.
        assert time.monotonic() - begin > LARGE / (10 * 2**20) * 0.75
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer["digest"]


# -- the sink ----------------------------------------------------------------------------------------------------------


def push_image(client: Client, content, repository: str = REPOSITORY, tag: str = "v00000") -> None:
    manifest = manifest_of(content, tag)
    for blob in (manifest["config"], *manifest["layers"]):
        data = (content.root / "blobs" / blob["digest"]).read_bytes()
        assert client.push_blob(repository, data, blob["digest"]).status == 201
    raw = (content.root / "v2" / REPOSITORY / "manifests" / tag).read_bytes()
    answer = client.push_manifest(repository, tag, raw, MANIFEST_TYPE)
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"


@pytest.mark.parametrize("tls", [False, pytest.param(True, marks=needs_openssl)])
def test_an_image_is_taken_and_counted_and_forgotten_again(content, tls) -> None:
    with sink(tls=tls) as place, client_of(place) as client:
        assert client.head(f"/v2/{REPOSITORY}/manifests/v00000").status == 404
        push_image(client, content)
        counted = counts(place)
        sizes = [blob["size"] for blob in (manifest_of(content)["config"], *manifest_of(content)["layers"])]
        assert counted["blob bytes"] == sum(sizes)
        assert counted["blobs committed"] == counted["POST upload"] == counted["PUT blob"] == 3
        assert counted["PUT manifest"] == counted["manifests"] == 1
        assert not SPOILED & set(counted)
        head = client.head(f"/v2/{REPOSITORY}/manifests/v00000")
        assert (head.status, head.headers["content-type"]) == (200, MANIFEST_TYPE)
        layer = manifest_of(content)["layers"][0]
        assert client.head(f"/v2/{REPOSITORY}/blobs/{layer['digest']}").headers["content-length"] == str(LARGE)
        reset(place)
        assert client.head(f"/v2/{REPOSITORY}/manifests/v00000").status == 404
        assert counts(place)["HEAD manifest"] == 1


@pytest.mark.parametrize("chunk", [1, 7, 4096, 70_000])
def test_chunks_are_counted_without_their_frames(chunk) -> None:
    data = bytes(100) if chunk == 1 else bytes(200_000)
    pieces = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    if chunk == 7:
        pieces = pieces[:2000]
    size = sum(map(len, pieces))
    with sink() as place, client_of(place) as client:
        location = client.start_upload("a/b")
        patched = client.send("PATCH", location, iter(pieces))
        assert (patched.status, patched.headers["range"]) == (202, f"0-{size - 1}")
        assert client.send("PUT", f"{patched.headers['location']}?digest=sha256:x").status == 201
        assert client.head("/v2/a/b/blobs/sha256:x").headers["content-length"] == str(size)
        assert counts(place)["blob bytes"] == size


def test_a_manifest_in_chunks_is_read_right(content) -> None:
    raw = b'{"schemaVersion":2,"layers":[]}'
    with sink() as place, client_of(place) as client:
        pieces = (raw[start : start + 5] for start in range(0, len(raw), 5))
        answer = client.send("PUT", "/v2/a/manifests/t", pieces)
        assert answer.headers["docker-content-digest"] == f"sha256:{hashlib.sha256(raw).hexdigest()}"
        assert client.get("/v2/a/manifests/t").body == raw


def test_a_manifest_whose_blobs_did_not_come_whole_is_refused(content) -> None:
    manifest = manifest_of(content)
    with sink() as place, client_of(place) as client:
        raw = json.dumps(manifest).encode()
        assert client.push_manifest("a", "t", raw, MANIFEST_TYPE).codes == ["MANIFEST_BLOB_UNKNOWN"]
        for blob in (manifest["config"], *manifest["layers"]):
            client.push_blob("a", b"short", blob["digest"])
        assert client.push_manifest("a", "t", raw, MANIFEST_TYPE).status == 400
        counted = counts(place)
        assert (counted["missing blobs"], counted["wrong sizes"]) == (1, 1)
        assert "manifests" not in counted


def test_an_upload_that_breaks_off_is_counted() -> None:
    with sink() as place:
        host, _, port = place.address.rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(b"PUT /v2/a/blobs/uploads/1?digest=sha256:x HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nxxx")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b""
        counted = counts(place)
        assert counted["broken uploads"] == 1
        assert "blobs committed" not in counted


def test_a_blob_is_mounted_only_from_where_it_is() -> None:
    with sink() as place, client_of(place) as client:
        client.push_blob("a", b"data", "sha256:x")
        assert client.send("POST", "/v2/b/blobs/uploads/?mount=sha256:x&from=c").status == 202
        assert client.head("/v2/b/blobs/sha256:x").status == 404
        assert client.send("POST", "/v2/b/blobs/uploads/?mount=sha256%3Ax&from=a").status == 201
        assert client.head("/v2/b/blobs/sha256:x").headers["content-length"] == "4"
        counted = counts(place)
        assert (counted["POST mount"], counted["blobs mounted"], counted["blobs committed"]) == (2, 1, 1)


def test_what_it_holds_is_found_in_the_same_repository_or_below_a_prefix(content) -> None:
    with sink(holds=content) as place, client_of(place) as client:
        raw = (content.root / "v2" / REPOSITORY / "manifests" / "v00001").read_bytes()
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        for name in (REPOSITORY, f"my/mirror/{REPOSITORY}"):
            assert client.head(f"/v2/{name}/manifests/v00001").headers["docker-content-digest"] == digest
        assert client.head("/v2/other/manifests/v00001").status == 404
        assert client.head(f"/v2/{REPOSITORY}/manifests/v9").status == 404


def test_too_many_requests_are_refused() -> None:
    with sink(refuse_429=(5, 2.0)) as place, client_of(place) as client:
        # More than two seconds' worth, so that some are too many however they fall on seconds.
        answers = [client.get("/v2/") for _ in range(40)]
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert {answer.headers["retry-after"] for answer in refused} == {"2"}
        assert sum(answer.status == 200 for answer in answers) >= 5
        assert counts(place)["refused 429"] == len(refused)


def test_a_slow_sink_is_slow() -> None:
    with sink(bytes_per_s=10 * 2**20) as place, client_of(place) as client:
        begin = time.monotonic()
        client.push_blob("a", bytes(LARGE), "sha256:x")
        assert time.monotonic() - begin > LARGE / (10 * 2**20) * 0.75
        assert counts(place)["blob bytes"] == LARGE


def test_a_client_that_tries_tls_first_sees_a_plain_server_close() -> None:
    with sink() as place:
        host, _, port = place.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock, pytest.raises((ssl.SSLError, OSError)):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")


def test_a_client_that_waits_for_a_word_gets_it() -> None:
    with sink() as place:
        host, _, port = place.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(
                b"PUT /v2/a/blobs/uploads/1?digest=sha256:x HTTP/1.1\r\n"
                b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
            )
            assert sock.recv(100).startswith(b"HTTP/1.1 100 ")
            sock.sendall(b"abc")
            assert sock.recv(100).startswith(b"HTTP/1.1 201 ")


# -- docker-registry, and processes ------------------------------------------------------------------------------------


def test_docker_registry_has_the_content_that_it_was_given(content) -> None:
    find_program("docker-registry")
    with registry(holds=content) as place, client_of(place) as client:
        raw = (content.root / "v2" / REPOSITORY / "manifests" / "v00001").read_bytes()
        assert client.get(f"/v2/{REPOSITORY}/manifests/v00001", Accept=MANIFEST_TYPE).body == raw
        assert set(client.get(f"/v2/{REPOSITORY}/tags/list").json()["tags"]) == {"v00000", "v00001"}
        layer = manifest_of(content)["layers"][0]["digest"]
        body = client.get(f"/v2/{REPOSITORY}/blobs/{layer}").body
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == layer
        push_image(client, content, "other/place")


def test_docker_registry_keeps_its_files_where_it_is_told(tmp_path) -> None:
    find_program("docker-registry")
    with registry(directory=tmp_path) as place:
        assert [entry.name.startswith("perf-registry-") for entry in tmp_path.iterdir()] == [True]
        assert place.kind == "docker-registry"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_does_not_reach_a_server() -> None:
    with sink() as place:
        assert os.getpgid(place.pid) == place.pid != os.getpgid(0)


def test_a_server_ends_when_its_starter_is_killed() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from perf.stage.servers import sink\n"
        "with sink() as place:\n"
        "    print(place.pid, flush=True); sys.stdin.read()\n"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout is not None
        server = os.pidfd_open(int(starter.stdout.readline()))
        starter.send_signal(signal.SIGKILL)
        assert select.select([server], [], [], 10)[0], "the sink is still there"
        os.close(server)
    finally:
        starter.kill()
        starter.communicate()
