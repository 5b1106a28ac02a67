"""Worker processes of this machine: forked from the zygote where there is one, else new interpreters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, TypeAlias

from image_syncer.dispatch.ending import tell_crash
from image_syncer.telemetry import get_logger
from image_syncer.worker.protocol import MessageChannel
from image_syncer.worker.zygote import readable, start_zygote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from image_syncer.worker.protocol import Message, Setup
    from image_syncer.worker.zygote import ForkedWorker, Zygote


REAP_S = 1.0
"""How long a process that has closed its socket may take to end by itself."""
LAST_WORDS_BYTES = 4096
"""What is kept of a worker's output: enough for the end of a traceback."""
LOOK_INTERVAL_S = 0.02
"""Between two looks at a process, where the system has no pidfd_open(2)."""
_START = "import sys; sys.path[:] = sys.argv[2:]; from image_syncer.worker.process import main; main(int(sys.argv[1]))"
"""A new interpreter with the import path of this one."""

_log = get_logger(__name__)


class WorkerHandle:
    """A worker process and the socket to it: a `WorkerLink`. Secrets go over the socket only.

    `on_message(id, message)` is called for each message, `on_end(id)` once, when the process is gone. What it prints
    (an interpreter that cannot start, a C library that gives up) goes to the log, not to the user's terminal.
    """

    def __init__(
        self,
        identity: int,
        launch: Launch,
        *,
        on_message: Callable[[int, Message], None],
        on_end: Callable[[int], None],
    ) -> None:
        self.id = identity
        self._launch = launch
        self._on_message = on_message
        self._on_end = on_end
        self._process: WorkerProcess | None = None
        self._launching: asyncio.Future[WorkerProcess] | None = None
        self._channel: MessageChannel | None = None
        self._listening: asyncio.Task[None] | None = None
        self._overhearing: asyncio.Task[None] | None = None
        self._output = b""
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()
        self.ready = False
        self.restarts = 0
        """How often the worker was replaced before."""
        self.crash_text = ""
        """The traceback that it sent before it ended, if it did."""

    is_local = True

    @property
    def name(self) -> str:
        """See `WorkerLink`."""
        return f"worker process {self.pid}"

    @property
    def pid(self) -> int | None:
        """The process's number; None before it was started."""
        return self._process.pid if self._process else None

    async def start(self, setup: Setup) -> None:
        """Start the process; raises OSError where the system has no room for it."""
        try:
            await self._start(setup)
        except EOFError:
            # A process may hold the other end of the socket: the next one has a socket of its own.
            await self._start(setup)

    async def _start(self, setup: Setup) -> None:
        ours, theirs = socket.socketpair()
        output, its_output = os.pipe()
        try:
            self._launching = asyncio.ensure_future(self._launch(theirs, its_output))
            self._process = await self._launching
        except asyncio.CancelledError as error:
            ours.close()
            os.close(output)
            raise InterruptedError("it was killed before it had started") from error
        except (OSError, EOFError):
            ours.close()
            os.close(output)
            raise
        finally:
            theirs.close()
            os.close(its_output)
        self._overhearing = self._loop.create_task(self._overhear(output))
        self._channel = MessageChannel(self._hear)
        await self._channel.connect(ours)
        self.send(setup)
        self._listening = self._loop.create_task(self._listen(self._channel))
        self._listening.add_done_callback(tell_crash)

    def send(self, message: Message) -> None:
        """Send a message; nothing happens where the worker is gone, which `on_end` reports."""
        if self._channel is not None:
            self._channel.send(message)

    def kill(self) -> None:
        """SIGKILL: a worker that is silent reads no message."""
        if self._process is not None:
            self._process.kill()
        elif self._launching is not None:
            self._launching.cancel()

    async def end(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds for the process to end by itself, then kill it; no zombie is left."""
        process = self._process
        if process is None:
            return
        if not await _within(grace_s, process):
            self.kill()
            await _within(REAP_S, process)
        if self._channel is not None:
            self._channel.close()
        tasks = [task for task in (self._listening, self._overhearing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def how_it_ended(self) -> str:
        """By which signal, or with which exit code it ended, in words."""
        code = self._process.exit_code if self._process else None
        if code is None:
            return "closed its connection"
        return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"

    @property
    def last_words(self) -> str:
        """The last line of its traceback, or of what it printed; empty where it ended silently."""
        text = self.crash_text or self._output.decode("utf-8", "replace")
        return text.strip().rpartition("\n")[2]

    def _hear(self, message: Message) -> None:
        self.heard_at = self._loop.time()
        self._on_message(self.id, message)

    async def _listen(self, channel: MessageChannel) -> None:
        try:
            await asyncio.shield(channel.ended)
        except Exception:  # noqa: BLE001 - an internal error; without a listener the run would never end
            self.crash_text = traceback.format_exc()
        channel.close()  # a worker that has crashed waits for this
        await self._reap()
        self._on_end(self.id)

    async def _overhear(self, output: int) -> None:
        """Keep what the process prints, until it is gone."""
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", buffering=0)
        )
        try:
            while chunk := await reader.read(LAST_WORDS_BYTES):
                self._output = (self._output + chunk)[-LAST_WORDS_BYTES:]
                _log.debug("worker output", worker=self.id, text=chunk.decode("utf-8", "replace"))
        finally:
            pipe.close()

    async def _reap(self) -> None:
        """Wait for the end of a process that has closed its socket, or kill it."""
        assert self._process is not None
        assert self._overhearing is not None
        await asyncio.wait((self._overhearing,), timeout=REAP_S)
        self.kill()
        await self._process.ended()

    def __repr__(self) -> str:
        return f"<WorkerHandle {self.id} pid {self.pid} {'ready' if self.ready else 'starting'} (we are {os.getpid()})>"


async def _within(seconds: float, process: WorkerProcess) -> bool:
    """Whether it has ended within so many seconds."""
    ending = asyncio.ensure_future(process.ended())
    await asyncio.wait((ending,), timeout=seconds)
    ending.cancel()
    return process.has_ended


WorkerProcess: TypeAlias = "ForkedWorker | SpawnedWorker"
Launch: TypeAlias = "Callable[[socket.socket, int], Awaitable[WorkerProcess]]"
"""Starts a worker on a socket, with its output to a descriptor; raises OSError where there is no room for it, and
EOFError to be tried once more with another socket.
"""


class SpawnedWorker:
    """A new interpreter that runs a worker on `worker_socket`; what it prints goes to `output`."""

    def __init__(self, worker_socket: socket.socket, output: int) -> None:
        fd = worker_socket.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, str(fd), *(entry for entry in sys.path if entry)],
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            close_fds=True,
        )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """See `ForkedWorker`."""
        return self._process.poll()

    @property
    def has_ended(self) -> bool:
        """See `ForkedWorker`."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """See `ForkedWorker`."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> None:
        """See `ForkedWorker`. The loop's child watcher would take SIGCHLD from the embedding program."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            pidfd = -1
        try:
            if pidfd >= 0:
                await readable(pidfd)
            while self._process.poll() is None:  # noqa: ASYNC110 - see above
                await asyncio.sleep(LOOK_INTERVAL_S)
        finally:
            if pidfd >= 0:
                os.close(pidfd)


_prepared: list[Zygote] = []
"""What `prepare_workers` has forked, until a run takes it."""


def prepare_workers() -> None:
    """Fork the process from which the next run of this process forks its workers.

    Call this before the program reads a password: a fork has everything that is in the memory of its parent, and no
    worker is to have a password. Without this call, and where forking is not possible (the process has threads or is in
    an event loop, the system has no pidfd_open(2), the environment has IMAGE_SYNCER_SPAWN), workers are new
    interpreters, each of which takes about 0.2 CPU seconds to start.
    """
    if not _prepared and (zygote := start_zygote()) is not None:
        _prepared.append(zygote)


@contextlib.contextmanager
def local_processes(*, wanted: bool = True) -> Iterator[LocalProcesses]:
    """The worker processes of a run; forked from what was prepared, if a worker is `wanted`."""
    zygote = _prepared.pop() if wanted and _prepared else None
    try:
        yield LocalProcesses(zygote)
    finally:
        if zygote is not None:
            zygote.close()


class LocalProcesses:
    """Processes of this machine, as a `WorkerSource`."""

    def __init__(self, zygote: Zygote | None = None) -> None:
        self._zygote = zygote

    def make(
        self, identity: int, *, on_message: Callable[[int, Message], None], on_end: Callable[[int], None]
    ) -> WorkerHandle:
        """See `WorkerSource`."""
        return WorkerHandle(identity, self._launch, on_message=on_message, on_end=on_end)

    def take_warnings(self) -> list[str]:
        """See `WorkerSource`: the logs have how they ended."""
        return []

    async def _launch(self, worker_socket: socket.socket, output: int) -> WorkerProcess:
        if self._zygote is not None and self._zygote.is_there:
            try:
                return await self._zygote.fork(worker_socket, output)
            except (EOFError, TimeoutError) as error:
                if self._zygote is not None:  # else another start has logged it
                    self._zygote = None
                    _log.warning("workers are not forked any more", reason=str(error))
                raise EOFError(str(error)) from error
        return SpawnedWorker(worker_socket, output)
