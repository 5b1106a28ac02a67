"""A loop of our own, for one piece of work, in the thread that calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import uvloop

from image_syncer.coordinator.rules import END_S

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["refuse_running_loop", "run_in_loop"]

_Result = TypeVar("_Result")


def refuse_running_loop() -> None:
    """Raises RuntimeError where the thread is inside of a running loop."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, and asks without raising
        raise RuntimeError("an event loop is running in this thread: use the asynchronous form, such as sync_async")


def run_in_loop(work: Coroutine[None, None, _Result]) -> _Result:
    """`uvloop.run`, which would wait for ever for a task that does not end when it is cancelled. Raises RuntimeError
    where the thread is inside of a running loop.
    """
    try:
        refuse_running_loop()
    except RuntimeError:
        work.close()
        raise
    loop = uvloop.new_event_loop()  # it is not set as that of the thread: a program may have set its own
    try:
        return loop.run_until_complete(work)
    finally:
        try:
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left, timeout=END_S))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
