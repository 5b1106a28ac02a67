"""The embedded registry in a thread of its own, for tests: its loop is not the one that is being tested."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from image_syncer.embedded.memory import MemoryStorage
from image_syncer.embedded.server import EmbeddedRegistry

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from image_syncer.embedded.behaviour import Behaviour
    from image_syncer.embedded.storage import Storage

__all__ = ["serve_in_thread"]


@contextmanager
def serve_in_thread(
    storage: Storage | None = None,
    behaviour: Behaviour | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ssl_context: ssl.SSLContext | None = None,
    companion: bool = True,
) -> Iterator[EmbeddedRegistry]:
    """A registry that serves until the block is left; of it, `address`, `url`, `counters`, `behaviour`,
    `storage` and `revoke_tokens` may be used from any thread. Without `storage` it keeps everything in
    memory.
    """
    registry = EmbeddedRegistry(
        MemoryStorage() if storage is None else storage,
        behaviour,
        host=host,
        port=port,
        ssl_context=ssl_context,
        companion=companion,
    )
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=asyncio.run, args=(_serve(registry, started),), daemon=True)
    thread.start()
    loop, ended = started.result()
    try:
        yield registry
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


async def _serve(registry: EmbeddedRegistry, started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    ended = asyncio.Event()
    try:
        await registry.start()
    except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
        await registry.stop()
        started.set_exception(error)
        return
    started.set_result((asyncio.get_running_loop(), ended))
    try:
        await ended.wait()
    finally:
        await registry.stop()
