"""The mover: carries out what the pipe's state machine says, for one leased blob.

It starts and stops the transfers, hands their ends to the machine as events, un-pauses after each round of libcurl, and
watches for silence. The bytes themselves go from libcurl to the stream and back, and never come by here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.transfer import (
    Abandoned,
    CancelSession,
    Event,
    Instruction,
    LagWatch,
    Pipe,
    PipeState,
    SinkAccepted,
    SinkFailed,
    SinkPresent,
    SinkReady,
    SourceAnswered,
    SourceFailed,
    SourceVerified,
    StartSink,
    StartSource,
    StopSink,
    StopSource,
    Stream,
    StreamRewound,
)
from image_syncer.worker.failures import located
from image_syncer.worker.job_news import JobNews
from image_syncer.worker.outcomes import Outcomes
from image_syncer.worker.sending import Sending, StreamFeed
from image_syncer.worker.sides import Sides
from image_syncer.worker.task_set import TaskSet

if TYPE_CHECKING:
    from mmap import mmap

    from image_syncer.net import RegistryClient
    from image_syncer.oci import Digest
    from image_syncer.planning import TargetResult
    from image_syncer.worker.buffers import Windows
    from image_syncer.worker.context import WorkerContext
    from image_syncer.worker.messages import LeaseJob

__all__ = ["Mover"]

REREAD_BESIDE_OTHERS_BYTES = 64 * 2**20
"""So much may be read again for one destination while others wait; one that needs more gets a job of its own."""


class Mover:
    """One blob on its way; `run` returns a result for each target of the lease. `news` is told what happens meanwhile
    (None: nobody wants to know).
    """

    def __init__(
        self,
        client: RegistryClient,
        lease: LeaseJob,
        digest: Digest,
        windows: Windows,
        terms: WorkerContext,
        news: JobNews | None = None,
    ) -> None:
        self._client = client
        self._lease = lease
        self._digest = digest
        self._windows = windows
        self._window: mmap | None = None
        self._terms = terms
        self._loop = asyncio.get_running_loop()
        self._pipe = Pipe(len(lease.targets))
        self._sides = Sides(client, lease, digest, terms, begin=self._make_stream, on_broken=self._on_source_broken)
        self._uploads, self._download = self._sides.uploads, self._sides.download
        self._stream: Stream | None = None
        self._told_verified = False
        self._told_answered = False
        self._ended = asyncio.Event()
        self._tasks = TaskSet(self._on_crash)
        self._flowing: dict[int, asyncio.Future[None]] = {}
        self._lag = LagWatch(terms.lag_s) if lease.may_split else None
        self._news = news or JobNews(lease.job_id)
        self._outcomes = Outcomes(self._pipe, self._uploads, terms.habits, self._news)
        self._began = self._loop.time()
        self._crash: BaseException | None = None

    @property
    def received(self) -> int:
        """Bytes that have come from the source."""
        return self._stream.received if self._stream else 0

    @property
    def sent(self) -> list[int]:
        """Where each destination is in the blob."""
        return [sender.sent for sender in self._stream.senders] if self._stream else []

    @property
    def waits(self) -> tuple[float, float, int]:
        """Seconds that the source was paused because the ring was full, seconds that the destination which waited
        longest was because it was empty, and how often either was.
        """
        if (stream := self._stream) is None:
            return (0.0, 0.0, 0)
        longest = max(sender.waited_s for sender in stream.senders)
        return stream.waited_s, longest, stream.pauses + sum(sender.pauses for sender in stream.senders)

    async def run(self) -> list[TargetResult]:
        """Move the blob; returns when every target has an outcome and every transfer has ended."""
        for index in range(len(self._uploads)):
            self._tasks.spawn(f"open {index}", self._open(index))
        try:
            await self._ended.wait()
        finally:
            await self._clear()
        if self._crash is not None:
            raise self._crash
        return [self._outcomes.result(index, self._stream) for index in range(len(self._uploads))]

    def abandon(self, error: SyncError) -> None:
        """Nobody wants the blob any more."""
        if self._pipe.state is not PipeState.ENDED:
            self._feed(Abandoned(error))
            for index in range(len(self._uploads)):  # an answer may have come that nobody has looked at yet
                self._tasks.stop(f"open {index}")

    def tick(self, now: float) -> None:
        """A second has passed: let slow streams flow, and look for silence. `now` in seconds."""
        stream = self._stream
        if self._pipe.state is PipeState.ENDED:
            return
        if self._download.easy is not None and (stream is None or not stream.verified):
            # Without a handle it waits for its turn or for a token, and the source was not asked.
            waits = self._download.held_back or (stream is not None and stream.blocked)
            self._sides.look_at_source(now, waits=waits)
        if stream is None:
            if (
                self._pipe.state is PipeState.OPENING
                and self._lease.may_split
                and now - self._began >= self._terms.lag_s
            ):
                self._split_off(self._not_opened())
            return
        stream.hurry(now)
        self._sides.look_at_destinations(stream, now)
        if self._lag is not None and not stream.verified:
            self._split_off(self._lag.look(stream, now))
        self._client.transport.driver.settle()

    def _not_opened(self) -> list[int]:
        """The destinations that have not answered yet, where another waits for them with a session that stands."""
        opening = [index for index in range(len(self._uploads)) if f"open {index}" in self._tasks]
        waiting = any(outcome is None for index, outcome in enumerate(self._pipe.outcomes) if index not in opening)
        return opening if waiting else []

    def _split_off(self, targets: list[int]) -> None:
        """These hold the others back: they get the blob in a job of their own, which can begin at once."""
        if not targets:
            return
        self._outcomes.split_off(targets)
        for index in targets:
            self._tasks.stop(f"open {index}")
            self._tasks.stop(f"sink {index}")
            self._sink_failed(
                index, SyncError("destination too slow; its copy continues on its own", origin=Origin.DESTINATION)
            )
        self._news.fell_behind(targets)

    def settle(self) -> None:
        """Do what libcurl's callbacks found to be done; called by the driver between its rounds."""
        stream = self._stream
        if stream is None or self._pipe.state is PipeState.ENDED:
            return
        if not self._told_answered and stream.fault is None:
            self._told_answered = True
            self._feed(SourceAnswered())
        download, uploads = stream.attend()
        if stream.verified and not self._told_verified:
            self._told_verified = True
            self._feed(SourceVerified())
        driver = self._client.transport.driver
        if download and self._download.easy is not None:
            driver.resume(self._download.easy)
        for index in uploads:
            easy = self._uploads[index].easy
            if easy is not None:
                driver.resume(easy)
            elif (flowing := self._flowing.pop(index, None)) is not None and not flowing.done():
                flowing.set_result(None)

    def _on_source_broken(self, error: SyncError) -> None:
        self._news.side_broke(None, error, idle=self._stream is not None and self._stream.stood_idle())

    def _make_stream(self, size: int) -> Stream:
        room = memoryview(self._window or bytearray(1))
        room = room[: max(1, min(size, len(room)))]
        stream = self._stream = Stream(
            self._digest,
            size,
            room,
            senders=len(self._uploads),
            signals=self._terms.signals,
            on_due=self._note_due,
            clock=self._loop.time,
        )
        for index, outcome in enumerate(self._pipe.outcomes):
            if outcome is not None:
                stream.stop_sender(index)
            elif kept := self._uploads[index].kept:
                stream.senders[index].skip(kept)
        self._note_due()
        return stream

    def _note_due(self) -> None:
        self._client.transport.driver.due.append(self)

    def _feed(self, event: Event) -> None:
        for instruction in self._pipe.handle(event):
            self._carry_out(instruction)
        if self._pipe.state is PipeState.ENDED:
            self._ended.set()
            return
        self._outcomes.tell(self._stream)

    def _carry_out(self, instruction: Instruction) -> None:
        if isinstance(instruction, StartSource):
            if "source" not in self._tasks:  # else it goes on by itself, where the stream is
                self._tasks.spawn("source", self._fetch())
        elif isinstance(instruction, StopSource):
            self._tasks.stop("source")
        elif isinstance(instruction, StartSink):
            self._tasks.spawn(f"sink {instruction.sink}", self._send(instruction.sink))
        elif isinstance(instruction, StopSink):
            self._tasks.stop(f"sink {instruction.sink}")
        elif isinstance(instruction, CancelSession) and not self._outcomes.leaves_session(
            instruction.sink, self._stream
        ):
            self._tasks.spawn(f"cancel {instruction.sink}", self._uploads[instruction.sink].cancel())

    async def _open(self, index: int) -> None:
        try:
            present = await self._uploads[index].open(self._lease.size)
        except SyncError as error:
            self._feed(SinkFailed(index, located(error, self._lease, Origin.DESTINATION, index)))
        else:
            self._tell_session(index)
            self._feed(SinkPresent(index) if present else SinkReady(index))

    async def _fetch(self) -> None:
        if self._lease.size == 0:
            self._make_stream(0)
            self._client.transport.driver.settle()
            self._fail_source(self._stream.fault if self._stream else None)
            return
        try:
            if self._window is None:  # not before it is sure that bytes will flow: what is mounted needs none
                self._window = await self._windows.lend()
            await self._download.run()
        except SyncError as error:
            self._fail_source(error)
        else:
            self._client.transport.driver.settle()

    def _fail_source(self, error: SyncError | None) -> None:
        if error is not None and self._pipe.state in (PipeState.CONNECTING, PipeState.FLOWING):
            stream, whole = self._stream, frozenset[int]()
            if stream is not None and stream.fault is None:
                whole = frozenset(sender.index for sender in stream.senders if sender.sent == stream.size)
            self._feed(SourceFailed(located(error, self._lease, Origin.SOURCE), whole))

    async def _send(self, index: int) -> None:
        stream, upload = self._stream, self._uploads[index]
        assert stream is not None
        sending = Sending(
            upload,
            StreamFeed(stream.senders[index], stream.size, seek=self._seek, flowing=self._wait_for_bytes),
            self._terms.habits,
            self._terms.resumption(),
            pieces_above=self._lease.targets[index].endpoint.pieces_above,
            on_session=lambda: self._tell_session(index),
            on_broken=lambda error: self._news.side_broke(index, error, idle=stream.senders[index].paused),
        )
        try:
            await sending.run()
        except SyncError as error:
            self._sink_failed(index, error)
        else:
            self._feed(SinkAccepted(index))

    def _tell_session(self, index: int) -> None:
        if (url := self._uploads[index].session_url) is not None:
            self._news.upload_opened(index, url)

    async def _wait_for_bytes(self, index: int) -> None:
        """Returns when there is something to send to this target, see `StreamFeed.flowing`."""
        assert self._stream is not None
        self._sides.watch.sink_begins(index)
        if self._stream.senders[index].wait():
            flowing = self._flowing[index] = self._loop.create_future()
            await flowing

    def _seek(self, index: int, position: int) -> bool:
        """Let a target have the bytes from `position` on: out of the ring, or else once more from the source."""
        stream = self._stream
        assert stream is not None
        if stream.senders[index].seek(position):
            return True
        if stream.senders[index].stopped or self._pipe.state not in (PipeState.FLOWING, PipeState.DRAINING):
            return False
        others = any(outcome is None for at, outcome in enumerate(self._pipe.outcomes) if at != index)
        if others and stream.received - stream.read_again_from(position) > REREAD_BESIDE_OTHERS_BYTES:
            return False
        self._download.halt()
        stream.rewind(position)
        stream.senders[index].skip(position)
        self._told_verified = False
        self._feed(StreamRewound())
        return True

    def _sink_failed(self, index: int, error: SyncError) -> None:
        if self._stream is not None:
            self._stream.stop_sender(index)
        self._feed(SinkFailed(index, located(error, self._lease, Origin.DESTINATION, index)))

    def _on_crash(self, crash: BaseException) -> None:
        self._crash = crash
        self._ended.set()

    async def _clear(self) -> None:
        """Wait for the cancelled sessions, break off what is left, and give the window back."""
        await self._tasks.clear(wait_for="cancel")
        if self._stream is not None:
            self._stream.release()
        if self._window is not None:
            self._windows.give_back(self._window)
