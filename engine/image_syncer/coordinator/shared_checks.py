"""Checks that several images share: each is made once. While it is under way, others wait for it; what was found right
is remembered, in bounded memory, and so is what was found wrong.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.errors import SyncError
from image_syncer.telemetry import Difference

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from image_syncer.oci import Digest, Repository

__all__ = ["Found", "Partly", "SharedChecks"]

MOST_WRONG = 10_000
"""Things found wrong that are remembered; the others are asked for again by the next image that names them."""

Found: TypeAlias = tuple[Difference, ...]
"""What is wrong; nothing where all is right."""


class Partly(Exception):  # noqa: N818 - carries what was found, and never leaves the check of an image
    """Something could not be checked, for `error`; `found` is what was found wrong beside it."""

    def __init__(self, found: Found, error: SyncError) -> None:
        super().__init__(str(error))
        self.found = found
        self.error = error


class SharedChecks:
    """Checks of one kind, of what repositories have under digests. At most `most_in_memory` that were right are kept in
    memory, the others in a file.
    """

    def __init__(self, most_in_memory: int) -> None:
        self._right = BoundedKnownBlobs(most_in_memory)
        self._wrong: dict[tuple[Repository, Digest], Found] = {}
        self._running: dict[tuple[Repository, Digest], asyncio.Future[Found]] = {}

    async def once(
        self, repository: Repository, digest: Digest, work: Callable[[], Coroutine[Any, Any, Found]]
    ) -> Found:
        """What `work` finds, or has found before, or is about to find for somebody else. Raises `Partly` or the
        `SyncError` that it ended with.
        """
        key = (repository, digest)
        if self._right.has(repository, digest):
            return ()
        known = self._wrong.get(key)
        if known is not None:
            return known
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.ensure_future(work())
            running.add_done_callback(lambda done: self._on_done(key, done))
        try:
            return await asyncio.shield(running)
        except Partly as partly:
            raise Partly(partly.found, partly.error.copy()) from None
        except SyncError as error:
            # Every waiter gets an error of its own, since each fills in its own place.
            raise error.copy() from error

    def give_up(self) -> list[asyncio.Future[Found]]:
        """Cancel those that are under way, which are returned."""
        running = list(self._running.values())
        for future in running:
            future.cancel()
        return running

    def close(self) -> None:
        """Forget what was right."""
        self._right.close()

    def _on_done(self, key: tuple[Repository, Digest], done: asyncio.Future[Found]) -> None:
        del self._running[key]
        if done.cancelled() or done.exception() is not None:
            return
        found = done.result()
        if not found:
            self._right.add(*key)
        elif len(self._wrong) < MOST_WRONG:
            self._wrong[key] = found
