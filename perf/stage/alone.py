"""How fast source and sink are alone, so that nobody measures them by mistake: `python -m perf.stage.alone`.

The other side is the cheapest that there is: what a source sends is thrown away in the kernel (MSG_TRUNC), what a sink
takes is sent by sendfile, and small requests are written out beforehand. So a tool that comes near these rates with one
process measured the server. CPU is the server's own, by the kernel's clock of 10 ms.

With TLS the other side has to encrypt or decrypt in Python, which is slower than the server: there, the rate says
little, and CPU a gigabyte is the figure.
"""

from __future__ import annotations

import mmap
import os
import select
import shutil
import socket
import ssl
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perf.stage.content import ContentSpec, build_content
from perf.stage.docker_registry import MEMORY_FOLDER
from perf.stage.nginx import locate_nginx
from perf.stage.servers import sink, source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.stage.content import Content
    from perf.stage.servers import Place

__all__ = ["Alone", "cpu_s", "measure_alone", "render_alone"]

BLOB_BYTES = 256 * 2**20
ROUNDS = 8
"""Blobs that are moved, one after the other on one connection: 2 GiB in all."""

TLS_ROUNDS = 2
REQUESTS = 40_000
CONNECTIONS = 16
"""Of small requests, one in flight on each."""

DRAIN_BYTES = 64 * 2**20
WAKE_BYTES = 512 * 1024
"""Fewer wake-ups: the drain must cost less than what it measures."""

HEAD_BYTES = 65_536
_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM = 1, 11, 12
"""Fields of /proc/PID/stat after the name in brackets, from 0."""


@dataclass(frozen=True)
class Alone:
    """One server: bytes a second and its CPU a gigabyte, HEAD requests of a manifest a second and its CPU for each."""

    part: str
    kind: str
    gb_per_s: float
    cpu_s_per_gb: float
    requests_per_s: float
    cpu_us_per_request: float


def cpu_s(pid: int) -> float:
    """User and system time of a process and its living children (nginx's workers), in seconds."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        if int(entry.name) == pid or int(fields[_PARENT]) == pid:
            total += int(fields[_USER]) + int(fields[_SYSTEM])
    return total / _TICKS


def measure_alone(directory: Path | None = None) -> list[Alone]:
    """Measure every source and sink that this machine has; takes about ten seconds.

    It needs 300 MB in `directory`, which should be a tmpfs; without one, that is /dev/shm where it is there.
    """
    if directory is None and MEMORY_FOLDER.is_dir():
        directory = MEMORY_FOLDER
    folder = Path(tempfile.mkdtemp(prefix="perf-alone-", dir=directory))
    try:
        folder.chmod(0o755)
        content = build_content(ContentSpec(tags=1, layer_bytes=BLOB_BYTES), folder / "content")
        return list(_measure_all(content))
    finally:
        shutil.rmtree(folder)


def _measure_all(content: Content) -> Iterator[Alone]:
    manifest = f"/v2/{content.repositories[0]}/manifests/{content.tags[content.repositories[0]][0]}"
    for tls in (False, True):
        for kind in ("nginx", "python") if locate_nginx() else ("python",):
            with source(content, tls=tls, kind=kind) as origin:
                yield _measure("source", origin, content, manifest)
        with sink(tls=tls, holds=content) as target:
            yield _measure("sink", target, content, manifest)


def _measure(part: str, place: Place, content: Content, manifest: str) -> Alone:
    rounds = ROUNDS if place.ca_file is None else TLS_ROUNDS
    move = _drain if part == "source" else _feed
    blob = max((content.root / "blobs").iterdir(), key=lambda file: file.stat().st_size)
    with _connection(place) as sock:
        move(sock, content.repositories[0], blob)  # the first opens files and windows
        cpu, then = cpu_s(place.pid), time.monotonic()
        for _ in range(rounds):
            move(sock, content.repositories[0], blob)
        wall, cpu = time.monotonic() - then, cpu_s(place.pid) - cpu
    gigabytes = rounds * BLOB_BYTES / 1e9
    asking_cpu = cpu_s(place.pid)
    requests_per_s = _ask_many(place, manifest)
    asking_cpu = cpu_s(place.pid) - asking_cpu
    return Alone(part, place.kind, gigabytes / wall, cpu / gigabytes, requests_per_s, asking_cpu / REQUESTS * 1e6)


@contextmanager
def _connection(place: Place) -> Iterator[socket.socket]:
    host, _, port = place.address.rpartition(":")
    sock = socket.create_connection((host, int(port)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if place.ca_file is not None:
        sock = ssl.create_default_context(cafile=str(place.ca_file)).wrap_socket(sock, server_hostname=host)
    with sock:
        yield sock


_void = mmap.mmap(-1, DRAIN_BYTES)  # MSG_TRUNC writes nothing, so without TLS no page of it ever exists


def _drain(sock: socket.socket, repository: str, blob: Path) -> None:
    """GET a blob and throw it away."""
    sock.sendall(f"GET /v2/{repository}/blobs/{blob.name} HTTP/1.1\r\nHost: alone\r\n\r\n".encode())
    got = b""
    while b"\r\n\r\n" not in got:
        got += sock.recv(HEAD_BYTES)
    left = blob.stat().st_size - len(got.partition(b"\r\n\r\n")[2])
    plain = not isinstance(sock, ssl.SSLSocket)
    if plain:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)
    while left:
        if plain and left < 2 * WAKE_BYTES:  # else nothing wakes us for the rest
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        if plain:
            taken = sock.recv_into(_void, min(left, DRAIN_BYTES), socket.MSG_TRUNC)
        else:
            taken = sock.recv_into(_void, min(left, HEAD_BYTES))
        if not taken:
            raise ConnectionError("the source ended within a blob")
        left -= taken


def _feed(sock: socket.socket, repository: str, blob: Path) -> None:
    """PUT a blob into a session (the sink does not ask which)."""
    size = blob.stat().st_size
    path = f"/v2/{repository}/blobs/uploads/alone?digest={blob.name}"
    sock.sendall(f"PUT {path} HTTP/1.1\r\nHost: alone\r\nContent-Length: {size}\r\n\r\n".encode())
    with blob.open("rb") as file:
        sock.sendfile(file)
    if not sock.recv(HEAD_BYTES).startswith(b"HTTP/1.1 201"):
        raise ConnectionError("the sink did not take the blob")


def _ask_many(place: Place, manifest: str) -> float:
    """HEAD a manifest over and over on some connections at once; requests a second."""
    request = f"HEAD {manifest} HTTP/1.1\r\nHost: alone\r\n\r\n".encode()
    opened = [_connection(place) for _ in range(CONNECTIONS)]
    socks = {sock.fileno(): sock for sock in (context.__enter__() for context in opened)}
    poll = select.epoll()
    try:
        for fd in socks:
            poll.register(fd, select.EPOLLIN)
        then = time.monotonic()
        for sock in socks.values():
            sock.send(request)
        done, asked = 0, CONNECTIONS
        while done < REQUESTS:
            for fd, _ in poll.poll():
                if not socks[fd].recv(HEAD_BYTES).startswith(b"HTTP/1.1 200"):
                    raise ConnectionError("a manifest that is there was not found")
                done += 1
                if asked < REQUESTS:
                    socks[fd].send(request)
                    asked += 1
        return REQUESTS / (time.monotonic() - then)
    finally:
        poll.close()
        for context in opened:
            context.__exit__(None, None, None)


def render_alone(rows: list[Alone]) -> str:
    """The table, in Markdown."""
    lines = [
        "| alone | what | GB/s, 1 connection | its CPU s/GB | HEADs/s, 16 connections | its CPU µs a HEAD |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row.part} | {row.kind} | {row.gb_per_s:.2f} | {row.cpu_s_per_gb:.2f} | {row.requests_per_s:,.0f} "
        f"| {row.cpu_us_per_request:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(render_alone(measure_alone()))
