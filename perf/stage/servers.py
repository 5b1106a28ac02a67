"""The servers of a scenario, each a process of its own: a source, a sink, docker-registry.

with source(content) as origin, sink() as target:
    ...  # copy from origin.address to target.address
    counts(target)
"""

from __future__ import annotations

import http.client
import json
import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perf.stage.access import PASSWORD, USERNAME
from perf.stage.certificates import make_certificates
from perf.stage.docker_registry import MEMORY_FOLDER, serve_docker_registry, storage_place
from perf.stage.nginx import locate_nginx, nginx_version, serve_nginx
from perf.stage.processes import started_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.stage.certificates import Certificates
    from perf.stage.content import Content

__all__ = ["Place", "connect", "counts", "registry", "reset", "sink", "source"]

Auth = Literal["basic", "bearer"]

TIMEOUT_S = 30.0
"""How long a server may take to answer a request."""


@dataclass(frozen=True)
class Place:
    """A running server. `address` is "host:port"; `kind` is for the result: what serves, and how.

    `ca_file` is set where it speaks TLS, `username` and `password` where it asks for them.
    """

    address: str
    pid: int
    ca_file: Path | None
    username: str | None
    password: str | None
    kind: str


@contextmanager
def source(
    content: Content,
    *,
    tls: bool = False,
    auth: Auth | None = None,
    bytes_per_s: int | None = None,
    kind: Literal["auto", "nginx", "python"] = "auto",
) -> Iterator[Place]:
    """A registry that serves `content`. `auto` is nginx where it is installed and does what is asked for.

    nginx knows no tokens, and limits each connection, not all of them, so `auth` and `bytes_per_s` (over all
    connections) take the source of ours.
    """
    program = locate_nginx()
    if kind == "auto":
        kind = "nginx" if program and not auth and not bytes_per_s else "python"
    with ExitStack() as stack:
        certificates = stack.enter_context(_certificates(tls))
        if kind == "nginx":
            if auth or bytes_per_s:
                raise ValueError("nginx serves neither auth nor bytes_per_s here")
            address, pid = stack.enter_context(serve_nginx(content, certificates=certificates))
            what = nginx_version(program or "nginx")
        else:
            options = ["--root", str(content.root), *_options(certificates, auth, bytes_per_s)]
            process, address = stack.enter_context(started_module("source", options))
            pid, what = process.pid, "perf source"
        place = _place(address, pid, certificates, auth, f"{what}, {'sendfile' if certificates is None else 'TLS'}")
        if kind == "nginx":  # which does not say when it is ready; its socket listens before it runs
            _ask(place, "GET", "/v2/")
        yield place


@contextmanager
def sink(
    *,
    tls: bool = False,
    auth: Auth | None = None,
    bytes_per_s: int | None = None,
    refuse_429: tuple[int, float] | None = None,
    holds: Content | None = None,
) -> Iterator[Place]:
    """A registry that takes everything and keeps nothing.

    `refuse_429` is (requests a second that are allowed, seconds of Retry-After, rounded up); with `holds`, it answers
    as if the manifests and blobs of that content were there, in repositories of the same names or in
    "some/prefix/" before them.
    """
    with ExitStack() as stack:
        certificates = stack.enter_context(_certificates(tls))
        options = _options(certificates, auth, bytes_per_s)
        if refuse_429 is not None:
            options += ["--refuse-429", *map(str, refuse_429)]
        if holds is not None:
            options += ["--holds", str(holds.root)]
        process, address = stack.enter_context(started_module("sink", options))
        what = "perf sink, MSG_TRUNC" if certificates is None else "perf sink, TLS"
        yield _place(address, process.pid, certificates, auth, what)


@contextmanager
def registry(
    kind: str = "docker-registry", *, tls: bool = False, holds: Content | None = None, directory: Path | None = None
) -> Iterator[Place]:
    """docker-registry, no log and no password; with `holds`, that content is in it.

    Its files lie in `directory`, else beside the content, else in memory. `kind` is there for other registries to come.
    Raises StageError where it is not installed.
    """
    if kind != "docker-registry":
        raise ValueError(f"no such registry: {kind}")
    with ExitStack() as stack:
        certificates = stack.enter_context(_certificates(tls))
        address, pid = stack.enter_context(serve_docker_registry(holds, certificates=certificates, directory=directory))
        where = storage_place(holds, directory)
        files = ", files in memory" if where is not None and where.is_relative_to(MEMORY_FOLDER) else ""
        place = _place(address, pid, certificates, None, f"docker-registry{files}{', TLS' if tls else ''}")
        _ask(place, "GET", "/v2/")
        yield place


def counts(place: Place) -> dict[str, int]:
    """What a server of ours counted: requests by kind ("HEAD manifest", "PUT blob"), and, in lower case,
    "connections", "blob bytes", "blobs committed", "blobs mounted", "manifests", "refused 401", "refused 429".

    "broken uploads" (fewer bytes than their Content-Length said), "missing blobs" and "wrong sizes" (a manifest named
    a blob that was not committed there, or with another size) must not be there after a good run.
    """
    counted: dict[str, int] = json.loads(_ask(place, "GET", "/perf/counts"))
    return counted


def reset(place: Place) -> None:
    """Have a sink of ours forget what it was given, and its counts, as if it was started now."""
    _ask(place, "POST", "/perf/reset")


@contextmanager
def _certificates(tls: bool) -> Iterator[Certificates | None]:
    if not tls:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="perf-tls-") as folder:
        yield make_certificates(Path(folder))


def _options(certificates: Certificates | None, auth: Auth | None, bytes_per_s: int | None) -> list[str]:
    options = []
    if certificates is not None:
        options += ["--tls", str(certificates.certificate), str(certificates.key)]
    if auth is not None:
        options += ["--auth", auth]
    if bytes_per_s is not None:
        options += ["--bytes-per-s", str(bytes_per_s)]
    return options


def _place(address: str, pid: int, certificates: Certificates | None, auth: Auth | None, kind: str) -> Place:
    return Place(
        address=address,
        pid=pid,
        ca_file=None if certificates is None else certificates.authority,
        username=USERNAME if auth else None,
        password=PASSWORD if auth else None,
        kind=f"{kind}, {auth}" if auth else kind,
    )


def connect(place: Place) -> http.client.HTTPConnection:
    """A connection to a server, over TLS where it speaks that."""
    if place.ca_file is None:
        return http.client.HTTPConnection(place.address, timeout=TIMEOUT_S)
    trust = ssl.create_default_context(cafile=str(place.ca_file))
    return http.client.HTTPSConnection(place.address, timeout=TIMEOUT_S, context=trust)


def _ask(place: Place, method: str, path: str) -> bytes:
    connection = connect(place)
    try:
        connection.request(method, path)
        return connection.getresponse().read()
    finally:
        connection.close()
