"""Gates: the process that serves one place to a run, as a registry on a Unix socket.

So everything that holds for registries holds for places: digests are verified, what is there is found, what broke off
goes on, and the report tells it. What comes from a file stays in that process: whoever copies between registries opens
none.

How a place of each kind becomes a storage.

A place that is not there yet.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.process import FINISH, RegistryProcess, serve_child
from image_syncer.layout.docker_archive import DockerArchive
from image_syncer.layout.index_file import IndexFile
from image_syncer.layout.layout_storage import LayoutStorage
from image_syncer.layout.named_storage import NamedStorage
from image_syncer.layout.oci_archive import OciArchive
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.written_archive import WrittenArchive
from image_syncer.oci import MAX_MANIFEST_BYTES, split_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.embedded import Storage
    from image_syncer.embedded.upload import BlobReader
    from image_syncer.oci import Digest

__all__ = ["OPENERS", "EmptyStorage", "LayoutServer", "open_storage", "serve_layout"]


class EmptyStorage(NamedStorage):
    """Has nothing, and takes nothing: what a plan looks at where a copy would make the place."""

    def __init__(self, place: str) -> None:
        super().__init__(place, IndexFile(None, place))

    def content_size(self, digest: Digest) -> int | None:  # noqa: ARG002
        """None."""
        return None

    def open_content(self, digest: Digest) -> BlobReader | None:  # noqa: ARG002
        """None."""
        return None


def _open_layout(path: str, registry: str, *, writes: bool) -> Storage:
    return LayoutStorage(path, writes=writes, place=registry)


def _open_oci_archive(path: str, registry: str, *, writes: bool) -> Storage:
    return WrittenArchive(path, registry) if writes else OciArchive(path, registry)


def _open_docker_archive(path: str, registry: str, *, writes: bool) -> Storage:
    if writes:
        raise PlaceError("archives of docker are read, and not written", "write oci-archive:FILE")
    return DockerArchive(path, registry)


OPENERS: dict[str, Callable[..., Storage]] = {
    "oci": _open_layout,
    "oci-archive": _open_oci_archive,
    "docker-archive": _open_docker_archive,
}
"""By the kind of a place, what opens it: called with its path, the place for people, and whether it is written. Raises
PlaceError.
"""


def open_storage(registry: str, *, writes: bool, must_be_there: bool) -> Storage:
    """The storage of a place: an empty one where it is not there, is not written, and need not be there. Raises
    PlaceError where it cannot be used.
    """
    place = split_place(registry)
    if place is None or place.kind not in OPENERS:
        raise PlaceError(f"{registry} is nothing that can be opened")
    if not (writes or must_be_there or Path(place.path).exists()):
        return EmptyStorage(registry)
    return OPENERS[place.kind](place.path, registry, writes=writes)


class LayoutServer(RegistryProcess):
    """Serves the place `registry` ("oci:/data/mirror") at the Unix socket `unix_socket`, until `finish` or `stop`.

    `start` raises PlaceError where the place cannot be used. One that is neither written nor `must_be_there` may be
    missing, and is empty then.
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
        """Let the storage make what it makes of all that came, however long that takes, and end the process. Raises
        PlaceError where it could not.
        """
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
    """What the process runs."""
    serve_child(_open)


def _open(settings: dict[str, Any]) -> Storage:
    return open_storage(**settings["storage"])
