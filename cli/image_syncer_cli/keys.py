"""Keys that are pressed while a run goes on, read without waiting for them.

The terminal is told to hand out every key at once and to show none (termios(3): ICANON and ECHO off; ^C and ^Z do what
they always do). It gets its old settings back when the run ends, when the process is stopped (^Z) and before it ends by
a signal. A process in the background does not touch it: the kernel would stop it (SIGTTOU).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
from typing import Any

__all__ = ["Keys"]

_MOST_BYTES = 64 * 2**10
"""More than a terminal holds (termios(3), MAX_INPUT): what was pasted is read at once, and seen to be that."""
_LOCAL_FLAGS = 3
"""In the list of termios.tcgetattr."""


class Keys:
    """Of the terminal at `file_descriptor` (standard input)."""

    def __init__(self, file_descriptor: int) -> None:
        self._fd = file_descriptor
        self._saved: list[Any] | None = None
        self.take()

    @classmethod
    def of_stdin(cls) -> Keys | None:
        """Those of standard input; None where it is no terminal."""
        try:
            if not sys.stdin.isatty():
                return None
            return cls(sys.stdin.fileno())
        except (OSError, ValueError, AttributeError, termios.error):
            return None

    @property
    def is_ours(self) -> bool:
        """Whether keys come to us: we are in the foreground, and the terminal knows."""
        return self._saved is not None

    def take(self) -> None:
        """Have keys handed out at once, if this process is in the foreground; also where a shell has set the terminal
        back meanwhile, since we were stopped in a way of which we were not told (SIGSTOP).
        """
        if not self._in_foreground():
            self._saved = None
            return
        with contextlib.suppress(termios.error):
            found = termios.tcgetattr(self._fd)
            wanted = [*found]
            wanted[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
            if wanted != found:
                termios.tcsetattr(self._fd, termios.TCSANOW, wanted)
                self._saved = found
            elif self._saved is None:
                self._saved = found

    def give_back(self) -> None:
        """The terminal is as it was. Does not wait for what was written: it may not be read (TCSANOW)."""
        saved, self._saved = self._saved, None
        if saved is None or not self._in_foreground():
            return
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, saved)

    def pressed(self) -> str:
        """What was pressed since the last time; cheap, and never waits."""
        self.take()
        if self._saved is None:
            return ""
        try:
            ready, _, _ = select.select([self._fd], [], [], 0)
            return os.read(self._fd, _MOST_BYTES).decode("utf-8", "replace") if ready else ""
        except OSError:
            return ""

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False
