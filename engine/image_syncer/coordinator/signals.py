"""The signals that end a run."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

__all__ = ["taken_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def taken_signals(loop: asyncio.AbstractEventLoop, on_signal: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Take SIGINT, SIGTERM and SIGHUP (the terminal is gone; not where it is ignored, as `nohup` has it) while it
    lasts, and give them back. Outside of the main thread they are the caller's business.
    """
    before = {}
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if number == signal.SIGHUP and handler == signal.SIG_IGN:
            continue
        with contextlib.suppress(ValueError, RuntimeError):  # not the main thread
            loop.add_signal_handler(number, on_signal, number)
            before[number] = handler
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            if handler is not None:  # None: not of Python's making, and cannot be put back from here
                signal.signal(number, handler)
