"""nginx in front of docker-registry, as many have it: it limits, buffers, compresses and fails in its own ways."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder, MadeManifest, push_over_http
from real.conftest import INSECURE
from support.access_log import AccessLog
from support.client import Client
from support.nginx import serve_nginx

if TYPE_CHECKING:
    from pathlib import Path

    from support.command import Command
    from support.docker_registry import DockerRegistry

pytestmark = pytest.mark.real

MIB = 2**20
BUFFERING = ("client_max_body_size 0;", "proxy_request_buffering on;", "proxy_buffering on;")
STREAMING = ("client_max_body_size 0;", "proxy_request_buffering off;", "proxy_buffering off;")
COMPRESSING = (*BUFFERING, "gzip on;", "gzip_proxied any;", "gzip_min_length 1;", "gzip_types *;")


def assert_arrived(registry: DockerRegistry, repository: str, image: MadeManifest) -> None:
    with Client(registry.url) as client:
        for item in image.manifests():
            assert client.get(f"/v2/{repository}/manifests/{item.digest}", Accept=item.media_type).body == item.raw
        for blob in image.all_blobs():
            assert client.get(f"/v2/{repository}/blobs/{blob.digest}").body == blob.read()


def test_a_blob_that_is_larger_than_allowed_arrives_in_pieces_that_are_not(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
    tmp_path: Path,
) -> None:
    image = content.image([content.layer(24 * MIB)])
    push_over_http(source.url, repository, image, ["v1"])
    with serve_nginx(tmp_path / "nginx", destination.address, "client_max_body_size 1m;") as nginx:
        auth = {source.address: INSECURE, nginx.address: INSECURE}
        rule = {f"{source.address}/{repository}:v1": f"{nginx.address}/{repository}"}
        command.sync(auth, rule)
    assert_arrived(destination, repository, image)


@pytest.mark.extended
@pytest.mark.parametrize("size_bytes", [2 * MIB, 24 * MIB])
def test_a_body_that_is_larger_than_allowed(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
    tmp_path: Path,
    size_bytes: int,
) -> None:
    small, large = content.image(), content.image([content.layer(), content.layer(size_bytes)])
    push_over_http(source.url, repository, small, ["small"])
    push_over_http(source.url, repository, large, ["large"])
    log = AccessLog(destination)
    with serve_nginx(tmp_path / "nginx", destination.address, "client_max_body_size 512k;") as nginx:
        auth = {source.address: INSECURE, nginx.address: INSECURE}
        rule = {f"{source.address}/{repository}:small,large": f"{nginx.address}/{repository}"}
        ran = command.sync(auth, rule, code=1)
    assert ran.outcomes == {"copied": 1, "failed": 1}
    assert f"{repository}:large" in ran.failure
    assert f"destination {nginx.address}/{repository}" in ran.failure
    assert "413" in ran.failure
    assert "client_max_body_size" in ran.failure
    assert "<" not in ran.failure  # nginx answers with a page
    [failed] = [image for image in ran.images if image["outcome"] == "failed"]
    assert (failed["error"]["status"], failed["error"]["kind"], failed["tries"]) == (
        413,
        "refused",
        3,
    )  # whole, and in pieces of 4 MiB and 1 MiB
    assert_arrived(destination, repository, small)
    with Client(destination.url) as client:
        assert client.get(f"/v2/{repository}/manifests/large").status == 404
    assert [request.path for request in log.requests() if request.kind == "put manifest"] == [
        f"/v2/{repository}/manifests/small"
    ]


@pytest.mark.extended
@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(BUFFERING, id="buffering"),
        pytest.param(STREAMING, id="streaming"),
        pytest.param(COMPRESSING, id="compressing"),
    ],
)
def test_both_ends_behind_nginx(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
    tmp_path: Path,
    lines: tuple[str, ...],
) -> None:
    index = content.index(attestations=True, layer_bytes=3 * MIB)
    image = content.image([content.layer(16 * MIB), content.empty_layer()])
    push_over_http(source.url, repository, index, ["index"])
    push_over_http(source.url, repository, image, ["image"])
    with (
        serve_nginx(tmp_path / "front-of-source", source.address, *lines) as front,
        serve_nginx(tmp_path / "front-of-destination", destination.address, *lines) as back,
    ):
        auth = {front.address: INSECURE, back.address: INSECURE}
        rule = {f"{front.address}/{repository}": f"{back.address}/{repository}"}
        ran = command.sync(auth, rule, "--retries", 0)
        assert ran.outcomes == {"copied": 2}
        assert command.sync(auth, rule).outcomes == {"unchanged": 2}
    assert_arrived(destination, repository, index)
    assert_arrived(destination, repository, image)
    assert ran.totals["bytes_moved"] == index.size_bytes + image.size_bytes


@pytest.mark.extended
@pytest.mark.parametrize("side", ["source", "destination"])
def test_nothing_behind_nginx(
    command: Command,
    source: DockerRegistry,
    destination: DockerRegistry,
    repository: str,
    content: ContentBuilder,
    tmp_path: Path,
    side: str,
) -> None:
    push_over_http(source.url, repository, content.image(), ["v1"])
    with ExitStack() as stack:
        nobody = stack.enter_context(socket.socket())
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        backend = f"127.0.0.1:{nobody.getsockname()[1]}"
        nginx = stack.enter_context(serve_nginx(tmp_path / "nginx", backend))
        ends = {"source": source.address, "destination": destination.address, side: nginx.address}
        auth = dict.fromkeys(ends.values(), INSECURE)
        rule = {f"{ends['source']}/{repository}:v1": f"{ends['destination']}/{repository}"}
        ran = command.sync(auth, rule, "--retries", 1, "--give-up-after", "2s", code=1)
    assert f"{side} {nginx.address}/{repository}" in ran.failure
    assert "was given up, it did not answer for 2.0 s" in ran.failure
    assert "502" in ran.failure
    assert "<" not in ran.failure
