"""StreamedCopy: carries out what the pipe's state machine says, for one leased blob.

It starts and stops the transfers, hands their ends to the machine as events, un-pauses after each round of libcurl, and
watches for silence. The bytes go from libcurl to the stream and back, and never pass here.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.registry.capabilities import KEEPS_PARTIAL
from image_syncer.scheduling import Arrival, BlobOutcome
from image_syncer.transfer.pipe import (
    Abandoned,
    CancelSession,
    Event,
    Instruction,
    Pipe,
    PipeState,
    SinkAccepted,
    SinkFailed,
    SinkOutcome,
    SinkPresent,
    SinkReady,
    SourceAnswered,
    SourceFailed,
    SourceVerified,
    StartSink,
    StartSource,
    StopSink,
    StopSource,
    StreamRewound,
)
from image_syncer.transfer.stream import Stream
from image_syncer.transfer.watches import LagWatch
from image_syncer.worker.blob_copy import BlobCopy, may_pass
from image_syncer.worker.protocol import FellBehind, UploadOpened
from image_syncer.worker.upload import Sending, StreamFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from image_syncer.worker.context import Windows, WorkerContext
    from image_syncer.worker.protocol import LeaseJob


REREAD_BESIDE_OTHERS_BYTES = 64 * 2**20
"""What is read again at most for one destination while others wait; one that needs more gets a job of its own."""
LEAST_KEPT_BYTES = 2**20
"""With less, another try begins the upload anew instead of resuming it."""


class Step(Enum):
    """What a task of a copy does."""

    OPEN = "open the upload session"
    FETCH = "download"
    SEND = "upload"
    CANCEL = "cancel the upload session"


class TaskSet:
    """The tasks of one copy, by step and target (`FETCH` has none: -1). None outlives the copy.

    `on_crash` is called with an exception that a task ends with: an internal error.
    """

    def __init__(self, on_crash: Callable[[BaseException], None]) -> None:
        self._on_crash = on_crash
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[tuple[Step, int], asyncio.Task[None]] = {}

    def is_running(self, step: Step, target: int = -1) -> bool:
        """Whether the step is under way."""
        task = self._tasks.get((step, target))
        return task is not None and not task.done()

    def start(self, step: Step, work: Coroutine[None, None, None], target: int = -1) -> None:
        """Begin `work`."""
        key = (step, target)
        task = self._loop.create_task(work)
        self._tasks[key] = task
        task.add_done_callback(lambda done: self._on_end(key, done))

    def stop(self, step: Step, target: int = -1) -> None:
        """Cancel the step, unless it is the current task."""
        task = self._tasks.pop((step, target), None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    async def end(self) -> None:
        """Wait until sessions are cancelled, and cancel everything else."""
        awaited = [task for (step, _), task in self._tasks.items() if step is Step.CANCEL]
        if awaited:
            await asyncio.wait(awaited)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _on_end(self, key: tuple[Step, int], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and (crash := task.exception()) is not None:
            self._on_crash(crash)


class StreamedCopy(BlobCopy[Stream]):
    """Copies a blob through a ring to all its destinations at once. See `BlobCopy` for the arguments."""

    small = False

    def __init__(self, lease: LeaseJob, windows: Windows, context: WorkerContext) -> None:
        super().__init__(lease, windows, context)
        self._driver = context.client.transport.driver
        self._pipe = Pipe(len(lease.targets))
        self._fed_verified = False
        self._fed_answered = False
        self._ended = asyncio.Event()
        self._tasks = TaskSet(self._on_crash)
        self._flowing: dict[int, asyncio.Future[None]] = {}
        self._lag = LagWatch(context.lag_s) if lease.may_split else None
        self._split_off: set[int] = set()
        self._reported: set[int] = set()
        self._began = self._loop.time()
        self._crash: BaseException | None = None

    @property
    def waits(self) -> tuple[float, float, int]:
        """See `BlobCopy`."""
        if (stream := self._stream) is None:
            return (0.0, 0.0, 0)
        longest = max(sender.waited_s for sender in stream.senders)
        return stream.waited_s, longest, stream.pauses + sum(sender.pauses for sender in stream.senders)

    def abandon(self, error: SyncError) -> None:
        """See `BlobCopy`."""
        if self._pipe.state is not PipeState.ENDED:
            self._feed(Abandoned(error))
            for index in range(len(self._uploads)):  # an answer may have come that was not read yet
                self._tasks.stop(Step.OPEN, index)

    def tick(self, now: float) -> None:
        """See `BlobCopy`; slow streams are kept moving too."""
        stream = self._stream
        if self._pipe.state is PipeState.ENDED:
            return
        if self._download.easy is not None and (stream is None or not stream.verified):
            # Without a handle it waits for its turn or for a token: the source was not asked.
            waits = self._download.held_back or (stream is not None and stream.blocked)
            self._check_source(now, waits=waits)
        if stream is None:
            if (
                self._pipe.state is PipeState.OPENING
                and self._lease.may_split
                and now - self._began >= self._context.lag_s
            ):
                self._split(self._not_opened())
            return
        stream.hurry(now)
        self._check_destinations(stream, now)
        if self._lag is not None and not stream.verified:
            self._split(self._lag.look(stream, now))
        self._driver.settle()

    def settle(self) -> None:
        """Do what libcurl's callbacks found to be done; called by the driver between its rounds."""
        stream = self._stream
        if stream is None or self._pipe.state is PipeState.ENDED:
            return
        if not self._fed_answered and stream.fault is None:
            self._fed_answered = True
            self._feed(SourceAnswered())
        download, uploads = stream.attend()
        if stream.verified and not self._fed_verified:
            self._fed_verified = True
            self._feed(SourceVerified())
        if download and self._download.easy is not None:
            self._driver.resume(self._download.easy)
        for index in uploads:
            easy = self._uploads[index].easy
            if easy is not None:
                self._driver.resume(easy)
            elif (flowing := self._flowing.pop(index, None)) is not None and not flowing.done():
                flowing.set_result(None)

    async def _copy(self) -> list[BlobOutcome]:
        targets = range(len(self._uploads))
        try:
            for index in targets:
                self._tasks.start(Step.OPEN, self._open(index), index)
            await self._ended.wait()
            if self._crash is not None:
                raise self._crash
            return [self._outcome(index) for index in targets]
        finally:
            await self._tasks.end()

    def _not_opened(self) -> list[int]:
        """The destinations that have not answered yet, where another waits for them with an open session."""
        opening = [index for index in range(len(self._uploads)) if self._tasks.is_running(Step.OPEN, index)]
        waiting = any(outcome is None for index, outcome in enumerate(self._pipe.outcomes) if index not in opening)
        return opening if waiting else []

    def _split(self, targets: list[int]) -> None:
        """Leave targets that hold the others back to a job of their own, which can begin at once."""
        if not targets:
            return
        self._split_off.update(targets)
        for index in targets:
            self._tasks.stop(Step.OPEN, index)
            self._tasks.stop(Step.SEND, index)
            self._sink_failed(
                index, SyncError("destination too slow; its copy continues on its own", origin=Origin.DESTINATION)
            )
        self._context.send(FellBehind(self._lease.job_id, tuple(targets)))

    def _source_is_idle(self) -> bool:
        return self._stream is not None and self._stream.was_idle()

    def _make_stream(self, size: int) -> Stream:
        room = memoryview(self._window or bytearray(1))
        room = room[: max(1, min(size, len(room)))]
        on_due = partial(self._driver.due.append, self)
        stream = self._stream = Stream(
            self._digest,
            size,
            room,
            senders=len(self._uploads),
            signals=self._context.signals,
            on_due=on_due,
            clock=self._loop.time,
        )
        for index, outcome in enumerate(self._pipe.outcomes):
            if outcome is not None:
                stream.stop_sender(index)
            elif kept := self._uploads[index].kept:
                stream.senders[index].skip(kept)
        on_due()
        return stream

    def _report_session(self, target: int) -> None:
        """Report the address of a session, which may outlive this worker."""
        if (url := self._uploads[target].session_url) is not None:
            self._context.send(UploadOpened(self._lease.job_id, target, url))

    def _feed(self, event: Event) -> None:
        for instruction in self._pipe.handle(event):
            self._carry_out(instruction)
        if self._pipe.state is PipeState.ENDED:
            self._ended.set()
            return
        self._report_outcomes()

    def _carry_out(self, instruction: Instruction) -> None:
        if isinstance(instruction, StartSource):
            if not self._tasks.is_running(Step.FETCH):  # else it continues by itself where the stream is
                self._tasks.start(Step.FETCH, self._fetch())
        elif isinstance(instruction, StopSource):
            self._tasks.stop(Step.FETCH)
        elif isinstance(instruction, StartSink):
            self._tasks.start(Step.SEND, self._send(instruction.sink), instruction.sink)
        elif isinstance(instruction, StopSink):
            self._tasks.stop(Step.SEND, instruction.sink)
        elif isinstance(instruction, CancelSession) and not self._leaves_session(instruction.sink):
            self._tasks.start(Step.CANCEL, self._uploads[instruction.sink].cancel(), instruction.sink)

    async def _open(self, index: int) -> None:
        try:
            present = await self._uploads[index].open(self._lease.size)
        except SyncError as error:
            self._feed(SinkFailed(index, self._located(error, Origin.DESTINATION, index)))
        else:
            self._report_session(index)
            self._feed(SinkPresent(index) if present else SinkReady(index))

    async def _fetch(self) -> None:
        if self._lease.size == 0:
            self._make_stream(0)
            self._driver.settle()
            self._fail_source(self._stream.fault if self._stream else None)
            return
        try:
            if self._window is None:  # taken only when bytes will flow: what is mounted needs none
                self._window = await self._windows.lend()
            await self._download.run()
        except SyncError as error:
            self._fail_source(error)
        else:
            self._driver.settle()

    def _fail_source(self, error: SyncError | None) -> None:
        if error is not None and self._pipe.state in (PipeState.CONNECTING, PipeState.FLOWING):
            stream, whole = self._stream, frozenset[int]()
            if stream is not None and stream.fault is None:
                whole = frozenset(sender.index for sender in stream.senders if sender.sent == stream.size)
            self._feed(SourceFailed(self._located(error, Origin.SOURCE), whole))

    async def _send(self, index: int) -> None:
        stream, upload = self._stream, self._uploads[index]
        assert stream is not None
        sending = Sending(
            upload,
            StreamFeed(
                stream.senders[index],
                stream.size,
                seek=partial(self._seek, index),
                flowing=partial(self._wait_for_bytes, index),
            ),
            self._context,
            pieces_above=self._lease.targets[index].endpoint.pieces_above,
            on_session=partial(self._report_session, index),
            on_broken=lambda error: self._report_broken(index, error, idle=stream.senders[index].paused),
        )
        try:
            await sending.run()
        except SyncError as error:
            self._sink_failed(index, error)
        else:
            self._feed(SinkAccepted(index))

    async def _wait_for_bytes(self, index: int) -> None:
        """See `StreamFeed.flowing`."""
        assert self._stream is not None
        self._watch.sink_begins(index)
        if self._stream.senders[index].wait():
            flowing = self._flowing[index] = self._loop.create_future()
            await flowing

    def _seek(self, index: int, position: int) -> bool:
        """Give a target the bytes from `position` on: out of the ring, or else once more from the source."""
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
        self._fed_verified = False
        self._feed(StreamRewound())
        return True

    def _sink_failed(self, index: int, error: SyncError) -> None:
        if self._stream is not None:
            self._stream.stop_sender(index)
        self._feed(SinkFailed(index, self._located(error, Origin.DESTINATION, index)))

    def _on_crash(self, crash: BaseException) -> None:
        self._crash = crash
        self._ended.set()

    def _report_outcomes(self) -> None:
        """Report new outcomes, but not of targets that are split off to a job of their own."""
        for index, outcome in enumerate(self._pipe.outcomes):
            if outcome is not None and index not in self._reported and index not in self._split_off:
                self._reported.add(index)
                self._report_ended(index, self._outcome(index))

    def _leaves_session(self, index: int) -> bool:
        """Whether the target's session stays open, so that another try can resume it."""
        error, upload, stream = self._pipe.outcomes[index], self._uploads[index], self._stream
        if not isinstance(error, SyncError) or not may_pass(error):
            return False
        sent = stream.senders[index].sent if stream is not None else upload.kept
        return (
            sent >= LEAST_KEPT_BYTES and self._context.capabilities.known(upload.endpoint, KEEPS_PARTIAL) is not False
        )

    def _outcome(self, index: int) -> BlobOutcome:
        outcome, stream = self._pipe.outcomes[index], self._stream
        if isinstance(outcome, SyncError):
            stays = self._leaves_session(index)
            return BlobOutcome(None, 0, outcome, behind=index in self._split_off, session_stays=stays)
        if outcome is SinkOutcome.MOVED:
            return BlobOutcome(Arrival.MOVED, stream.size if stream else 0)
        return BlobOutcome(self._uploads[index].arrival_without_bytes)
