"""The way to a registry: proxies, connections that are closed in between, pauses that were asked for."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Destination, RegistryEntry
from image_syncer.embedded import Behaviour, Fault, serve_in_thread
from image_syncer.oci import Repository
from image_syncer.registry import Credential, Network
from support.certificates import make_certificates
from support.connect_proxy import run_connect_proxy
from support.sync_runs import PASSWORD, REPOSITORY, USER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.sync_runs import SyncLab


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(), Behaviour(redirect_blobs=True), Behaviour(users={USER: PASSWORD})],
    ids=["plain", "redirects", "challenges"],
)
def test_a_source_behind_a_proxy(lab: SyncLab, tmp_path: Path, behaviour: Behaviour) -> None:
    """The proxy's 200 to CONNECT is not the answer to the request that goes through."""
    made = make_certificates(tmp_path / "certificates")
    with (
        run_connect_proxy() as proxy,
        serve_in_thread(behaviour=behaviour, ssl_context=made.server_context()) as source,
    ):
        lab.registries.append(source)
        lab.source = source
        credential = Credential(USER, PASSWORD) if behaviour.users else None
        lab._entries[source.address] = RegistryEntry(
            source.address, credential, ca_file=str(made.authority), network=Network(proxy=proxy.url)
        )
        image = lab.image(4)
        lab.run(retries=0)
        lab.assert_arrived(image)
        assert source.address in proxy.targets


@pytest.mark.extended
def test_a_pause_that_a_source_asked_for_is_no_silence(lab: SyncLab) -> None:
    images = [lab.push(lab.content.image(6), f"team/app{number}") for number in range(2)]
    asked = Fault("get blob", status=429, skip=2, headers=(("Retry-After", "4"),))
    lab.source.behaviour = Behaviour(faults=(asked,))
    done = lab.run(stall_timeout_s=1.0, streams=2)
    assert "nothing moved" not in done.log
    for number, image in enumerate(images):
        lab.assert_arrived(image, f"team/app{number}")


@pytest.mark.extended
def test_kept_connections_that_the_destination_closes_without_a_word(lab: SyncLab) -> None:
    """Whoever takes such a connection for an upload has put bytes into it before that shows."""
    image = lab.image(4, layer_bytes=400_000)
    with _closing_registry() as (address, received):
        lab._entries[address] = RegistryEntry(address, None, insecure=True)
        rule = replace(lab.rule(), destinations=(Destination(Repository(address, REPOSITORY)),))
        lab.run(rule, retries=0)
        assert sorted(received) == sorted(len(blob.read()) for blob in image.all_blobs())


@contextmanager
def _closing_registry() -> Iterator[tuple[str, list[int]]]:
    """Takes every upload, and closes the connection after every answer; its address, and the sizes of the blobs."""
    received: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, status: int, location: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.close_connection = True  # and no header says so

        def do_HEAD(self) -> None:
            self._answer(404)

        def do_POST(self) -> None:
            self._answer(202, f"/v2/{REPOSITORY}/blobs/uploads/1")

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if "/uploads/" in self.path:
                received.append(len(body))
            self._answer(201)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()
