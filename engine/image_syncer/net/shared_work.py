"""Shared work: one task whose result several callers await, each of which may be cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from image_syncer.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Coroutine


_Result = TypeVar("_Result")


def share(work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
    """Start `work`, for whose result any number of callers may wait with `shared_result`.

    Where all callers were cancelled, a `SyncError` is dropped, and any other error goes to the loop's exception
    handler.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(_report_crash)
    return task


async def shared_result(task: asyncio.Future[_Result]) -> _Result:
    """Return the result of shared work, which continues where the caller is cancelled.

    Raises a copy of its `SyncError` for each caller: a shared one would keep the frames of all in its traceback.
    """
    try:
        return await asyncio.shield(task)
    except SyncError as error:
        raise error.changed() from error


def _report_crash(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()  # asyncio now takes the error for retrieved
    if error is not None and not isinstance(error, SyncError):
        context = {"message": "shared work crashed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)
