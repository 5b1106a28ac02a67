"""Debian's docker-registry (distribution 2.8), empty or with content that is there already."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perf.stage.content import INDEX_NAME
from perf.stage.processes import StageError, end, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perf.stage.certificates import Certificates
    from perf.stage.content import Content

__all__ = ["MEMORY_FOLDER", "serve_docker_registry", "storage_place"]

MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - the kernel's tmpfs; what is made there is made by tempfile
START_S = 30.0
POLL_S = 0.01
LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def storage_place(content: Content | None, directory: Path | None) -> Path | None:
    """Where a registry keeps its files; None where that is left to tempfile."""
    if directory is not None:
        return directory
    if content is not None:
        return content.root.parent
    return MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None


@contextmanager
def serve_docker_registry(
    content: Content | None, *, certificates: Certificates | None = None, directory: Path | None = None
) -> Iterator[tuple[str, int]]:
    """docker-registry over a new folder, with the images of `content`: its address and process id.

    The folder is in `directory` (see `storage_place`).
    The files of `content` are linked into the registry's own layout, not pushed, where both lie in one file system.
    Raises StageError where it does not start.
    """
    program = shutil.which("docker-registry")
    if program is None:
        raise StageError("docker-registry is not installed (Debian: apt-get install docker-registry)")
    with tempfile.TemporaryDirectory(prefix="perf-registry-", dir=storage_place(content, directory)) as name:
        folder = Path(name)
        if content is not None:
            _fill(content.root, folder / "docker/registry/v2")
        http: dict[str, object] = {"addr": "127.0.0.1:0", "secret": "of a benchmark"}
        if certificates is not None:
            http["tls"] = {"certificate": str(certificates.certificate), "key": str(certificates.key)}
        settings = {
            "version": "0.1",
            "log": {"accesslog": {"disabled": True}, "level": "error"},
            "storage": {"filesystem": {"rootdirectory": name}, "maintenance": {"uploadpurging": {"enabled": False}}},
            "http": http,
        }
        (folder / "config.yml").write_text(json.dumps(settings))  # which is YAML too
        with (folder / "log").open("wb") as log:
            process = start(
                [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=log.fileno()
            )
        try:
            port = _await_port(process, folder / "log")
            yield f"127.0.0.1:{port}", process.pid
        finally:
            end(process)


def _await_port(process: subprocess.Popen[str], log: Path) -> int:
    """The port that the kernel chose. At this log level the registry does not tell, so the kernel is asked."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        ports = _listening_ports(process.pid)
        if ports:
            return ports[0]
        if process.poll() is not None:
            raise StageError(f"docker-registry ended with {process.returncode}: {log.read_text()}")
        time.sleep(POLL_S)
    raise StageError(f"docker-registry does not listen after {START_S:g} s")


def _listening_ports(pid: int) -> list[int]:
    """TCP ports that a process of ours listens on (proc(5): /proc/PID/fd and /proc/net/tcp)."""
    try:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it just closed one of them, or ended
        return []
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == LISTENING and row[9] in sockets]


def _fill(root: Path, store: Path) -> None:
    """Lay out the content as distribution's filesystem driver has it: data by digest, and links that name digests."""
    index = json.loads((root / INDEX_NAME).read_bytes())
    for digest in index["blobs"]:
        _link(root / "blobs" / digest, store, digest)
    for repository, tags in index["manifests"].items():
        home, files = store / "repositories" / repository, root / "v2" / repository
        for blob in (files / "blobs").iterdir():
            _write(home / "_layers", blob.name)
        for tag, (digest, _) in tags.items():
            _link(files / "manifests" / digest, store, digest)
            _write(home / "_manifests/revisions", digest)
            _write(home / "_manifests/tags" / tag / "index", digest)
            current = home / "_manifests/tags" / tag / "current"
            current.mkdir()
            (current / "link").write_text(digest)


def _link(file: Path, store: Path, digest: str) -> None:
    hexadecimal = digest.partition(":")[2]
    data = store / "blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
    data.parent.mkdir(parents=True, exist_ok=True)
    if data.exists():
        return
    try:
        data.hardlink_to(file)
    except OSError:  # another file system
        shutil.copyfile(file, data)


def _write(folder: Path, digest: str) -> None:
    place = folder / "sha256" / digest.partition(":")[2]
    place.mkdir(parents=True, exist_ok=True)
    (place / "link").write_text(digest)
