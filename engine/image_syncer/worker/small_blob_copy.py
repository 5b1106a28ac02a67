"""The short way of a small blob: downloaded whole, verified, then sent. Three requests, and nothing between them waits.

Where a blob will probably have to be sent, its download starts together with the request for the upload session; where
it may be there already (`FreshRepositories` knows), the destination is asked first, so that no byte moves in vain.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.planning import Arrival, BlobOutcome
from image_syncer.transfer import SmallBlob
from image_syncer.worker.blob_copy import BlobCopy

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.net import RegistryClient
    from image_syncer.worker.buffers import Windows
    from image_syncer.worker.context import WorkerContext
    from image_syncer.worker.messages import LeaseJob, Message

__all__ = ["SmallBlobCopy"]


class SmallBlobCopy(BlobCopy[SmallBlob]):
    """Copies a small blob, whose size must be known. See `BlobCopy` for the arguments."""

    small = True

    def __init__(
        self,
        client: RegistryClient,
        lease: LeaseJob,
        windows: Windows,
        context: WorkerContext,
        say: Callable[[Message], None] = lambda _message: None,
    ) -> None:
        super().__init__(client, lease, windows, context, say)
        self._fresh = context.fresh
        self._outcomes: list[BlobOutcome | None] = [None] * len(lease.targets)
        self._source_fault: SyncError | None = None
        self._abandoned: SyncError | None = None
        self._fetching: asyncio.Task[None] | None = None

    def abandon(self, error: SyncError) -> None:
        """See `BlobCopy`."""
        self._abandoned = error
        self._download.break_off(error)
        for upload in self._uploads:
            upload.break_off(error)

    def tick(self, now: float) -> None:
        """See `BlobCopy`."""
        if self._stream is not None and self._stream.verified:
            self._download.break_off(SyncError("whatever comes after the last byte does not matter"))
        elif self._download.easy is not None:
            self._check_source(now, waits=self._download.held_back)
        if self._stream is not None:
            self._check_destinations(self._stream, now)

    async def _copy(self) -> list[BlobOutcome]:
        targets = self._lease.targets
        if self._fresh.expect(targets):
            self._fetching = self._loop.create_task(self._fetch())
        if len(targets) == 1:
            await self._bring(0)
        else:
            await asyncio.gather(*(self._bring(index) for index in range(len(targets))))
        outcomes = [outcome for outcome in self._outcomes if outcome is not None]
        for target, outcome in zip(targets, outcomes, strict=True):
            self._fresh.learn(target, outcome.arrival)
        return outcomes

    async def _end_transfers(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()  # it is no longer needed
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _make_stream(self, size: int) -> SmallBlob:
        self._stream = SmallBlob(
            self._digest,
            size,
            memoryview(self._window or b""),
            senders=len(self._uploads),
            signals=self._context.signals,
        )
        return self._stream

    async def _bring(self, index: int) -> None:
        """To one destination, which waits for no other: a session, the blob, which is fetched once, and the upload."""
        await self._open(index)
        if self._outcomes[index] is None:
            if self._fetching is None and len(self._outcomes) == 1:
                await self._fetch()
            else:
                self._fetching = self._fetching or self._loop.create_task(self._fetch())
                await asyncio.shield(self._fetching)
            await self._finish(index)
        outcome = self._outcomes[index]
        if outcome is not None and None in self._outcomes:
            self._say_ended(index, outcome)

    async def _open(self, index: int) -> None:
        try:
            present = await self._uploads[index].open_whole()
        except SyncError as error:
            self._fail(index, self._located(error, Origin.DESTINATION, index))
        else:
            if present:
                self._outcomes[index] = BlobOutcome(self._uploads[index].arrival_without_bytes)

    async def _fetch(self) -> None:
        """Download the blob; what is wrong with the source is left in `_source_fault`."""
        error: SyncError | None = None
        try:
            if self._lease.size == 0:
                error = self._make_stream(0).fault
            elif self._abandoned is None:
                self._window = await self._windows.lend()
                await self._download.run()
        except SyncError as found:
            error = found
        if error is not None:
            self._source_fault = self._located(error, Origin.SOURCE)

    async def _finish(self, index: int) -> None:
        """Send the blob to a destination that opened a session for it, or tell it that nothing will come."""
        error = self._abandoned or self._source_fault
        if error is None:
            error = await self._send(index)
        if error is not None:
            self._fail(index, error.copy())
            await self._uploads[index].cancel()

    async def _send(self, index: int) -> SyncError | None:
        upload, small_blob = self._uploads[index], self._stream
        assert small_blob is not None
        sender = small_blob.senders[index]
        try:
            try:
                await upload.put(sender, small_blob.size)
            except SyncError:
                if not upload.renewed:
                    raise
                # The token ran out while the blob was fetched. Its bytes are here, and a session is never used twice.
                await upload.cancel()
                sender.rewind()
                if await upload.open_new():
                    self._outcomes[index] = BlobOutcome(self._uploads[index].arrival_without_bytes)
                    return None
                await upload.put(sender, small_blob.size)
        except SyncError as error:
            return self._located(self._abandoned or error, Origin.DESTINATION, index)
        self._outcomes[index] = BlobOutcome(Arrival.MOVED, small_blob.size)
        return None

    def _fail(self, index: int, error: SyncError) -> None:
        self._outcomes[index] = BlobOutcome(None, 0, error)
