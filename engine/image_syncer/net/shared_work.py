"""Work that is done once for all who ask: each waits by itself, and none of them may be left when it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from image_syncer.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["share", "shared_result"]

_Result = TypeVar("_Result")


def share(work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
    """Begin `work`, for whose end any number may wait with `shared_result`.

    Where all who waited were cancelled, nobody asks what became of it. A `SyncError` is no mistake then, and is
    dropped; anything else goes to the loop's exception handler.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_look)
    return task


async def shared_result(task: asyncio.Future[_Result]) -> _Result:
    """The result of shared work, which goes on where the caller is cancelled. Raises the `SyncError` it ended with, a
    copy for each caller, since each fills in its own place and number of tries.
    """
    try:
        return await asyncio.shield(task)
    except SyncError as error:
        raise error.copy() from error


def _look(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()  # from here on asyncio does not say that nobody has asked
    if error is not None and not isinstance(error, SyncError):
        context = {"message": "shared work crashed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
