"""One worker process as the coordinator sees it: started, spoken to, killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

from image_syncer.coordinator.crash import tell_crash
from image_syncer.telemetry import get_logger
from image_syncer.worker.wire import encode, read_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.worker.messages import Message, Setup

__all__ = ["WorkerHandle"]

_START = "import sys; sys.path[:] = sys.argv[2:]; from image_syncer.worker.process import main; main(int(sys.argv[1]))"
"""A fresh interpreter (spawn, not fork: libcurl, OpenSSL and the loop do not survive a fork) with our own import
path.
"""
REAP_INTERVAL_S = 0.02
REAP_S = 1.0
"""How long a process that has closed its socket may take to be gone by itself."""
LAST_WORDS_BYTES = 4096
"""What is kept of a worker's output: enough for the end of a traceback."""

_log = get_logger(__name__)


class WorkerHandle:
    """A worker process and the socket to it. Secrets go over the socket only.

    `on_message(id, message)` is called for each message, `on_end(id)` once, when the process is gone. What it prints
    (an interpreter that cannot start, a C library that gives up) goes to the log, not to the user's terminal.
    """

    def __init__(
        self, identity: int, *, on_message: Callable[[int, Message], None], on_end: Callable[[int], None]
    ) -> None:
        self.id = identity
        self._on_message = on_message
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._overhearing: asyncio.Task[None] | None = None
        self._output = b""
        self.heard_at = asyncio.get_running_loop().time()
        self.ready = False
        self.restarts = 0
        """How many were there in its place before."""
        self.crash_text = ""
        """The traceback that it sent before it ended, if it did."""

    is_local = True

    @property
    def name(self) -> str:
        """What people call it."""
        return f"worker process {self.pid}"

    @property
    def pid(self) -> int | None:
        """The process's number; None before it was started."""
        return self._process.pid if self._process else None

    async def start(self, setup: Setup) -> None:
        """Spawn the process; raises OSError where the system has no room for it."""
        ours, theirs = socket.socketpair()
        try:
            path = [entry for entry in sys.path if entry]
            self._process = subprocess.Popen(  # noqa: ASYNC220 - fork and exec, a few milliseconds; then it is on its own
                [sys.executable, "-c", _START, str(theirs.fileno()), *path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                close_fds=True,
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        loop = asyncio.get_running_loop()
        self._overhearing = loop.create_task(self._overhear())
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        self.send(setup)
        self._listening = loop.create_task(self._listen(reader))
        self._listening.add_done_callback(tell_crash)

    def send(self, message: Message) -> None:
        """Say something; nothing happens where the worker is gone, which `on_end` tells."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    def kill(self) -> None:
        """SIGKILL: it is silent, and would not hear anything gentler."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def end(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds for the process to end by itself, then kill it; no zombie is left."""
        process = self._process
        if process is None:
            return
        deadline = asyncio.get_running_loop().time() + grace_s
        # A child that ends tells nobody: the loop's child watcher would take SIGCHLD from whoever calls us.
        while process.poll() is None and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(REAP_INTERVAL_S)
        self.kill()
        process.wait()
        if self._writer is not None:
            self._writer.close()
        tasks = [task for task in (self._listening, self._overhearing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def how_it_ended(self) -> str:
        """A phrase for people: killed by which signal, or with which exit code."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "closed its connection"
        return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"

    @property
    def last_words(self) -> str:
        """The last line of its traceback, or of what it printed; empty where it ended silently."""
        text = self.crash_text or self._output.decode("utf-8", "replace")
        return text.strip().rpartition("\n")[2]

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (message := await read_message(reader)) is not None:
                self.heard_at = loop.time()
                self._on_message(self.id, message)
        except Exception:  # noqa: BLE001 - a mistake of ours; a run that nobody listens for would never end
            self.crash_text = traceback.format_exc()
        if self._writer is not None:
            self._writer.close()  # a worker that has crashed waits for this
        await self._reap()
        self._on_end(self.id)

    async def _overhear(self) -> None:
        """Keep what the process prints, until it is gone."""
        assert self._process is not None
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        try:
            while chunk := await reader.read(LAST_WORDS_BYTES):
                self._output = (self._output + chunk)[-LAST_WORDS_BYTES:]
                _log.debug("worker output", worker=self.id, text=chunk.decode("utf-8", "replace"))
        finally:
            pipe.close()

    async def _reap(self) -> None:
        """A process that has closed its socket ends, or is made to; afterwards it can be said how."""
        assert self._process is not None
        assert self._overhearing is not None
        await asyncio.wait((self._overhearing,), timeout=REAP_S)
        self.kill()
        while self._process.poll() is None:  # noqa: ASYNC110 - see `end`
            await asyncio.sleep(REAP_INTERVAL_S)

    def __repr__(self) -> str:
        return f"<WorkerHandle {self.id} pid {self.pid} {'ready' if self.ready else 'starting'} (we are {os.getpid()})>"
