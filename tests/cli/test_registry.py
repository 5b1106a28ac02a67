from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from cli.test_main import SOURCE_ROOTS
from image_syncer.embedded import DOUBLES, PASSWORD
from image_syncer_cli.verbs import registry as registry_verb
from support.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.conftest import Command


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A registry of the command, and the line by which it told that it listens."""
    child = subprocess.Popen(
        [sys.executable, "-m", "image_syncer_cli", "registry", "--listen", "127.0.0.1:0", *words],
        env={**os.environ, "PYTHONPATH": SOURCE_ROOTS},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        yield child, child.stdout.readline()
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(number: signal.Signals) -> None:
    with serving("--memory") as (child, line):
        assert "(content in memory)" in line
        address = line.partition("http://")[2].partition(" ")[0]
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", "/v2/")
        assert connection.getresponse().status == 200
        connection.close()
        child.send_signal(number)
        assert child.wait(timeout=30) == 0


def test_a_folder_keeps_content(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    with serving("--root", str(root)) as (child, line):
        assert f"(content in {root})" in line
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 0
    assert root.is_dir()


def test_an_address_that_is_taken_is_the_users_to_change(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = command("registry", "--listen", address)
    assert ran.code == 2
    assert ran.err.startswith(f"Error: cannot listen on {address}: Address already in use. Give --listen another")


def test_a_double_says_whom_it_takes_and_asks_for_the_password() -> None:
    with serving("--behave", "ecr") as (child, line):
        assert "a double of Amazon ECR, private, for tests, on http://" in line
        assert child.stdout is not None
        assert child.stdout.readline() == f"It takes the user AWS with the password {PASSWORD}.\n"
        address = line.partition("http://")[2].partition(" ")[0]
        for credential, status in ((None, 401), (("AWS", PASSWORD), 200)):
            with Client(f"http://{address}", credential=credential) as client:
                assert client.get("/v2/").status == status


def test_every_double_can_be_asked_for() -> None:
    assert set(registry_verb._KINDS) == set(DOUBLES)
