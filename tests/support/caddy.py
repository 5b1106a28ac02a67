"""Caddy in front of a registry: a server of HTTP/3 that nobody here has written."""

from __future__ import annotations

import json
import os
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

    from support.certificates import Certificates

_END_S = 10.0
_CONFIG = """\
{{
    admin off
    auto_https off
}}
https://{address} {{
    bind 127.0.0.1
    tls {certificate} {key}
    log {{
        output file {directory}/access.log
    }}
    reverse_proxy {backend} {{
        flush_interval -1
    }}
}}
"""


@dataclass(frozen=True)
class Caddy:
    """A running one; it writes its files to `directory`."""

    address: str
    directory: Path

    def protocols(self) -> set[str]:
        """Those of the requests so far."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return {json.loads(line)["request"]["proto"] for line in lines}


@contextmanager
def serve_caddy(directory: Path, backend: str, certificates: Certificates) -> Iterator[Caddy]:
    """Caddy on a port of loopback until the block is left. Skips the test where it is missing."""
    program = find_program("caddy")
    directory.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    config, log = directory / "Caddyfile", directory / "stderr.log"
    made = {"certificate": certificates.certificate, "key": certificates.key}
    config.write_text(_CONFIG.format(address=address, directory=directory, backend=backend, **made))
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [program, "run", "--config", str(config), "--adapter", "caddyfile"],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={"PATH": os.environ.get("PATH", ""), "HOME": str(directory)},
        )
    try:
        wait_until(lambda: child.poll() is not None or "serving initial" in log.read_text(), "caddy")
        assert child.poll() is None, log.read_text()
        yield Caddy(address, directory)
    finally:
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
