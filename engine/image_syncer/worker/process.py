"""The worker process: messages in, pipes run, messages out.

It is started with nothing but the number of an inherited socket. It ends when told to, and when the coordinator is
gone: the socket closes then, however that came about.

A worker's authorizer: it holds no password and fetches no token, it asks the coordinator.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import socket
import sys
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

import pycurl
import uvloop

from image_syncer.errors import SyncError, keep_out, redact
from image_syncer.net import (
    ON_TRANSFER_END,
    Authorization,
    ByteBudgets,
    CurlDriver,
    RegistryClient,
    RequestTally,
    Throttle,
    Timeouts,
    Transport,
    shared_result,
)
from image_syncer.planning import ONCE
from image_syncer.registry.capabilities import RegistryCapabilities
from image_syncer.transfer import Signals
from image_syncer.values import replace
from image_syncer.worker.buffers import Windows
from image_syncer.worker.context import WorkerContext
from image_syncer.worker.messages import (
    AbandonJob,
    AuthorizationGiven,
    AuthorizationWanted,
    Beat,
    Crashed,
    JobEnded,
    Learnt,
    LeaseJob,
    LeaveAlone,
    Message,
    Ready,
    Setup,
    Stop,
)
from image_syncer.worker.pacing_messages import BytesGranted, BytesWanted, Metering, Paced, RequestsGranted
from image_syncer.worker.remote_request_limiter import RemoteRequestLimiter
from image_syncer.worker.small_blob_copy import SmallBlobCopy
from image_syncer.worker.streamed_copy import StreamedCopy
from image_syncer.worker.wire import encode, read_message

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from image_syncer.net import TallyRow
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Scope
    from image_syncer.worker.blob_copy import BlobCopy

__all__ = ["BEAT_S", "RemoteAuthorizer", "Worker", "main", "work"]


_Key = tuple[str, "Repository | None", tuple["Scope", ...]]


class RemoteAuthorizer:
    """See `image_syncer.net.Authorizer`. What the coordinator gave is used until it says that it must be renewed."""

    def __init__(self, say: Callable[[AuthorizationWanted], None]) -> None:
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._kept: dict[_Key, tuple[Authorization, float]] = {}
        self._asked: dict[_Key, asyncio.Future[Authorization]] = {}
        self._waiting: dict[int, asyncio.Future[Authorization]] = {}
        self._next_id = 0

    def known(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization | None:
        """See `Authorizer`."""
        kept = self._kept.get((endpoint.registry, repository, scopes))
        return kept[0] if kept is not None and kept[1] > self._loop.time() else None

    async def authorize(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization:
        """See `Authorizer`. One question goes out, however many wait for its answer."""
        known = self.known(endpoint, repository, scopes)
        if known is not None:
            return known
        key = (endpoint.registry, repository, scopes)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._ask(key, endpoint, renew=False, rejected=None, challenges=())
            self._asked[key] = asked
            asked.add_done_callback(lambda _done: self._asked.pop(key, None))
        return await self._answer(asked)

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: tuple[Scope, ...],
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """See `Authorizer`."""
        key = (endpoint.registry, repository, scopes)
        self._kept.pop(key, None)
        return await self._answer(self._ask(key, endpoint, renew=True, rejected=rejected, challenges=tuple(challenges)))

    def answered(self, endpoint: Endpoint) -> None:
        """See `Authorizer`: the coordinator has been there before."""

    def abandoned(self, endpoint: Endpoint) -> None:
        """See `Authorizer`: the coordinator has been there before."""

    def on_given(self, message: AuthorizationGiven) -> None:
        """The coordinator has answered."""
        future = self._waiting.pop(message.request_id, None)
        if future is None or future.done():
            return
        if message.error is not None:
            future.set_exception(SyncError.from_data(message.error))
        else:
            keep_out((message.value or "").partition(" ")[2], passing=True)
            future.set_result(Authorization(message.value, message.usable_s))

    def _ask(
        self, key: _Key, endpoint: Endpoint, *, renew: bool, rejected: str | None, challenges: tuple[str, ...]
    ) -> asyncio.Future[Authorization]:
        self._next_id += 1
        future: asyncio.Future[Authorization] = self._loop.create_future()
        future.add_done_callback(lambda done: self._keep(key, done))
        self._waiting[self._next_id] = future
        _, repository, scopes = key
        self._say(
            AuthorizationWanted(
                self._next_id,
                endpoint.to_data(),
                repository,
                scopes,
                renew=renew,
                rejected=rejected,
                challenges=challenges,
            )
        )
        return future

    async def _answer(self, future: asyncio.Future[Authorization]) -> Authorization:
        return await shared_result(future)

    def _keep(self, key: _Key, done: asyncio.Future[Authorization]) -> None:
        if not done.cancelled() and done.exception() is None:
            given = done.result()
            self._kept[key] = (given, self._loop.time() + given.usable_s)


BEAT_S = 0.5
"""Between two signs of life."""
LATE_S = 0.1
"""A beat that comes so late tells of a machine that is too busy to read answers in time: how long they took is ours."""
TICK_S = 1.0
"""Between two looks for silence."""
LONGEST_WAIT_S = 1.0
"""For a registry that asked to be left alone: a job that would wait longer goes back, and keeps nobody's slot."""
PATIENCE_S = 10.0
"""For an operation that a registry refuses (429) and lets through for nobody here: then the job goes back too."""
STOP_S = 1.0
"""For the courtesies of a worker that is told to stop; the coordinator kills it a little later."""
_CRASHED = 70  # EX_SOFTWARE of sysexits.h
_SIGNALS = Signals(
    pause_receive=pycurl.WRITEFUNC_PAUSE,
    pause_send=pycurl.READFUNC_PAUSE,
    abort_send=pycurl.READFUNC_ABORT,
)


class Worker:
    """Takes leases from one coordinator and carries them out on one multi handle."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, setup: Setup) -> None:
        self._reader = reader
        self._writer = writer
        self._setup = setup
        self._loop = asyncio.get_running_loop()
        timeouts = Timeouts(connect_s=setup.connect_timeout_s, stall_s=setup.stall_timeout_s)
        self._driver = CurlDriver(kept_connections=4 * setup.streams + 2 * setup.small_blobs)
        self._transport = Transport(self._driver, timeouts)
        self._budgets = ByteBudgets(
            self._driver,
            metered=setup.metered,
            want=lambda registry, sending: self._say(BytesWanted(registry, sending)),
            give_back=lambda registry, sending, size: self._say(BytesGranted(registry, sending, size)),
        )
        if setup.tallied:
            self._transport.tally = RequestTally()
        if setup.metered:
            self._transport.budgets = self._budgets
        self._authorizer = RemoteAuthorizer(self._say)
        self._throttle = Throttle()
        self._turns = RemoteRequestLimiter(self._throttle, self._say, longest_wait_s=LONGEST_WAIT_S)
        # A job is tried once here: how often, and when again, is the scheduler's to say.
        self._client = RegistryClient(
            self._transport,
            self._authorizer,
            self._throttle,
            retry=replace(ONCE, longest_wait_s=LONGEST_WAIT_S),
            chance=random.random,
            on_pause=lambda registry, seconds: self._say(LeaveAlone(registry, seconds)),
            patience_s=PATIENCE_S,
        )
        self._windows = Windows(setup.window_bytes, setup.streams)
        self._small_blobs = Windows(setup.small_blob_bytes, max(1, setup.small_blobs))
        self._capabilities = RegistryCapabilities(
            on_learnt=lambda registry, fact, value: self._say(Learnt(registry, fact, value))
        )
        self._context = WorkerContext(
            signals=_SIGNALS,
            stall_s=setup.stall_timeout_s,
            answer_s=setup.answer_timeout_s,
            lag_s=setup.fan_out_lag_s,
            policy=setup.resume,
            chance=random.random,
            clock=self._loop.time,
            capabilities=self._capabilities,
        )
        self._on: dict[type[Message], Callable[[Any], None]] = {
            LeaseJob: self._on_lease,
            AbandonJob: self._on_abandon,
            AuthorizationGiven: self._authorizer.on_given,
            LeaveAlone: self._turns.on_leave_alone,
            RequestsGranted: self._turns.on_given,
            Paced: self._turns.on_paced,
            BytesGranted: self._on_bytes,
            Metering: self._on_metering,
            Learnt: self._on_learnt,
        }
        """What is done with each message."""
        self._copies: dict[int, BlobCopy[Any]] = {}
        self._ends: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashed = asyncio.Event()

    async def run(self) -> None:
        """Work until the coordinator says stop or is gone; an internal error ends the process."""
        self._loop.set_exception_handler(self._on_loop_error)
        hook, sys.excepthook = sys.excepthook, self._on_callback_error
        self._say(Ready(os.getpid()))
        pulse = self._loop.create_task(self._guard(self._beat()))
        listening = self._loop.create_task(self._guard(self._listen()))
        crashed = self._loop.create_task(self._crashed.wait())
        await asyncio.wait((listening, crashed), return_when=asyncio.FIRST_COMPLETED)
        pulse.cancel()
        if self._crashed.is_set():
            # A socket that is closed with unread messages in it may lose what it sent: the coordinator closes first.
            self._writer.write_eof()
            await asyncio.wait((listening,), timeout=STOP_S)
            os._exit(_CRASHED)
        await self._close()
        sys.excepthook = hook

    async def _listen(self) -> None:
        while True:
            message = await read_message(self._reader)
            if message is None or isinstance(message, Stop):
                return
            if not self._crashed.is_set():
                self._on[type(message)](message)  # a message for the coordinator is an internal error

    def _on_lease(self, message: LeaseJob) -> None:
        task = self._loop.create_task(self._guard(self._move(message)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_abandon(self, message: AbandonJob) -> None:
        if (copy := self._copies.get(message.job_id)) is not None:
            copy.abandon(SyncError.from_data(message.error))

    def _on_bytes(self, message: BytesGranted) -> None:
        self._budgets.put(message.registry, message.size, sending=message.sending)

    def _on_metering(self, message: Metering) -> None:
        self._budgets.metered |= {message.registry}
        self._transport.begin_metering(self._budgets)

    def _on_learnt(self, message: Learnt) -> None:
        self._capabilities.told(message.registry, message.fact, message.value)

    async def _move(self, lease: LeaseJob) -> None:
        copy = self._make_copy(lease)
        self._copies[lease.job_id] = copy
        ON_TRANSFER_END.set(lambda: self._ends.update((lease.job_id,)))
        try:
            outcomes = await copy.run()
        finally:
            del self._copies[lease.job_id]
            del self._ends[lease.job_id]
        source_waited_s, destination_waited_s, pauses = copy.waits
        self._say(
            JobEnded(
                lease.job_id,
                tuple(outcomes),
                self._take_requests(),
                source_waited_s,
                destination_waited_s,
                pauses,
                self._client.mirrors.take_counts(),
                self._take_tally(),
            )
        )

    def _make_copy(self, lease: LeaseJob) -> BlobCopy[Any]:
        setup = self._setup
        if setup.small_blobs and 0 <= lease.size <= setup.small_blob_bytes:
            return SmallBlobCopy(self._client, lease, self._small_blobs, self._context, self._say)
        return StreamedCopy(self._client, lease, self._windows, self._context, self._say)

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            self._crash(error)

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the loop has raised, or a task that nobody asks."""
        if (error := context.get("exception")) is not None:
            self._crash(error)

    def _on_callback_error(self, _kind: type[BaseException], error: BaseException, _trace: object) -> None:
        """A callback of libcurl has raised: pycurl prints that (PyErr_Print calls sys.excepthook) and goes on."""
        self._crash(error)

    def _crash(self, error: BaseException) -> None:
        """An internal error: the last thing that is said. The process ends, since nobody knows what still holds."""
        try:
            self._say(Crashed(redact("".join(traceback.format_exception(error)))))
            self._crashed.set()
        except MemoryError:  # not even for that is there memory; a worker that stays would only be silent
            os._exit(_CRASHED)

    async def _beat(self) -> None:
        ticked = self._loop.time()
        while True:
            due = self._loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            now = self._loop.time()
            self._budgets.tidy()
            self._say_progress(late=now > due + LATE_S)
            if now - ticked >= TICK_S:
                ticked = now
                for copy in list(self._copies.values()):
                    copy.tick(now)

    def _say_progress(self, *, late: bool) -> None:
        answer_s = self._transport.take_answer_times()
        copies, ends = self._copies.items(), self._ends
        received = {str(job): copy.received for job, copy in copies}
        sent = {str(job): copy.sent for job, copy in copies}
        signs = {job: received[job] + sum(sent[job]) + ends[int(job)] for job in sent}
        mirrored = self._client.mirrors.take_counts()
        made, tally = self._take_requests(), self._take_tally()
        told = sent if self._setup.tallied else {}
        self._say(Beat(made, received, {} if late else answer_s, signs, mirrored, tally, told))

    def _take_requests(self) -> dict[str, int]:
        """What was sent since this was asked last."""
        made = dict(self._transport.requests)
        self._transport.requests.clear()
        return made

    def _take_tally(self) -> list[TallyRow]:
        return [] if self._transport.tally is None else self._transport.tally.take()

    def _say(self, message: Message) -> None:
        if not self._writer.is_closing() and not self._crashed.is_set():
            self._writer.write(encode(message))

    async def _close(self) -> None:
        """Break everything off. The registries are told that their sessions will not be used, if that goes quickly."""
        for copy in list(self._copies.values()):
            copy.abandon(SyncError("the run is being stopped"))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._driver.close()
        self._writer.close()


async def work(fd: int) -> None:
    """Be a worker on the socket `fd`, until told to stop, or whoever has its other end is gone. An internal error ends
    the whole process.
    """
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd))
    setup = await read_message(reader)
    if setup is None:
        return
    if not isinstance(setup, Setup):
        raise SyncError(f"a worker must be told its setup first, not {type(setup).__name__}")
    await Worker(reader, writer, setup).run()


def main(fd: int) -> None:
    """Run a worker on the inherited socket `fd` until it is told to stop, or the coordinator is gone."""
    # A core file of a worker would have tokens in it, and bytes of images.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # Ctrl-C goes to the whole foreground group, and so does the end of the terminal; what follows from it is the
    # coordinator's to say.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(work(fd))
