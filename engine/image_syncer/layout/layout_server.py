"""The process that serves a layout or an archive to a run, as a registry on a Unix socket.

So everything that a run does with registries works for layouts: verification, resuming, reports. Only this process
opens the files, and a run between registries starts none.
"""

from __future__ import annotations

import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.process import FINISH, SOCKETS_PREFIX, RegistryProcess, serve_child
from image_syncer.errors import PlaceError
from image_syncer.layout.archives import DockerArchive, OciArchive, WrittenArchive
from image_syncer.layout.layout_storage import LayoutStorage
from image_syncer.layout.named_storage import IndexFile, NamedStorage
from image_syncer.oci import MAX_MANIFEST_BYTES, split_place
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    import subprocess

    from image_syncer.embedded import Storage


_LONGEST_DIRECTORY = 90
"""The kernel takes 107 bytes for the path of a socket (unix(7)), with its name."""
_MOST_RESTARTS = 3
"""A process that dies more often has no memory, or an internal error; the run reports that."""

_log = get_logger(__name__)


def socket_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a private temporary directory, whose path is short enough for sockets."""
    short = len(tempfile.gettempdir()) < _LONGEST_DIRECTORY
    return tempfile.TemporaryDirectory(prefix=SOCKETS_PREFIX, dir=None if short else "/tmp")  # noqa: S108 - by mkdtemp


def open_storage(registry: str, *, writes: bool, must_be_there: bool) -> Storage:
    """Return the storage of the layout or archive `registry` ("oci:/data/mirror").

    A missing one is empty if it is neither written nor `must_be_there`. Raises PlaceError if it cannot be used.
    """
    layout = split_place(registry)
    if layout is None or layout.kind not in ("oci", "oci-archive", "docker-archive"):
        raise PlaceError(f"{registry} is nothing that can be opened")
    if not (writes or must_be_there or Path(layout.path).exists()):
        return NamedStorage(registry, IndexFile(None, registry))
    if layout.kind == "oci":
        return LayoutStorage(layout.path, writes=writes, location=registry)
    if layout.kind == "oci-archive":
        return WrittenArchive(layout.path, registry) if writes else OciArchive(layout.path, registry)
    if writes:
        raise PlaceError("archives of docker are read, and not written", "write oci-archive:FILE")
    return DockerArchive(layout.path, registry)


class LayoutServer(RegistryProcess):
    """Serves the layout or archive `registry` ("oci:/data/mirror") at `unix_socket` until `finish` or `stop`.

    `start` raises PlaceError if it cannot be used. A missing one is empty if it is neither written nor `must_be_there`.
    """

    program = "from image_syncer.layout.layout_server import serve_layout; serve_layout()"

    def __init__(self, registry: str, unix_socket: str, *, writes: bool, must_be_there: bool = True) -> None:
        super().__init__(
            behaviour=Behaviour(max_manifest_bytes=MAX_MANIFEST_BYTES, strict_state=False),
            unix_socket=unix_socket,
            storage={"registry": registry, "writes": writes, "must_be_there": must_be_there},
        )
        self.registry = registry
        self.writes = writes

    def start(self) -> None:
        """Start the process and wait until it answers. Raises PlaceError."""
        try:
            super().start()
        except OSError as error:
            raise PlaceError.parse(str(error)) from None

    def finish(self) -> None:
        """Let the storage build its result, however long that takes, and end the process. Raises PlaceError."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):
            child.stdin.write(FINISH)
            child.stdin.flush()
        with suppress(BrokenPipeError):
            child.stdin.close()
        line = child.stdout.readline()
        self.stop()
        ended: dict[str, str] = orjson.loads(line) if line else {"error": "the process that serves it was killed"}
        if "error" in ended:
            raise PlaceError.parse(ended["error"])


def serve_layout() -> None:
    """Run the process."""
    serve_child(_open)


def _open(settings: dict[str, Any]) -> Storage:
    return open_storage(**settings["storage"])


class LastingLayoutServer(LayoutServer):
    """A layout server whose process is started again if it dies, for example for lack of memory.

    Requests wait meanwhile, as for a registry that is down. Content on the disk stays; running uploads are repeated.
    """

    keeps_listening = True

    def start(self) -> None:
        """Start the process, and a thread that watches it."""
        self._starting = threading.Lock()
        self._is_ending = False
        super().start()
        threading.Thread(target=self._watch, args=(self._running(),), daemon=True).start()

    def finish(self) -> None:
        """As `LayoutServer.finish`; the process is not started again."""
        with self._starting:
            self._is_ending = True
        super().finish()

    def stop(self) -> None:
        """Stop the process if it runs."""
        self._is_ending = True
        super().stop()

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        for number in range(1, _MOST_RESTARTS + 1):
            child.wait()
            with self._starting:
                if self._is_ending:
                    return
                _log.warning("place served anew", place=self.registry, exit_code=child.returncode, number=number)
                for pipe in (child.stdin, child.stdout):
                    if pipe is not None:
                        with suppress(OSError):
                            pipe.close()
                try:
                    super().start()
                except PlaceError as error:
                    _log.warning("place cannot be served any more", place=self.registry, error=str(error))
                    return
                child = self._running()
        child.wait()
        with self._starting:
            self._stop_listening()  # clients fail from now on
