"""tinyproxy: an HTTP proxy that nobody here has written, with a log of what it was asked."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.processes import wait_until
from support.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE_ADDRESS = "127.0.0.9"
"""Where its own connections come from, so that a registry's log tells who came through it."""

_END_S = 10.0
_TRIES = 5
_REQUEST = re.compile(r"Request \(file descriptor \d+\): (?P<method>[A-Z]+) (?P<target>\S+) HTTP")


@dataclass(frozen=True)
class Tinyproxy:
    """A running tinyproxy; `log` is where it writes."""

    address: str
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def requests(self) -> list[tuple[str, str]]:
        """Method and target of every request so far."""
        return [(found["method"], found["target"]) for found in _REQUEST.finditer(self.log.read_text())]


@contextmanager
def serve_tinyproxy(directory: Path, *lines: str) -> Iterator[Tinyproxy]:
    """tinyproxy on a port of loopback until the block is left; `lines` are further directives of tinyproxy.conf(5).

    Skips the test where it is missing.
    """
    program = find_program("tinyproxy")
    directory.mkdir(parents=True, exist_ok=True)
    log, config = directory / "tinyproxy.log", directory / "tinyproxy.conf"
    for _ in range(_TRIES):
        # It takes neither port 0 nor a socket: somebody else may have the port before it does.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        settings = (
            f"Port {port}",
            "Listen 127.0.0.1",
            f"Bind {SOURCE_ADDRESS}",
            f'LogFile "{log}"',
            "LogLevel Info",
        )
        config.write_text("\n".join((*settings, "Timeout 600", "MaxClients 200", *lines)) + "\n")
        log.write_text("")
        with (directory / "stderr.log").open("wb") as sink:
            child = subprocess.Popen(
                [program, "-d", "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={"PATH": os.environ.get("PATH", "")},
            )
        try:
            wait_until(lambda: _has_begun(child, log), "tinyproxy")  # noqa: B023 - it is called at once
            if child.poll() is None:
                yield Tinyproxy(f"127.0.0.1:{port}", log)
                return
        finally:
            child.terminate()
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
    raise AssertionError(f"tinyproxy does not start: {(directory / 'stderr.log').read_text()}{log.read_text()}")


def _has_begun(child: subprocess.Popen[bytes], log: Path) -> bool:
    return child.poll() is not None or "Accepting connections" in log.read_text()
