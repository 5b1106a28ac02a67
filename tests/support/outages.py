"""A registry that goes away and comes back on the same port, with what it had."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from image_syncer.embedded import MemoryStorage, serve_in_thread
from image_syncer.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.embedded import Behaviour, EmbeddedRegistry, Storage
    from image_syncer.telemetry import ImageResult


class Outage:
    """Serves until `begin`, and again from `end` on; to be closed by `close`."""

    def __init__(self, behaviour: Behaviour | None = None, storage: Storage | None = None) -> None:
        self._behaviour = behaviour
        self._storage = storage or MemoryStorage()
        self._stack = ExitStack()
        self._timer: threading.Timer | None = None
        self.registry = self._serve(0)

    def begin(self) -> None:
        """Connections are broken, and new ones refused."""
        self._stack.close()

    def end(self) -> None:
        """It is back."""
        self._serve(int(self.registry.address.rpartition(":")[2]))

    def begin_for(self, seconds: float) -> None:
        """Go away for so long."""
        self.begin()
        self._timer = threading.Timer(seconds, self.end)
        self._timer.start()

    def close(self) -> None:
        """Go away for good."""
        if self._timer is not None:
            self._timer.join()
        self._stack.close()

    def _serve(self, port: int) -> EmbeddedRegistry:
        for _ in range(50):
            try:
                return self._stack.enter_context(serve_in_thread(self._storage, self._behaviour, port=port))
            except (OSError, SyncError):
                threading.Event().wait(0.1)
        raise RuntimeError(f"port {port} cannot be had again")


def after(images: int, happens: Callable[[], None]) -> Callable[[ImageResult], None]:
    """For `on_image`: when so many images have ended, something happens."""
    left = [images]

    def on_image(_result: ImageResult) -> None:
        left[0] -= 1
        if left[0] == 0:
            happens()

    return on_image
