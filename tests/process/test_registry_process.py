"""The embedded registry in a process of its own: it serves, tells what it counted, and does not outlive its parent."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import image_syncer.embedded
from image_syncer.embedded import Behaviour, ContentBuilder, Fault, RegistryProcess, push_over_http
from support.certificates import make_certificates
from support.client import Client
from support.processes import process_of, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20

# A parent that starts a registry, tells its number and address, and then waits to be killed.
PARENT = """
import sys
from image_syncer.embedded import RegistryProcess
registry = RegistryProcess()
registry.start()
print(registry.pid, registry.url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["memory", "directory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryProcess]:
    root = None if request.param == "memory" else tmp_path / "root"
    with RegistryProcess(root) as running:
        yield running


def test_it_serves_and_counts(registry: RegistryProcess) -> None:
    content = ContentBuilder()
    image = content.image([content.layer(3 * 2**20 + 1)])
    push_over_http(registry.url, "a", image, ["v1"])
    before = registry.counters()
    assert before.requests["put upload"] == len(image.blobs)
    assert before.bytes_in == image.size_bytes
    with Client(registry.url) as client:
        assert client.get(f"/v2/a/blobs/{image.blobs[1].digest}").body == image.blobs[1].read()
    since = registry.counters().minus(before)
    assert (since.requests, since.bytes_out) == ({"get blob": 1}, image.blobs[1].size)


@pytest.mark.extended
def test_who_goes_away_in_the_middle_of_a_blob_is_no_mistake(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    content = ContentBuilder()
    image = content.image([content.layer(4 * MIB)])
    reset = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
    with RegistryProcess(tmp_path) as registry:
        push_over_http(registry.url, "a", image, ["v1"])
        host, _, port = registry.url.removeprefix("http://").partition(":")
        for number in range(150):
            with socket.create_connection((host, int(port))) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                client.sendall(f"GET /v2/a/blobs/{image.blobs[1].digest} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                time.sleep(number % 5 / 1000)
        with Client(registry.url) as client:
            assert client.get(f"/v2/a/blobs/{image.blobs[1].digest}").status == 200
    assert capfd.readouterr().err == ""


@pytest.mark.extended
def test_its_behaviour_may_change(registry: RegistryProcess) -> None:
    registry.set_behaviour(Behaviour(faults=(Fault("ping", status=503),)))
    with Client(registry.url) as client:
        assert [client.get("/v2/").status for _ in range(2)] == [503, 200]
    with Client(registry.url) as client:
        assert client.send("PUT", "/_behaviour", b'{"unknown": 1}').status == 400
        assert client.get("/_unknown").status == 404


def test_it_ends_when_it_is_told_to(registry: RegistryProcess) -> None:
    process = process_of(registry.pid)
    registry.stop()
    assert not process.is_alive
    registry.stop()
    with pytest.raises(RuntimeError):
        registry.counters()


@pytest.mark.extended
def test_what_it_kept_in_a_directory_is_there_again(tmp_path: Path) -> None:
    image = ContentBuilder().image()
    with RegistryProcess(tmp_path) as registry:
        push_over_http(registry.url, "a", image, ["v1"])
    with RegistryProcess(tmp_path) as registry, Client(registry.url) as client:
        assert client.get("/v2/a/manifests/v1").body == image.raw


@pytest.mark.extended
def test_a_directory_costs_no_memory_for_large_blobs(tmp_path: Path) -> None:
    content = ContentBuilder()
    image = content.image([content.layer(192 * MIB)])
    with RegistryProcess(tmp_path) as registry:
        push_over_http(registry.url, "a", image)
        with Client(registry.url) as client:
            assert len(client.get(f"/v2/a/blobs/{image.blobs[1].digest}").body) == 192 * MIB
        assert (process_of(registry.pid).memory("VmHWM") or 0) < 96 * MIB


def test_it_does_not_outlive_its_parent() -> None:
    source_root = str(Path(image_syncer.embedded.__file__).parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": source_root},
        text=True,
    )
    assert parent.stdout is not None
    try:
        pid, url = parent.stdout.readline().split()
        child = process_of(int(pid))
        with Client(url) as client:
            assert client.get("/v2/").status == 200
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not child.is_alive, "the registry ends after its parent")


@pytest.mark.parametrize(("number", "ends"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_signals(number: signal.Signals, *, ends: bool) -> None:
    """Ctrl-C reaches the whole group, and what it means is for the parent to say."""
    with RegistryProcess() as registry:
        process = process_of(registry.pid)
        os.kill(registry.pid, number)
        if ends:
            wait_until(lambda: not process.is_alive, "the registry ends")
        else:
            assert registry.counters().requests == {}


@pytest.mark.extended
def test_an_address_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        registry = RegistryProcess(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            registry.start()
    assert registry.address == ""


def test_passwords_are_not_in_its_arguments() -> None:
    with RegistryProcess(behaviour=Behaviour(users={"alice": "correct horse"})) as registry:
        command = Path(f"/proc/{registry.pid}/cmdline").read_bytes()
        environment = Path(f"/proc/{registry.pid}/environ").read_bytes()
    assert b"horse" not in command + environment


@pytest.mark.extended
def test_over_tls(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    certificate = (str(made.certificate), str(made.key))
    with RegistryProcess(certificate=certificate, companion=True) as registry:
        with Client(registry.url, context=made.client_context()) as client:
            assert client.get("/v2/").status == 200
        assert registry.counters().requests == {"ping": 1}
        assert registry.companion_address
