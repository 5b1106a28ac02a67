"""A watch as those see it who control its runs: whether it goes on, and when the next round is due."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.watch.status import WatchStatus

__all__ = ["WatchRounds"]


class WatchRounds(Struct):
    """`on_drain` wakes the watch, which ends with the round that is under way. See `Rounds`."""

    status: WatchStatus
    on_drain: Callable[[], None]
    is_draining: bool = False

    def drain(self) -> None:
        """Begin no further round."""
        self.is_draining = True
        self.on_drain()

    def as_data(self) -> dict[str, Any]:
        """See `WatchStatus`; the names of files in it are the user's own business, as is the socket."""
        return self.status.as_data(details=True)
