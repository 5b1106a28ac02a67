"""The worker process: takes leases from the coordinator over an inherited socket, and copies their blobs.

It ends when the coordinator says so, and when the socket closes because the coordinator is gone. It holds no password
and fetches no token: `RemoteAuthorizer` and `RemoteRequestLimiter` ask the coordinator.
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
from collections import Counter, deque
from functools import partial
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
    RetryRules,
    Throttle,
    Timeouts,
    Transport,
    shared_result,
)
from image_syncer.registry.capabilities import RegistryCapabilities
from image_syncer.scheduling import ONCE
from image_syncer.transfer.stream import Signals
from image_syncer.values import replace
from image_syncer.worker.blob_copy import SmallBlobCopy
from image_syncer.worker.context import Windows, WorkerContext
from image_syncer.worker.protocol import (
    AbandonJob,
    AllowanceReported,
    AuthorizationGiven,
    AuthorizationWanted,
    Beat,
    BytesGranted,
    BytesWanted,
    Crashed,
    JobEnded,
    Learnt,
    LeaseJob,
    Message,
    MessageChannel,
    Metering,
    Paced,
    Ready,
    Refused,
    RegistryPause,
    RequestsGranted,
    RequestsWanted,
    Setup,
    Stop,
)
from image_syncer.worker.streamed_copy import StreamedCopy

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from image_syncer.net import TallyRow
    from image_syncer.oci import Repository
    from image_syncer.registry import Allowance, Endpoint, Scope
    from image_syncer.worker.blob_copy import BlobCopy


LOW_PART = 0.2
"""Of the limit of a registry: with no more left, the coordinator is informed each time."""
BEAT_S = 0.5
"""Between two signs of life."""
LATE_S = 0.1
"""With a beat that comes so late, the machine is too busy to read answers in time: their times say nothing then."""
TICK_S = 1.0
"""Between two looks for silence."""
LONGEST_WAIT_S = 1.0
"""For a registry that asked for a pause: a job that would wait longer goes back, so that its slot is free."""
PATIENCE_S = 10.0
"""For an operation that a registry refuses (429) to the whole worker: after that the job goes back too."""
STOP_S = 1.0
"""For the cancellation of sessions when a worker stops; the coordinator kills it a little later."""
_CRASHED = 70  # EX_SOFTWARE of sysexits.h
_SIGNALS = Signals(
    pause_receive=pycurl.WRITEFUNC_PAUSE,
    pause_send=pycurl.READFUNC_PAUSE,
    abort_send=pycurl.READFUNC_ABORT,
)


class RemoteRequestLimiter:
    """See `image_syncer.net.RequestLimiter`. What is wanted within one turn of the loop goes into one message.

    Requests do not wait here for a registry that asked for a pause longer than `longest_wait_s`.
    """

    def __init__(
        self,
        throttle: Throttle,
        send: Callable[[RequestsWanted | Refused | AllowanceReported], None],
        *,
        longest_wait_s: float,
    ) -> None:
        self._throttle = throttle
        self._send = send
        self._longest_wait_s = longest_wait_s
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._unsent: dict[str, int] = {}
        self._reported: set[str] = set()
        throttle.turns = self

    async def take(self, registry: str) -> None:
        """See `RequestLimiter`."""
        turn: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(registry, deque()).append(turn)
        self._want(registry, 1)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.done() or turn.cancelled():
                self._want(registry, -1)
            raise

    def refused(self, registry: str, retry_after_s: float | None) -> None:
        """See `RequestLimiter`. Further requests wait for the coordinator, which knows for how long."""
        self._throttle.pace(registry)
        if retry_after_s:
            self._pause(registry, retry_after_s)
        self._send(Refused(registry, retry_after_s))

    def published(self, bucket: str, per_s: float) -> None:
        """See `RequestLimiter`: the coordinator knows it, since it asks a registry before any worker does."""

    def told(self, registry: str, allowance: Allowance) -> None:
        """See `RequestLimiter`. The coordinator is informed once, and whenever little is left."""
        low = allowance.remaining is not None and allowance.remaining <= (allowance.limit or 0) * LOW_PART
        if low or registry not in self._reported:
            self._reported.add(registry)
            self._send(AllowanceReported(registry, allowance))

    def on_given(self, message: RequestsGranted) -> None:
        """The coordinator granted turns."""
        self._wake(message.registry, message.turns)

    def on_paced(self, message: Paced) -> None:
        """A registry is paced from now on, or no longer."""
        self._throttle.pace(message.registry, paced=message.paced)
        if not message.paced:
            self._wake(message.registry)

    def on_pause(self, message: RegistryPause) -> None:
        """A registry asked another process for a pause."""
        self._pause(message.registry, message.seconds)

    def _pause(self, registry: str, seconds: float) -> None:
        if self._throttle.hold(registry, seconds, self._loop.time()) > self._longest_wait_s:
            given_up = self._wake(registry)
            if given_up:
                self._want(registry, -given_up)

    def _want(self, registry: str, turns: int) -> None:
        if not self._unsent:
            self._loop.call_soon(self._send_wanted)
        self._unsent[registry] = self._unsent.get(registry, 0) + turns

    def _send_wanted(self) -> None:
        wanted, self._unsent = self._unsent, {}
        for registry, turns in wanted.items():
            if turns:
                self._send(RequestsWanted(registry, turns))

    def _wake(self, registry: str, most: int | None = None) -> int:
        """Wake the requests that have waited longest, at most so many; returns how many were woken."""
        waiting = self._waiting.get(registry, ())
        woken = 0
        while waiting and woken != most:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                woken += 1
        return woken


_Key = tuple[str, "Repository | None", tuple["Scope", ...]]


class RemoteAuthorizer:
    """See `image_syncer.net.Authorizer`. Asks the coordinator, and keeps an answer for as long as it is usable."""

    def __init__(self, send: Callable[[AuthorizationWanted], None]) -> None:
        self._send = send
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
        """See `Authorizer`. All requests for the same authorization wait for one answer."""
        known = self.known(endpoint, repository, scopes)
        if known is not None:
            return known
        key = (endpoint.registry, repository, scopes)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = self._ask(endpoint, repository, scopes)
            asked.add_done_callback(lambda _done: self._asked.pop(key, None))
        return await shared_result(asked)

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: tuple[Scope, ...],
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """See `Authorizer`."""
        self._kept.pop((endpoint.registry, repository, scopes), None)
        refusal = {"renew": True, "rejected": rejected, "challenges": tuple(challenges)}
        return await shared_result(self._ask(endpoint, repository, scopes, **refusal))

    def answered(self, endpoint: Endpoint) -> None:
        """See `Authorizer`: the coordinator has asked the registry before."""

    def abandoned(self, endpoint: Endpoint) -> None:
        """See `Authorizer`: the coordinator has asked the registry before."""

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
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...], **refusal: Any
    ) -> asyncio.Future[Authorization]:
        """Ask the coordinator; `refusal` are fields of `AuthorizationWanted`."""
        self._next_id += 1
        future: asyncio.Future[Authorization] = self._loop.create_future()
        key = (endpoint.registry, repository, scopes)
        future.add_done_callback(lambda done: self._keep(key, done))
        self._waiting[self._next_id] = future
        self._send(AuthorizationWanted(self._next_id, endpoint.to_data(), repository, scopes, **refusal))
        return future

    def _keep(self, key: _Key, done: asyncio.Future[Authorization]) -> None:
        if not done.cancelled() and done.exception() is None:
            given = done.result()
            self._kept[key] = (given, self._loop.time() + given.usable_s)


class Worker:
    """Takes leases from one coordinator and carries them out on one multi handle."""

    def __init__(self, channel: MessageChannel, setup: Setup) -> None:
        self._channel = channel
        self._setup = setup
        self._loop = asyncio.get_running_loop()
        self._driver = CurlDriver(kept_connections=4 * setup.streams + 2 * setup.small_blobs)
        timeouts = Timeouts(connect_s=setup.connect_timeout_s, stall_s=setup.stall_timeout_s)
        self._transport = transport = Transport(self._driver, timeouts)
        self._budgets = budgets = ByteBudgets(
            self._driver,
            metered=setup.metered,
            want=lambda registry, sending: self._send(BytesWanted(registry, sending)),
            give_back=lambda registry, sending, size: self._send(BytesGranted(registry, sending, size)),
        )
        if setup.tallied:
            transport.tally = RequestTally()
        if setup.metered:
            transport.budgets = budgets
        self._windows = Windows(setup.window_bytes, setup.streams)
        self._small_blobs = Windows(setup.small_blob_bytes, max(1, setup.small_blobs))
        throttle, authorizer = Throttle(), RemoteAuthorizer(self._send)
        turns = RemoteRequestLimiter(throttle, self._send, longest_wait_s=LONGEST_WAIT_S)
        self._context = self._new_context(throttle, authorizer)
        capabilities = self._context.capabilities
        self._on: dict[type[Message], Callable[[Any], None]] = {
            LeaseJob: self._on_lease,
            AbandonJob: self._on_abandon,
            AuthorizationGiven: authorizer.on_given,
            RegistryPause: turns.on_pause,
            RequestsGranted: turns.on_given,
            Paced: turns.on_paced,
            BytesGranted: lambda granted: budgets.put(granted.registry, granted.size, sending=granted.sending),
            Metering: self._on_metering,
            Learnt: lambda learnt: capabilities.told(learnt.registry, learnt.fact, learnt.value),
        }
        """The handlers of messages."""
        self._copies: dict[int, BlobCopy[Any]] = {}
        self._ends: Counter[int] = Counter()
        """Transfers that ended, by job."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashed = asyncio.Event()
        self._stopped = asyncio.Event()
        channel.on_message = self._on_message

    def _new_context(self, throttle: Throttle, authorizer: RemoteAuthorizer) -> WorkerContext:
        setup = self._setup
        # A job is tried once here: the scheduler decides how often and when it is tried again.
        client = RegistryClient(
            self._transport,
            authorizer,
            throttle,
            RetryRules(replace(ONCE, longest_wait_s=LONGEST_WAIT_S), random.random, patience_s=PATIENCE_S),
            on_pause=lambda registry, seconds: self._send(RegistryPause(registry, seconds)),
        )
        return WorkerContext(
            client,
            _SIGNALS,
            stall_s=setup.stall_timeout_s,
            answer_s=setup.answer_timeout_s,
            lag_s=setup.fan_out_lag_s,
            policy=setup.resume,
            chance=random.random,
            clock=self._loop.time,
            send=self._send,
            capabilities=RegistryCapabilities(
                on_learnt=lambda registry, fact, value: self._send(Learnt(registry, fact, value))
            ),
        )

    async def run(self) -> None:
        """Work until the coordinator says stop or is gone; an internal error ends the process."""
        self._loop.set_exception_handler(self._on_loop_error)
        hook, sys.excepthook = sys.excepthook, self._on_callback_error
        self._send(Ready(os.getpid()))
        pulse = self._loop.create_task(self._guard(self._beat()))
        ends: list[asyncio.Future[Any]] = [self._loop.create_task(one.wait()) for one in (self._stopped, self._crashed)]
        await asyncio.wait((self._channel.ended, *ends), return_when=asyncio.FIRST_COMPLETED)
        pulse.cancel()
        if self._channel.ended.done() and (error := self._channel.ended.exception()) is not None:
            self._crash(error)
        if self._crashed.is_set():
            # A socket that is closed with unread messages in it may lose what it sent: the coordinator closes first.
            self._channel.close(reading=True)
            await asyncio.wait((self._channel.ended,), timeout=STOP_S)
            os._exit(_CRASHED)
        await self._close()
        sys.excepthook = hook

    def _on_message(self, message: Message) -> None:
        if isinstance(message, Stop):
            self._stopped.set()
        elif not self._crashed.is_set():
            self._on[type(message)](message)  # a message for the coordinator is an internal error

    def _on_lease(self, message: LeaseJob) -> None:
        task = self._loop.create_task(self._copy(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_abandon(self, message: AbandonJob) -> None:
        if (copy := self._copies.get(message.job_id)) is not None:
            copy.abandon(SyncError.from_data(message.error))

    def _on_metering(self, message: Metering) -> None:
        self._budgets.metered |= {message.registry}
        self._transport.begin_metering(self._budgets)

    async def _copy(self, lease: LeaseJob) -> None:
        setup, job = self._setup, lease.job_id
        try:
            small = setup.small_blobs and 0 <= lease.size <= setup.small_blob_bytes
            kind, windows = (SmallBlobCopy, self._small_blobs) if small else (StreamedCopy, self._windows)
            copy = self._copies[job] = kind(lease, windows, self._context)
            ON_TRANSFER_END.set(partial(self._ends.update, (job,)))
            outcomes = await copy.run()
            requests, mirrored, tally = self._take_counts()
            self._send(JobEnded(job, tuple(outcomes), requests, *copy.waits, mirrored=mirrored, tally=tally))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            self._crash(error)
        finally:
            self._copies.pop(job, None)
            del self._ends[job]  # a Counter takes a missing key

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported
            self._crash(error)

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the loop has raised, or a task that nothing awaits."""
        if (error := context.get("exception")) is not None:
            self._crash(error)

    def _on_callback_error(self, _kind: type[BaseException], error: BaseException, _trace: object) -> None:
        """A callback of libcurl has raised: pycurl prints that (PyErr_Print calls sys.excepthook) and continues."""
        self._crash(error)

    def _crash(self, error: BaseException) -> None:
        """Report an internal error, and end the process: its state is unknown now."""
        try:
            self._send(Crashed(redact("".join(traceback.format_exception(error)))))
            self._crashed.set()
        except MemoryError:  # a worker that stays without memory to report it would only be silent
            os._exit(_CRASHED)

    async def _beat(self) -> None:
        ticked = self._loop.time()
        while True:
            due = self._loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            now = self._loop.time()
            self._budgets.tidy()
            self._send_progress(late=now > due + LATE_S)
            if now - ticked >= TICK_S:
                ticked = now
                for copy in list(self._copies.values()):
                    copy.tick(now)

    def _send_progress(self, *, late: bool) -> None:
        answer_s = self._transport.take_answer_times()
        copies, ends = self._copies.items(), self._ends
        received = {str(job): copy.received for job, copy in copies}
        sent = {str(job): copy.sent for job, copy in copies}
        signs = {job: received[job] + sum(sent[job]) + ends[int(job)] for job in sent}
        requests, mirrored, tally = self._take_counts()
        told = sent if self._setup.tallied else {}
        self._send(Beat(requests, received, {} if late else answer_s, signs, mirrored, tally, told))

    def _take_counts(self) -> tuple[dict[str, int], dict[str, list[int]], list[TallyRow]]:
        """Requests, what mirrors gave, and the tally, since they were last taken."""
        transport = self._transport
        requests = dict(transport.requests)
        transport.requests.clear()
        tally = [] if transport.tally is None else transport.tally.take()
        mirrors = self._context.client.mirrors
        return requests, mirrors.take_counts() if mirrors.counts else {}, tally

    def _send(self, message: Message) -> None:
        if not self._crashed.is_set():
            self._channel.send(message)

    async def _close(self) -> None:
        """Break everything off. Sessions are cancelled, as far as `STOP_S` allows."""
        for copy in list(self._copies.values()):
            copy.abandon(SyncError("the run is being stopped"))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._driver.close()
        self._channel.close()


async def work(fd: int) -> None:
    """Be a worker on the socket `fd` until the coordinator says stop or is gone. An internal error ends the process."""
    first: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()

    def begin(message: Message) -> None:
        if not isinstance(message, Setup):
            raise SyncError(f"a worker must get its setup first, not {type(message).__name__}")
        first.set_result(Worker(channel, message))

    channel = MessageChannel(begin)
    await channel.connect(socket.socket(fileno=fd))
    await asyncio.wait((first, channel.ended), return_when=asyncio.FIRST_COMPLETED)
    if first.done():
        await first.result().run()
    else:
        channel.ended.result()


def main(fd: int) -> None:
    """Run `work` in a process of its own."""
    # A core file of a worker would have tokens in it, and bytes of images.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    # Ctrl-C goes to the whole foreground group, and so does the end of the terminal; the coordinator decides what
    # follows from it.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(work(fd))
