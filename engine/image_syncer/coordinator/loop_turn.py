"""A turn of a run's loop, for callers in other threads."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["in_loop"]

TURN_S = 10.0
"""How long a loop may take to give a turn: one that stands still for so long has other worries."""

_T = TypeVar("_T")


def in_loop(loop: asyncio.AbstractEventLoop | None, act: Callable[[], _T]) -> _T:
    """What `act` returns, which is called in `loop`, whichever thread asks. Where it is None or closed, nothing is
    under way that could be disturbed, and `act` is called here. Raises TimeoutError where the loop gives no turn.
    """
    with contextlib.suppress(RuntimeError):
        if asyncio.get_running_loop() is loop:
            loop = None
    if loop is None:
        return act()
    done: Future[_T] = Future()

    def turn() -> None:
        try:
            done.set_result(act())
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            done.set_exception(error)

    try:
        loop.call_soon_threadsafe(turn)
    except RuntimeError:  # closed
        return act()
    try:
        return done.result(TURN_S)
    except FutureTimeoutError:  # before Python 3.11 it is not the builtin one
        if done.done():
            raise  # by what was asked for itself
        raise TimeoutError(f"the run gave no turn within {TURN_S:.0f} s") from None
