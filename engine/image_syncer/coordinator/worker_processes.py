"""Worker processes of this machine: forked from the zygote where there is one, else new interpreters."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol, TypeAlias

from image_syncer.coordinator.worker_handle import WorkerHandle
from image_syncer.telemetry import get_logger
from image_syncer.worker.zygote import readable, start_zygote

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from image_syncer.worker.messages import Message
    from image_syncer.worker.zygote import Zygote

__all__ = ["Launch", "LocalProcesses", "SpawnedWorker", "WorkerProcess", "local_processes", "prepare_workers"]

_START = "import sys; sys.path[:] = sys.argv[2:]; from image_syncer.worker.process import main; main(int(sys.argv[1]))"
"""A new interpreter with our own import path."""
LOOK_INTERVAL_S = 0.02
"""Between two looks at a process, where the system has no pidfd_open(2)."""

_log = get_logger(__name__)


class WorkerProcess(Protocol):
    """A process, however it was started."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def exit_code(self) -> int | None:
        """When it has ended, and that is known: as `subprocess.Popen.returncode`."""

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended."""

    def kill(self) -> None:
        """SIGKILL; nothing happens where it has ended."""

    async def ended(self) -> None:
        """Return when it has ended."""


Launch: TypeAlias = "Callable[[socket.socket, int], Awaitable[WorkerProcess]]"
"""Starts a worker on a socket, with its output to a descriptor; raises OSError where there is no room for it, and
EOFError where it is to be tried once more, with another socket.
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
        """See `WorkerProcess`."""
        return self._process.poll()

    @property
    def has_ended(self) -> bool:
        """See `WorkerProcess`."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """See `WorkerProcess`."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> None:
        """See `WorkerProcess`. The loop's child watcher would take SIGCHLD from the embedding program."""
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
    """Where the workers of a run come from: from what was prepared, if a worker is `wanted`."""
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
        self._has_warned = False

    def make(
        self, identity: int, *, on_message: Callable[[int, Message], None], on_end: Callable[[int], None]
    ) -> WorkerHandle:
        """See `WorkerSource`."""
        return WorkerHandle(identity, self._launch, on_message=on_message, on_end=on_end)

    def take_warnings(self) -> list[str]:
        """See `WorkerSource`: how they end stands in the logs."""
        return []

    async def _launch(self, worker_socket: socket.socket, output: int) -> WorkerProcess:
        if self._zygote is not None and self._zygote.is_there:
            try:
                return await self._zygote.fork(worker_socket, output)
            except (EOFError, TimeoutError) as error:
                if not self._has_warned:
                    self._has_warned = True
                    _log.warning("workers are not forked any more", reason=str(error))
                raise EOFError(str(error)) from error
        return SpawnedWorker(worker_socket, output)
