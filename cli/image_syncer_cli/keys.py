"""Keys that are pressed while a run goes on, read without waiting for them.

The terminal is told to hand out every key at once and to show none (termios(3): ICANON and ECHO off; ^C and ^Z do what
they always do). It gets its old settings back when the run ends, when the process is stopped (^Z) and before it ends by
a signal. A process in the background does not touch it: the kernel would stop it (SIGTTOU).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Keys"]

_MOST_BYTES = 64
_LOCAL_FLAGS = 3
"""In the list of termios.tcgetattr."""


class Keys:
    """Of the terminal at `file_descriptor` (standard input). `on_stop` is called before the process stops, `on_go` when
    it goes on in the foreground.
    """

    def __init__(self, file_descriptor: int, *, on_stop: Callable[[], None], on_go: Callable[[], None]) -> None:
        self._fd = file_descriptor
        self._on_stop = on_stop
        self._on_go = on_go
        self._saved: list[Any] | None = None
        self._before: Any = None
        with contextlib.suppress(ValueError):  # not the main thread: then nobody can be told of ^Z
            self._before = signal.signal(signal.SIGTSTP, self._stop)
        self.take()

    @classmethod
    def of_stdin(cls, *, on_stop: Callable[[], None], on_go: Callable[[], None]) -> Keys | None:
        """Those of standard input; None where it is no terminal."""
        try:
            if not sys.stdin.isatty():
                return None
            return cls(sys.stdin.fileno(), on_stop=on_stop, on_go=on_go)
        except (OSError, ValueError, AttributeError, termios.error):
            return None

    @property
    def is_ours(self) -> bool:
        """Whether keys come to us: we are in the foreground, and the terminal knows."""
        return self._saved is not None

    def take(self) -> None:
        """Have keys handed out at once, if this process is in the foreground."""
        if self._saved is not None or not self._in_foreground():
            return
        with contextlib.suppress(termios.error):
            saved = termios.tcgetattr(self._fd)
            changed = [*saved]
            changed[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self._fd, termios.TCSADRAIN, changed)
            self._saved = saved

    def give_back(self) -> None:
        """The terminal is as it was."""
        saved, self._saved = self._saved, None
        if saved is None or not self._in_foreground():
            return
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, saved)

    def pressed(self) -> str:
        """What was pressed since the last time; cheap, and never waits."""
        if self._saved is None:
            self.take()
        if self._saved is None or not self._in_foreground():
            return ""
        try:
            ready, _, _ = select.select([self._fd], [], [], 0)
            return os.read(self._fd, _MOST_BYTES).decode("utf-8", "replace") if ready else ""
        except OSError:
            return ""

    def close(self) -> None:
        """Give the terminal and the signal back."""
        self.give_back()
        if self._before is not None:
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTSTP, self._before)
            self._before = None

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    def _stop(self, *_: object) -> None:
        """^Z: stop as if we had not listened, with a terminal that is as it was; then go on."""
        self._on_stop()
        self.give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Somebody has sent SIGCONT: `fg`, or `bg`, in which case the terminal is not ours.
        signal.signal(signal.SIGTSTP, self._stop)
        self.take()
        if self._in_foreground():
            self._on_go()
