"""Debian's docker-registry (distribution 2.8) as a fixture: a registry that nobody here has written."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.certificates import Certificates

CREDENTIAL = ("alice", "correct horse")
OTHER_CREDENTIAL = ("bob", "battery staple")
"""The users of a registry that asks for Basic."""

# Of the passwords above, as `htpasswd -B` writes them; written down so that no test needs apache2-utils.
_HTPASSWD = (
    "alice:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n"
    "bob:$2y$05$uUdV4rKkU6BCNNOmDxLEYeCDMuiiCldkdqSerA9VlQ3JDwDJD4mFa\n"
)
_LISTENING = re.compile(r"listening on (?P<host>[\w.:\[\]]+):(?P<port>\d+)")
_START_S = 30.0
_END_S = 10.0
_POLL_S = 0.01


@dataclass(frozen=True)
class DockerRegistry:
    """A running docker-registry. `root` is where its filesystem storage lies, `log` what it says."""

    address: str
    url: str
    pid: int
    root: Path
    log: Path


@contextmanager
def serve_docker_registry(
    directory: Path,
    *,
    htpasswd: bool = False,
    auth: Mapping[str, object] | None = None,
    certificates: Certificates | None = None,
    root: Path | None = None,
    deletes: bool = True,
    read_only: bool = False,
    host: str = "127.0.0.1",
    client_authority: Path | None = None,
    proxy_of: str | None = None,
    foreign_urls: bool = True,
    notify: tuple[str, str] | None = None,
) -> Iterator[DockerRegistry]:
    """Runs docker-registry on a free port of loopback until the block is left; everything of it lies in `directory`.

    `host` is the address ("[::1]"); with `client_authority` it lets in whoever shows a certificate of that authority.

    With `htpasswd` it asks for CREDENTIAL or OTHER_CREDENTIAL, with `auth` for what that section of its configuration
    says; with `read_only` it takes no writes; without `foreign_urls`, as by default, no URLs in manifests;
    with `notify` it tells that URL of every push and pull, with that Authorization;
    with `proxy_of` it is a pull-through cache of the registry at that URL.
    `root` is the storage of another registry, which then has two doors.
    Skips the test where the program is missing.
    """
    program = find_program("docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    root, log, config = root or directory / "root", directory / "registry.log", directory / "config.yml"
    root.mkdir(exist_ok=True)
    http: dict[str, object] = {"addr": f"{host}:0", "secret": "of a test"}
    if certificates is not None:
        tls: dict[str, object] = {"certificate": str(certificates.certificate), "key": str(certificates.key)}
        if client_authority is not None:
            tls["clientcas"] = [str(client_authority)]
        http["tls"] = tls
    storage = {
        "filesystem": {"rootdirectory": str(root)},
        "delete": {"enabled": deletes},
        "maintenance": {"readonly": {"enabled": read_only}},
    }
    settings: dict[str, object] = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": False}, "level": "info"},
        "storage": storage,
        "http": http,
    }
    if foreign_urls:
        settings["validation"] = {"manifests": {"urls": {"allow": ["^https://"]}}}
    if htpasswd:
        (directory / "htpasswd").write_text(_HTPASSWD)
        settings["auth"] = {"htpasswd": {"realm": "made up", "path": str(directory / "htpasswd")}}
    if auth is not None:
        settings["auth"] = auth
    if notify is not None:
        endpoint = {"url": notify[0], "headers": {"Authorization": [notify[1]]}}
        times = {"timeout": "5s", "threshold": 5, "backoff": "1s"}
        settings["notifications"] = {"endpoints": [{"name": "watch", **endpoint, **times}]}
    if proxy_of is not None:
        settings["proxy"] = {"remoteurl": proxy_of}
    config.write_text(json.dumps(settings))  # which is YAML too
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [program, "serve", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={"PATH": os.environ.get("PATH", "")},  # REGISTRY_* variables would change the configuration
        )
    try:
        address = _wait_until_it_listens(child, log, host)
        if client_authority is None:
            _ping(address, certificates)
        scheme = "http" if certificates is None else "https"
        yield DockerRegistry(address, f"{scheme}://{address}", child.pid, root, log)
    finally:
        child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until_it_listens(child: subprocess.Popen[bytes], log: Path, host: str) -> str:
    """The address, which the registry chose itself: it tells it in its log once it listens."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        found = _LISTENING.search(log.read_text())
        if found is not None:
            return f"{host}:{found['port']}"
        if child.poll() is not None:
            raise AssertionError(f"docker-registry ended with {child.returncode}: {log.read_text()}")
        time.sleep(_POLL_S)
    raise AssertionError(f"docker-registry does not listen after {_START_S} s: {log.read_text()}")


def _ping(address: str, certificates: Certificates | None) -> None:
    connection: http.client.HTTPConnection
    if certificates is None:
        connection = http.client.HTTPConnection(address, timeout=_START_S)
    else:
        context = certificates.client_context()
        context.check_hostname = False  # a certificate for another host may be what the test is about
        connection = http.client.HTTPSConnection(address, timeout=_START_S, context=context)
    connection.request("GET", "/v2/")
    assert connection.getresponse().status in (200, 401)
    connection.close()
