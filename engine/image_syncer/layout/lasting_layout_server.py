"""A layout server whose process is started again if it dies. Meanwhile requests wait, as for a registry that is down.

What the process had put on the disk is there; what was on its way is sent again.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from image_syncer.layout.layout_server import LayoutServer
from image_syncer.layout.place_error import PlaceError
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    import subprocess

__all__ = ["LastingLayoutServer"]

_MOST_RESTARTS = 3
"""One that dies again and again has no memory, or an internal error: the run is to say so."""

_log = get_logger(__name__)


class LastingLayoutServer(LayoutServer):
    """As `LayoutServer`. Its process may be killed, by the kernel that has no memory left for example."""

    keeps_listening = True

    def start(self) -> None:
        """Start the process, and a thread that looks after it."""
        self._may_begin = threading.Lock()
        self._is_ending = False
        super().start()
        threading.Thread(target=self._look_after, args=(self._running(),), daemon=True).start()

    def finish(self) -> None:
        """As `LayoutServer.finish`: from now on the process may end."""
        with self._may_begin:
            self._is_ending = True
        super().finish()

    def stop(self) -> None:
        """End the process; nothing happens where none runs."""
        self._is_ending = True
        super().stop()

    def _look_after(self, child: subprocess.Popen[bytes]) -> None:
        for number in range(1, _MOST_RESTARTS + 1):
            child.wait()
            with self._may_begin:
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
        with self._may_begin:
            self._stop_listening()  # nobody is to wait any more
