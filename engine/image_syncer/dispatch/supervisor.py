"""The supervisor of the workers: starts them, receives their messages, replaces those that die or fall silent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from image_syncer.dispatch.ending import tell_crash
from image_syncer.dispatch.worker_processes import LocalProcesses
from image_syncer.errors import SyncError, WorkerError, redact
from image_syncer.scheduling.retry import RestartBudget
from image_syncer.telemetry import get_logger
from image_syncer.worker.protocol import Crashed, Message, Ready, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.worker.protocol import Setup


STARTING_S = 60.0
"""A process may need long to start on a machine that is full."""
CHECKS = 15
"""Checks of every worker within the time of silence that is allowed."""
OVERSLEPT_CHECKS = 3
"""Where a check comes so late, this process was suspended (SIGSTOP), and that time does not count."""
RESTARTS_PER_WORKER = 5
RESTARTS_WITHIN_S = 600.0
"""Workers that are replaced within so long, for each that was asked for; where more die, the run continues with fewer,
and gives up without any.
"""

_log = get_logger(__name__)


class WorkerLink(Protocol):
    """One worker as the supervisor sees it; see `WorkerHandle`."""

    id: int
    heard_at: float
    ready: bool
    restarts: int
    crash_text: str

    @property
    def is_local(self) -> bool:
        """Whether its process runs on this machine, with this `pid`."""

    @property
    def name(self) -> str:
        """Its name in messages."""

    @property
    def pid(self) -> int | None:
        """The number of its process, where it is known."""

    @property
    def last_words(self) -> str:
        """The last line that it printed or reported before it ended; empty where there is none."""

    async def start(self, setup: Setup) -> None:
        """Start it with `setup`; raises OSError where that is not possible. A `kill` meanwhile ends the attempt."""

    def send(self, message: Message) -> None:
        """Send a message; nothing happens where it is gone."""

    def kill(self) -> None:
        """End it at once."""

    async def end(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds until it has ended, then kill it."""

    def how_it_ended(self) -> str:
        """How it ended, in words."""


class WorkerSource(Protocol):
    """Makes the workers of a supervisor: processes of this machine, or others with the same messages."""

    def make(
        self, identity: int, *, on_message: Callable[[int, Message], None], on_end: Callable[[int], None]
    ) -> WorkerLink:
        """A worker that is not started yet. `on_end` is called once, when it was started and is gone."""

    def take_warnings(self) -> list[str]:
        """Warnings about workers for the user, each once."""


class PoolListener(Protocol):
    """Receives what happens to workers."""

    def on_worker_ready(self, worker: int) -> None:
        """A worker can take jobs."""

    def on_worker_lost(self, worker: int, error: SyncError) -> None:
        """A worker is gone, with all that it held."""

    def on_worker_message(self, worker: int, message: Message) -> None:
        """A worker has sent a message."""

    def on_pool_exhausted(self, error: SyncError) -> None:
        """Too many workers have died: there will be no more."""


class Supervisor:
    """Keeps the workers alive that `grow` asked for, until `stop`. They come from `source` (None: local processes); one
    that sends nothing for `silence_s` is killed. `count`, the most workers that there will be, bounds the restarts.
    """

    def __init__(
        self, count: int, setup: Setup, listener: PoolListener, *, silence_s: float, source: WorkerSource | None = None
    ) -> None:
        self._source = source or LocalProcesses()
        self.count = 0
        """How many workers `grow` asked for."""
        self._setup = setup
        self._listener = listener
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self.links: dict[int, WorkerLink] = {}
        """The running workers by number."""
        self._next_id = 0
        self._restarts = RestartBudget(count * RESTARTS_PER_WORKER, RESTARTS_WITHIN_S)
        self._stopping = False
        self._checking: asyncio.Task[None] | None = None
        self._starting: set[asyncio.Task[None]] = set()
        self._places: list[int] = []
        """For each worker that is gone, how often it and those before it were replaced."""
        self._judged: dict[int, str] = {}

    @property
    def restarts(self) -> dict[int, int]:
        """The running workers by number, and how often each was replaced."""
        return {identity: handle.restarts for identity, handle in self.links.items()}

    @property
    def pids(self) -> tuple[int, ...]:
        """The running processes of this machine."""
        return tuple(handle.pid for handle in self.links.values() if handle.pid and handle.is_local)

    @property
    def replaced(self) -> int:
        """How many workers were started as replacements so far."""
        return max(0, self._next_id - self.count)

    def start(self) -> None:
        """Begin to watch over workers."""
        self._checking = self._loop.create_task(self._check())
        self._checking.add_done_callback(tell_crash)

    def grow(self, count: int) -> None:
        """Start workers until there are `count`; each announces itself when it is ready."""
        while self.count < count and not self._stopping:
            self.count += 1
            self._spawn()

    def send(self, worker: int, message: Message) -> None:
        """Send a message to one worker; nothing happens where it is gone."""
        handle = self.links.get(worker)
        if handle is not None:
            handle.send(message)

    def broadcast(self, message: Message, *, but: int | None = None) -> None:
        """Send a message to every worker that is ready, except `but`."""
        for identity, handle in self.links.items():
            if identity != but and handle.ready:
                handle.send(message)

    async def stop(self, grace_s: float) -> None:
        """End every worker: asked first, killed after `grace_s` seconds."""
        self._stopping = True
        if self._checking is not None:
            self._checking.cancel()
        for handle in self.links.values():
            if not handle.ready:
                handle.kill()  # one that still waits for its process gives up
        await asyncio.gather(*self._starting, return_exceptions=True)
        for handle in self.links.values():
            if handle.ready:
                handle.send(Stop())
            else:
                handle.kill()  # it holds nothing, and reads nothing before it has started
        await asyncio.gather(*(handle.end(grace_s) for handle in list(self.links.values())))
        self.links.clear()

    def forgive(self, restarts: int) -> None:
        """The last `restarts` restarts are not counted: their cause is gone."""
        self._restarts.forgive(restarts)

    def kill(self, worker: int, why: str) -> bool:
        """End one worker, which is replaced; False where it is gone."""
        handle = self.links.get(worker)
        if handle is not None:
            self._judged[worker] = f"was killed: {why}"
            handle.kill()
        return handle is not None

    def kill_all(self) -> None:
        """SIGKILL to every worker, without waiting."""
        self._stopping = True
        for handle in self.links.values():
            handle.kill()

    def _spawn(self) -> None:
        self._next_id += 1
        handle = self._source.make(self._next_id, on_message=self._on_message, on_end=self._on_end)
        handle.restarts = self._places.pop() if self._places else 0
        self.links[handle.id] = handle
        task = self._loop.create_task(self._start(handle))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _start(self, handle: WorkerLink) -> None:
        try:
            await handle.start(self._setup)
        except OSError as error:
            if self._stopping:
                return  # it was given up before it had started
            _log.error("worker cannot be started", worker=handle.id, reason=str(error))
            self._judged[handle.id] = f"could not be started: {error}"
            self._on_end(handle.id)

    def _on_message(self, worker: int, message: Message) -> None:
        handle = self.links.get(worker)
        if handle is None or self._stopping:
            return
        if isinstance(message, Ready):
            handle.ready = True
            _log.info("worker ready", worker=worker, pid=message.pid)
            self._listener.on_worker_ready(worker)
        elif isinstance(message, Crashed):
            handle.crash_text = message.text
        else:
            self._listener.on_worker_message(worker, message)

    def _on_end(self, worker: int) -> None:
        handle = self.links.get(worker)
        if handle is None or self._stopping:
            return
        del self.links[worker]
        self._places.append(handle.restarts + 1)
        why = self._judged.pop(worker, None) or handle.how_it_ended()
        if handle.last_words:
            why = f"{why}: {redact(handle.last_words)}"
        _log.warning("worker lost", worker=worker, pid=handle.pid, why=why)
        if handle.crash_text:
            _log.error("worker crashed", worker=worker, reason=handle.last_words)
            _log.debug("worker crashed", worker=worker, traceback=handle.crash_text)
        error = WorkerError(f"{handle.name} {why}")
        self._listener.on_worker_lost(worker, error)
        self._replace()
        if not self.links:
            self._listener.on_pool_exhausted(
                WorkerError(f"every worker process is gone, and too many had to be replaced; the last {why}")
            )

    def _replace(self) -> None:
        """Start as many workers as are missing and allowed."""
        while len(self.links) < self.count and not self._stopping and self._restarts.try_take(self._loop.time()):
            self._spawn()

    async def _check(self) -> None:
        pause_s = self._silence_s / CHECKS
        while True:
            before = self._loop.time()
            await asyncio.sleep(pause_s)
            now = self._loop.time()
            if now - before > OVERSLEPT_CHECKS * pause_s:
                _log.warning("this process stood still", seconds=round(now - before, 1))
                for handle in self.links.values():
                    handle.heard_at = now
                continue
            self._replace()  # what was not allowed before may be by now
            for handle in list(self.links.values()):
                silence = now - handle.heard_at
                if silence > (self._silence_s if handle.ready else STARTING_S):
                    self._judged[handle.id] = f"was silent for {silence:.0f} s and was killed"
                    handle.kill()
