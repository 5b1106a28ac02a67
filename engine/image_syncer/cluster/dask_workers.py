"""Workers in the processes of Dask, for the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from typing import TYPE_CHECKING, Any

from image_syncer.worker.messages import Ready
from image_syncer.worker.wire import encode, read_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.cluster.connection import ClusterConnection, Engine
    from image_syncer.coordinator.worker_source import WorkerLink
    from image_syncer.worker.messages import Message, Setup

__all__ = ["DaskWorker", "DaskWorkers"]


class DaskWorkers:
    """A `WorkerSource`: one worker of the engine in each Dask worker."""

    def __init__(self, connection: ClusterConnection) -> None:
        self._connection = connection
        self._warnings: list[str] = []

    def make(
        self, identity: int, *, on_message: Callable[[int, Message], None], on_end: Callable[[int], None]
    ) -> WorkerLink:
        """See `WorkerSource`."""
        return DaskWorker(identity, self._connection, self._warnings, on_message=on_message, on_end=on_end)

    def take_warnings(self) -> list[str]:
        """See `WorkerSource`."""
        taken, self._warnings[:] = self._warnings[:], []
        return taken


class DaskWorker:
    """A `WorkerLink` to a worker of the engine in a Dask worker's process.

    Frames are collected while others are on their way, and travel together. Where it is lost, `warnings` gets a line.
    """

    def __init__(
        self,
        identity: int,
        connection: ClusterConnection,
        warnings: list[str],
        *,
        on_message: Callable[[int, Message], None],
        on_end: Callable[[int], None],
    ) -> None:
        self.id = identity
        self._connection = connection
        self._warnings = warnings
        self._on_message = on_message
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._engine: Engine | None = None
        self._place = ""
        self._starting: asyncio.Task[Engine] | None = None
        self._given_up = False
        self._frames: list[bytes] = []
        self._more = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._ending = False
        self.heard_at = self._loop.time()
        self.ready = False
        self.restarts = 0
        """How many were there in its place before."""
        self.crash_text = ""
        """The traceback that it sent before it ended, if it did."""
        self.pid: int | None = None
        """The Dask worker's process; None until it is ready."""

    is_local = False
    """Even where it is: Dask's processes are not ours to measure."""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"Dask worker {self._place}" if self._place else "a Dask worker"

    @property
    def last_words(self) -> str:
        """The last line of its traceback; empty where it ended silently."""
        return self.crash_text.strip().rpartition("\n")[2]

    async def start(self, setup: Setup) -> None:
        """Begin it on a Dask worker that is free, as soon as there is one; raises OSError where that does not go, or
        where it is killed meanwhile.
        """
        if self._is_given_up():
            raise OSError("given up")
        self._starting = self._loop.create_task(self._connection.begin())
        try:
            engine = self._engine = await self._starting
        except asyncio.CancelledError:
            if not self._given_up:
                raise
            raise OSError("no Dask worker took it") from None
        finally:
            self._starting = None
        self._place = engine.place
        if self._is_given_up():  # while it began
            self._let_go(lost=False)
            raise OSError("given up")
        self.send(setup)
        reader = asyncio.StreamReader()
        works = (self._write(engine.comm), self._read(engine.comm, reader), self._listen(reader))
        self._tasks = [self._loop.create_task(work) for work in works]

    def send(self, message: Message) -> None:
        """Say something; nothing happens where it is gone, which `on_end` tells."""
        if not self._given_up:
            self._frames.append(encode(message))
            self._more.set()

    def kill(self) -> None:
        """Cut the connection, which ends it, or the process that it is in."""
        self._given_up = True
        if self._starting is not None:
            self._starting.cancel()
        if self._engine is not None:
            self._engine.comm.abort()

    async def end(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds for it to end by itself, then cut the connection."""
        self._ending = True
        if self._tasks:
            await asyncio.wait(self._tasks[2:], timeout=grace_s)
        self.kill()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._let_go(lost=False)

    def how_it_ended(self) -> str:
        """A phrase for people."""
        return "is gone, or its connection is"

    def _is_given_up(self) -> bool:
        return self._given_up

    def _let_go(self, *, lost: bool) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            self._connection.give_back(engine, lost=lost)

    async def _write(self, comm: Any) -> None:
        with contextlib.suppress(OSError):  # whoever reads is told, and tells
            while True:
                await self._more.wait()
                self._more.clear()
                frames, self._frames = b"".join(self._frames), []
                await comm.write(frames)

    async def _read(self, comm: Any, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while chunk := await comm.read():
                reader.feed_data(chunk)
        reader.feed_eof()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while (message := await read_message(reader)) is not None:
                self.heard_at = self._loop.time()
                if isinstance(message, Ready):
                    self.pid = message.pid
                self._on_message(self.id, message)
        except Exception:  # noqa: BLE001 - an internal error; a run that nobody listens for would never end
            self.crash_text = traceback.format_exc()
        self._given_up = True
        for task in self._tasks[:2]:
            task.cancel()  # nobody else would: another takes its place
        self._let_go(lost=not self._ending)
        if not self._ending:
            self._warnings.append(f"{self.name} (process {self.pid}) was lost; others took over what it had begun")
        self._on_end(self.id)
