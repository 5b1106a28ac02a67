"""BlobCopy: one leased blob on its way from its source to its destinations.

`BlobCopy` has what both ways of copying share. `StreamedCopy` sends the blob through a ring while it arrives.
`SmallBlobCopy` downloads it whole before it sends it: three requests without a wait between them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from image_syncer.errors import NotAskedError, Origin, RateLimitedError, SyncError, TransportError, UnavailableError
from image_syncer.scheduling import Arrival, BlobOutcome
from image_syncer.transfer.stream import SmallBlob
from image_syncer.transfer.watches import SilenceWatch
from image_syncer.worker.download import Download
from image_syncer.worker.protocol import SideBroke, TargetEnded
from image_syncer.worker.upload import Upload

if TYPE_CHECKING:
    from mmap import mmap

    from image_syncer.transfer.stream import Stream
    from image_syncer.worker.context import Windows, WorkerContext
    from image_syncer.worker.protocol import LeaseJob


_PASSING = (TransportError, UnavailableError, RateLimitedError, NotAskedError)

Receiver = TypeVar("Receiver", bound="Stream | SmallBlob")
"""Takes the bytes of the blob as they arrive."""


class BlobCopy(ABC, Generic[Receiver]):
    """Copies the blob of `lease` with memory of `windows`. Targets go by their numbers in the lease.

    It has the download, the uploads, the watch for silence, and the messages to the coordinator while the blob moves.
    """

    small: ClassVar[bool]
    """Whether the blob is downloaded whole before it is sent."""

    def __init__(self, lease: LeaseJob, windows: Windows, context: WorkerContext) -> None:
        self._lease = lease
        self._windows = windows
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._digest = lease.digest
        self._window: mmap | None = None
        self._stream: Receiver | None = None
        self._watch = SilenceWatch(len(lease.targets), stall_s=context.stall_s, answer_s=context.answer_s)
        self._uploads = [Upload(target, lease.digest, context, small=self.small) for target in lease.targets]
        self._download = Download(
            lease,
            context,
            begin=self._make_stream,
            on_broken=lambda error: self._report_broken(None, error, idle=self._source_is_idle()),
            small=self.small,
        )

    @property
    def received(self) -> int:
        """Bytes that have come from the source."""
        return self._stream.received if self._stream is not None else 0

    @property
    def sent(self) -> list[int]:
        """Bytes that were sent to each destination."""
        return [sender.sent for sender in self._stream.senders] if self._stream is not None else []

    @property
    def waits(self) -> tuple[float, float, int]:
        """Seconds that the source was paused because the ring was full, seconds that a destination was paused because
        it was empty (the longest), and the number of pauses.
        """
        return (0.0, 0.0, 0)

    async def run(self) -> list[BlobOutcome]:
        """Copy the blob; returns the outcome for each target."""
        try:
            return await self._copy()
        finally:
            if self._stream is not None:
                self._stream.release()
            if self._window is not None:
                self._windows.give_back(self._window)

    @abstractmethod
    def abandon(self, error: SyncError) -> None:
        """Give the copy up: targets without an outcome end with `error`."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """Look for silence; called once a second. `now` in seconds."""

    @abstractmethod
    async def _copy(self) -> list[BlobOutcome]:
        """Return the outcome for each target, when every transfer has ended and nothing uses the memory any more."""

    @abstractmethod
    def _make_stream(self, size: int) -> Receiver:
        """Set `_stream` for a blob of `size` bytes; called from inside libcurl before the first byte arrives."""

    def _source_is_idle(self) -> bool:
        """Whether the download waits for the uploads."""
        return False

    def _check_source(self, now: float, *, waits: bool) -> None:
        """Break the download off where it has been silent for too long, unless it `waits` for the uploads."""
        download = self._download
        silent = self._watch.source(download.progress, now, asked=download.asked, waits=waits)
        if silent is not None:
            download.break_off(self._silence(silent, Origin.SOURCE))

    def _check_destinations(self, stream: Receiver, now: float) -> None:
        """The same for the uploads, whose bytes come from `stream`."""
        for index, upload in enumerate(self._uploads):
            if upload.easy is None:
                continue
            silent = self._watch.sink(stream, index, now, waits=upload.held_back)
            if silent is not None:
                upload.break_off(self._silence(silent, Origin.DESTINATION, index))

    def _located(self, error: SyncError, origin: Origin, target: int = 0) -> SyncError:
        """`error` with repository and digest, and with the side `origin` unless it has one."""
        lease = self._lease
        error = error.located(origin=origin)
        repository = lease.source.repository if error.origin is Origin.SOURCE else lease.targets[target].repository
        return error.located(repository=str(repository), digest=lease.digest, operation="copy blob")

    def _silence(self, seconds: float, origin: Origin, target: int = 0) -> SyncError:
        error = TransportError(
            f"next to nothing moved for {seconds:.0f} s",
            phase="timeout",
            origin=origin,
            hint="The registry, or the way to it, is silent.",
        )
        return self._located(error, origin, target)

    def _report_ended(self, target: int, outcome: BlobOutcome) -> None:
        self._context.send(TargetEnded(self._lease.job_id, target, outcome))

    def _report_broken(self, target: int | None, error: SyncError, *, idle: bool) -> None:
        """Report that a side broke off and is resumed: a target, or None for the source."""
        self._context.send(SideBroke(self._lease.job_id, target, error.to_data(), idle))


def may_pass(error: SyncError) -> bool:
    """Whether `error` is temporary, and does not put the bytes in doubt that were sent before it."""
    return isinstance(error, _PASSING) and error.retryable


class SmallBlobCopy(BlobCopy[SmallBlob]):
    """Copies a small blob, whose size must be known. See `BlobCopy` for the arguments.

    Where the blob will probably have to be sent, its download starts together with the request for the upload session;
    where it may be there already (`FreshRepositories`), the destination is asked first, so that no byte moves in vain.
    """

    small = True

    def __init__(self, lease: LeaseJob, windows: Windows, context: WorkerContext) -> None:
        super().__init__(lease, windows, context)
        self._left = len(lease.targets)
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
            self._download.break_off(SyncError("what comes after the last byte does not matter"))
        elif self._download.easy is not None:
            self._check_source(now, waits=self._download.held_back)
        if self._stream is not None:
            self._check_destinations(self._stream, now)

    async def _copy(self) -> list[BlobOutcome]:
        targets, fresh = self._lease.targets, self._context.fresh
        try:
            if fresh.expect(targets):
                self._fetching = self._loop.create_task(self._fetch())
            if len(targets) == 1:
                outcomes = [await self._bring(0)]
            else:
                outcomes = await asyncio.gather(*(self._bring_and_report(index) for index in range(len(targets))))
        finally:
            if self._fetching is not None and not self._fetching.done():
                self._fetching.cancel()
                await asyncio.gather(self._fetching, return_exceptions=True)
        for target, outcome in zip(targets, outcomes, strict=True):
            fresh.learn(target, outcome.arrival)
        return outcomes

    def _make_stream(self, size: int) -> SmallBlob:
        self._stream = SmallBlob(
            self._digest,
            size,
            memoryview(self._window or bytearray()),
            senders=len(self._uploads),
            signals=self._context.signals,
        )
        return self._stream

    async def _bring(self, index: int) -> BlobOutcome:
        """Bring the blob to one destination, which waits for no other: open a session, fetch the blob once, send it."""
        upload = self._uploads[index]
        try:
            if await upload.open(None):
                return BlobOutcome(upload.arrival_without_bytes)
        except SyncError as failed:
            return BlobOutcome(None, 0, self._located(failed, Origin.DESTINATION, index))
        self._fetching = self._fetching or self._loop.create_task(self._fetch())
        await self._fetching
        error, small_blob = self._abandoned or self._source_fault, self._stream
        if error is None:
            assert small_blob is not None
            sender = small_blob.senders[index]
            try:
                try:
                    await upload.put(sender, small_blob.size)
                except SyncError:
                    if not upload.renewed:
                        raise
                    # The token ran out while the blob was fetched. Its bytes are here; a session is never used twice.
                    await upload.cancel()
                    sender.rewind()
                    if await upload.open(None):
                        return BlobOutcome(upload.arrival_without_bytes)
                    await upload.put(sender, small_blob.size)
                return BlobOutcome(Arrival.MOVED, small_blob.size)
            except SyncError as failed:
                error = self._located(self._abandoned or failed, Origin.DESTINATION, index)
        await upload.cancel()
        return BlobOutcome(None, 0, error)

    async def _bring_and_report(self, index: int) -> BlobOutcome:
        """`_bring`, and report its outcome while other destinations have none."""
        outcome = await self._bring(index)
        self._left -= 1
        if self._left:
            self._report_ended(index, outcome)
        return outcome

    async def _fetch(self) -> None:
        """Download the blob; an error of the source goes to `_source_fault`."""
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
