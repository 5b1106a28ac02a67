"""BlobCopy: one leased blob on its way from its source to its destinations.

What both ways of copying share is here: the download, the uploads, the watch for silence over them, the messages to the
coordinator while the blob moves, and the memory that is given back at the end. `StreamedCopy` sends the blob while it
arrives, through a ring; `SmallBlobCopy` downloads it whole before it sends it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from image_syncer.errors import (
    NotAskedError,
    Origin,
    RateLimitedError,
    SyncError,
    TransportError,
    UnavailableError,
)
from image_syncer.oci import Digest
from image_syncer.transfer import SilenceWatch
from image_syncer.worker.download import Download, length_differs
from image_syncer.worker.messages import FellBehind, SideBroke, TargetEnded, UploadOpened
from image_syncer.worker.upload import Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from mmap import mmap

    from image_syncer.net import RegistryClient
    from image_syncer.planning import BlobOutcome
    from image_syncer.transfer import SmallBlob, Stream
    from image_syncer.worker.buffers import Windows
    from image_syncer.worker.context import WorkerContext
    from image_syncer.worker.messages import LeaseJob, Message

__all__ = ["BlobCopy", "may_pass"]

_PASSING = (TransportError, UnavailableError, RateLimitedError, NotAskedError)

Receiver = TypeVar("Receiver", bound="Stream | SmallBlob")
"""What takes the bytes of the blob as they arrive."""


class BlobCopy(ABC, Generic[Receiver]):
    """Copies the blob of `lease` with memory of `windows`. Targets go by their numbers in the lease.

    `say` sends a message to the coordinator; without it, nothing is said.
    """

    small: ClassVar[bool]
    """Whether the blob is downloaded whole before it is sent."""

    def __init__(
        self,
        client: RegistryClient,
        lease: LeaseJob,
        windows: Windows,
        context: WorkerContext,
        say: Callable[[Message], None] = lambda _message: None,
    ) -> None:
        self._client = client
        self._lease = lease
        self._windows = windows
        self._context = context
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._digest = digest = Digest(lease.digest)
        self._window: mmap | None = None
        self._stream: Receiver | None = None
        self._uploads = [Upload(client, target, digest, context) for target in lease.targets]
        self._download = Download(
            client,
            lease.sources,
            digest,
            on_asked=self._on_asked,
            begin=self._on_begin,
            resumption=context.resumption(),
            on_broken=self._on_source_broken,
            small=self.small,
        )
        self._watch = SilenceWatch(len(lease.targets), stall_s=context.stall_s, answer_s=context.answer_s)

    @property
    def received(self) -> int:
        """Bytes that have come from the source."""
        return self._stream.received if self._stream is not None else 0

    @property
    def sent(self) -> list[int]:
        """Where each destination is in the blob."""
        return [sender.sent for sender in self._stream.senders] if self._stream is not None else []

    @property
    def waits(self) -> tuple[float, float, int]:
        """Seconds that the source was paused because the ring was full, seconds that the destination which waited
        longest was because it was empty, and how often either was.
        """
        return (0.0, 0.0, 0)

    async def run(self) -> list[BlobOutcome]:
        """Copy the blob; returns the outcome for each target when all of them have one and every transfer has ended."""
        try:
            return await self._copy()
        finally:
            await self._end_transfers()
            if self._stream is not None:
                self._stream.release()
            if self._window is not None:
                self._windows.give_back(self._window)

    @abstractmethod
    def abandon(self, error: SyncError) -> None:
        """The blob is no longer needed: targets without an outcome end with `error`."""

    @abstractmethod
    def tick(self, now: float) -> None:
        """A second has passed: look for silence. `now` in seconds."""

    @abstractmethod
    async def _copy(self) -> list[BlobOutcome]:
        """Return the outcome for each target."""

    @abstractmethod
    async def _end_transfers(self) -> None:
        """End all that is still under way; after it, nothing uses the memory any more."""

    @abstractmethod
    def _make_stream(self, size: int) -> Receiver:
        """Make `_stream` for a blob of `size` bytes; called from inside libcurl before its first byte comes."""

    def _source_is_idle(self) -> bool:
        """Whether the download waits for the uploads."""
        return False

    def _check_source(self, now: float, *, waits: bool) -> None:
        """Break the download off where it has been silent for too long, and does not wait for us. `now` in seconds."""
        silent = self._watch.source(self._download.progress, now, waits=waits)
        if silent is not None:
            self._download.break_off(self._silence(silent, Origin.SOURCE))

    def _check_destinations(self, stream: Receiver, now: float) -> None:
        """The same of the uploads, whose bytes come from `stream`."""
        for index, upload in enumerate(self._uploads):
            if upload.easy is None:
                continue
            silent = self._watch.sink(stream, index, now, waits=upload.held_back)
            if silent is not None:
                upload.break_off(self._silence(silent, Origin.DESTINATION, index))

    def _located(self, error: SyncError, origin: Origin, target: int = 0) -> SyncError:
        """`error`, which happened on the side `origin` unless it says otherwise, with repository and digest."""
        lease = self._lease
        if error.origin is Origin.LOCAL:
            error.origin = origin
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

    def _say_ended(self, target: int, outcome: BlobOutcome) -> None:
        """One target has ended before the others."""
        self._say(TargetEnded(self._lease.job_id, target, outcome))

    def _say_fell_behind(self, targets: Sequence[int]) -> None:
        """These targets are split off."""
        self._say(FellBehind(self._lease.job_id, tuple(targets)))

    def _say_session(self, target: int) -> None:
        """The address of a session that may outlive this worker."""
        if (url := self._uploads[target].session_url) is not None:
            self._say(UploadOpened(self._lease.job_id, target, url))

    def _say_broke(self, target: int | None, error: SyncError, *, idle: bool) -> None:
        """A side broke off, and goes on: a target, or None for the source. It was `idle` where it waited for the other
        side just then.
        """
        self._say(SideBroke(self._lease.job_id, target, error.to_data(), idle))

    def _on_source_broken(self, error: SyncError) -> None:
        self._say_broke(None, error, idle=self._source_is_idle())

    def _on_asked(self) -> None:
        self._watch.source_asked(self._download.progress, self._loop.time())

    def _on_begin(self, length: int | None) -> Receiver:
        size = self._lease.size if self._lease.size >= 0 else length
        if size is None:
            raise SyncError(
                "the source does not say how long the blob is, and neither does the manifest",
                origin=Origin.SOURCE,
            )
        if length is not None and length != size:
            raise length_differs(self._digest, size, length)
        return self._make_stream(size)


def may_pass(error: SyncError) -> bool:
    """Whether `error` is of the moment, and says nothing against the bytes that were sent before it."""
    return isinstance(error, _PASSING) and error.retryable
