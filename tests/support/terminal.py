"""A terminal without a screen (pyte, a VT102): a program runs in it, keys are pressed, what it shows is looked at."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

import pyte

from support.processes import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LOCAL_FLAGS = 3


class Terminal:
    """`words` run in it as the foreground of a session of their own. Whoever leaves the block ends them."""

    def __init__(
        self, words: Sequence[str], *, environment: Mapping[str, str], columns: int = 80, rows: int = 24
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.written = 0
        """Bytes that have come, so far."""
        self._code: int | None = None
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(words[0], list(words), dict(environment))
            finally:
                os._exit(127)
        self.before = termios.tcgetattr(self._fd)

    def __enter__(self) -> Terminal:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    @property
    def lines(self) -> list[str]:
        """What is shown, without the empty lines at the end."""
        lines = [line.rstrip() for line in self.screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def hands_out_keys(self) -> bool:
        """Whether keys come at once, and are not shown."""
        flags = termios.tcgetattr(self._fd)[LOCAL_FLAGS]
        return not flags & termios.ICANON and not flags & termios.ECHO

    @property
    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._fd) == self.before

    @property
    def unread(self) -> int:
        """Bytes that have come, and that nobody has taken."""
        return int(struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, b"\0" * 4))[0])

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """As a window that is dragged: the program gets SIGWINCH."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self, seconds: float) -> None:
        """Take what comes within so long."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._fd], [], [], min(left, 0.1))[0]:
                try:
                    chunk = os.read(self._fd, 65536)
                except OSError:  # Linux says EIO where nobody has the terminal any more
                    return
                self.written += len(chunk)
                self._stream.feed(chunk)

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Returns when `condition` holds of what is shown; fails the test where it does not in time."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S:.0f} s; shown is\n{self.text}"
            self.read(0.05)

    def wait_for_text(self, text: str) -> None:
        self.wait_for(lambda: text in self.text, repr(text))

    def wait_until_stopped(self) -> None:
        """Returns when the program is stopped, as by ^Z."""
        self.wait_for(lambda: os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)[0], "that it stops")

    def wait(self) -> int:
        """The exit code, when it has ended; a signal is a negative one."""

        def ended() -> bool:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            return bool(pid)

        self.wait_for(ended, "that it ends")
        self.read(0.2)
        assert self._code is not None
        return self._code
