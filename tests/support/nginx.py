"""nginx in front of a registry, as many have it: limits, buffers, and a speed that can be set."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_START_S = 10.0
_END_S = 10.0
_POLL_S = 0.01

# Everything that nginx writes lies in one directory, and nothing needs the superuser.
_CONFIG = """\
{user}
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 512; }}
http {{
    log_format protocol '$server_protocol $request_method $status $uri "$http_user_agent"';
    access_log {directory}/access.log protocol;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {listen}{how};
{tls}
        location / {{
            proxy_pass http://{backend};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
{lines}
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx; it writes its files to `directory`."""

    address: str
    directory: Path

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def log_lines(self) -> list[str]:
        """What the access log has: protocol, method, status, path and user agent of each request."""
        return (self.directory / "access.log").read_text().splitlines()


@contextmanager
def serve_nginx(
    directory: Path, backend: str, *lines: str, tls: Sequence[str] = (), http2: bool = False
) -> Iterator[Nginx]:
    """nginx on a free port of loopback, for `backend` ("127.0.0.1:5000"), until the block is left.

    `lines` are directives of the one location, `tls` those of the server, which then speaks TLS, and HTTP/2 where
    that is wanted. Skips the test where nginx is missing.
    """
    program = find_program("nginx")
    directory.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listen = f"127.0.0.1:{listener.getsockname()[1]}"
        config = directory / "nginx.conf"
        directives = "\n".join(f"            {line}" for line in lines)
        text = _CONFIG.format(
            user=_user(),
            directory=directory,
            listen=listen,
            how=(" ssl http2" if http2 else " ssl") if tls else "",
            tls="\n".join(f"        {line}" for line in tls),
            backend=backend,
            lines=directives,
        )
        config.write_text(text)
        with (directory / "stderr.log").open("wb") as sink:
            child = subprocess.Popen(
                [program, "-p", str(directory), "-c", str(config), "-e", str(directory / "error.log")],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # The way in which nginx hands its sockets to a newer nginx: nobody else can take the port meanwhile.
                env={"PATH": os.environ.get("PATH", ""), "NGINX": f"{listener.fileno()};"},
                pass_fds=[listener.fileno()],
            )
    try:
        _wait_until_it_answers(child, listen, directory)
        yield Nginx(listen, directory)
    finally:
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _user() -> str:
    """Who writes the files: for the superuser nginx would take somebody who may not write where tests do."""
    return "user root root;" if os.geteuid() == 0 else ""


def _wait_until_it_answers(child: subprocess.Popen[bytes], address: str, directory: Path) -> None:
    """The socket takes connections from the beginning; an answer comes once nginx has read its configuration."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if child.poll() is not None:
            said = (directory / "stderr.log").read_text() + (directory / "error.log").read_text()
            raise AssertionError(f"nginx ended with {child.returncode}: {said}")
        connection = http.client.HTTPConnection(address, timeout=1)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
        except OSError:
            time.sleep(_POLL_S)
        else:
            return
        finally:
            connection.close()
    raise AssertionError(f"nginx does not answer after {_START_S} s")
