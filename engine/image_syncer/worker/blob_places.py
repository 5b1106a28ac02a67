"""The places where a blob can be had: mirrors in their order, of which whatever goes wrong is no more than a reason to
ask the next one, and then the registry itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.errors import SyncError
    from image_syncer.planning.mirrors import Mirrors
    from image_syncer.worker.messages import Place

__all__ = ["BlobPlaces"]


class BlobPlaces:
    """Those of one blob; `mirrors` knows which of them failed lately."""

    def __init__(self, places: Sequence[Place], mirrors: Mirrors) -> None:
        self.here, *self.others = places
        """The one that is asked now, and those that are asked after it. Where there are none, it is the registry
        itself, and else a mirror.
        """
        self._mirrors = mirrors

    def pass_over(self) -> None:
        """Mirrors that failed lately are not asked."""
        now = asyncio.get_running_loop().time()
        while self.others and not self._mirrors.is_usable(self.here.endpoint.registry, now):
            self.here = self.others.pop(0)

    def leave(self, error: SyncError, *, wrong_bytes: bool) -> bool:
        """The place that was asked failed with `error`; whether another one is asked from now on. None is after the
        registry itself, nor where bytes that came were wrong: these are not begun again here, and who tries again asks
        no mirror.
        """
        if not self.others:
            return False
        registry = self.here.endpoint.registry
        self._mirrors.failed(registry, error, asyncio.get_running_loop().time())
        if wrong_bytes:
            error.hint = f"They came from the mirror {registry}, which is asked no more."
            return False
        self.here = self.others.pop(0)
        return True

    def came(self, size: int) -> None:
        """So many bytes of the blob came from this mirror."""
        self._mirrors.came(self.here.endpoint.registry, size)
