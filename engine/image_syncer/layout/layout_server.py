"""Gates: the process that serves one place to a run, as a registry on a Unix socket.

So everything that holds for registries holds for places: digests are verified, what is there is found, what broke off
goes on, and the report tells it. What comes from a file stays in that process: whoever copies between registries opens
none.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.behaviour import Behaviour
from image_syncer.embedded.process import FINISH, RegistryProcess, serve_child
from image_syncer.layout.openers import open_storage
from image_syncer.layout.place_error import PlaceError
from image_syncer.oci import MAX_MANIFEST_BYTES

if TYPE_CHECKING:
    from image_syncer.embedded import Storage

__all__ = ["LayoutServer", "serve_layout"]


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
