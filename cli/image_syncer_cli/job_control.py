"""A process that is stopped (^Z, or by somebody's SIGSTOP) and goes on, in the foreground or in the background."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JobControl"]


class JobControl:
    """`on_stop` is called before the process stops, where it is told so (SIGSTOP tells nobody); `on_go` when it goes
    on. `on_stop` comes before SIGQUIT ends the process, too. In another thread than the main one it does nothing.
    """

    def __init__(self, *, on_stop: Callable[[], None], on_go: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._on_go = on_go
        self._before: dict[signal.Signals, Any] = {}
        handlers = ((signal.SIGTSTP, self._stop), (signal.SIGCONT, self._go), (signal.SIGQUIT, self._quit))
        for number, handler in handlers:
            with contextlib.suppress(ValueError):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, handler)

    def close(self) -> None:
        """Give the signals back."""
        before, self._before = self._before, {}
        for number, handler in before.items():
            with contextlib.suppress(ValueError):
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _stop(self, *_: object) -> None:
        """Stop as if we had not listened; it returns when somebody has sent SIGCONT: `fg`, or `bg`."""
        self._on_stop()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._stop)

    def _quit(self, number: int, _frame: object) -> None:
        self._on_stop()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _go(self, *_: object) -> None:
        self._on_go()
