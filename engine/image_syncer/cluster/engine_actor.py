"""The part in a Dask worker's process: a worker of the engine on its own thread and event loop.

It is the worker of a local run, with the same frames over a socket pair. The other end of the pair is bound to one
Dask connection to the coordinator: when that ends, the worker ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import threading
from typing import Any

import uvloop
from distributed import get_worker
from distributed.core import Status

from image_syncer.dispatch.machine import raise_open_files
from image_syncer.worker.process import work

ATTACHED_WITHIN_S = 60.0
"""A coordinator that has not connected by then is gone."""
ENDED_WITHIN_S = 10.0
"""A worker whose coordinator is gone must end within this time. Else the process ends, since the worker has tokens."""
CHUNK_BYTES = 256 * 1024
_STUCK = 70  # EX_SOFTWARE of sysexits.h

_log = logging.getLogger("distributed.image-syncer")
"""Among Dask's own logs, where the operator of a cluster looks."""


class EngineActor:
    """Waits in a Dask worker for the one connection with `operation`, and then runs a worker of the engine."""

    def __init__(self, operation: str, open_files: int) -> None:
        worker = get_worker()
        self._operation = operation
        self._handlers: dict[str, Any] = worker.handlers
        # A core file would hold tokens.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        raise_open_files(open_files)
        self._handlers[operation] = self._attach
        worker.loop.add_callback(worker.loop.call_later, ATTACHED_WITHIN_S, self._forget)

    def _forget(self) -> None:
        self._handlers.pop(self._operation, None)

    async def _attach(self, comm: Any) -> Status:
        """Serve the coordinator, as a handler of Dask's worker. It can connect only once."""
        self._forget()
        ours, theirs = socket.socketpair()
        fd = theirs.detach()
        engine = threading.Thread(target=_work, args=(fd,), name=f"image-syncer {self._operation}", daemon=True)
        engine.start()
        try:
            await _relay(comm, ours)
        finally:
            await _see_end(engine)
        return Status.dont_reply


def _work(fd: int) -> None:
    uvloop.run(work(fd))


async def _relay(comm: Any, ours: socket.socket) -> None:
    """Relay bytes both ways until both directions end; an empty message ends a direction."""
    reader, writer = await asyncio.open_connection(sock=ours)

    async def down() -> None:
        try:
            while frames := await comm.read():
                writer.write(frames)
                await writer.drain()
        except OSError:
            pass  # the coordinator or the worker is gone: the other one sees the end of the socket
        finally:
            writer.close()

    async def up() -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK_BYTES):
                await comm.write(chunk)
            await comm.write(b"")

    await asyncio.gather(down(), up())


async def _see_end(engine: threading.Thread) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, engine.join, ENDED_WITHIN_S)
    if engine.is_alive():
        _log.critical("the worker of image-syncer does not end, so this process does")
        os._exit(_STUCK)
