"""Writing to a terminal without ever waiting for it.

A terminal whose other end is not read (a line that hangs, ^S) takes some kilobytes, and then whoever writes to it
waits, however little it is: a run must not. Its own way of being told so, O_NONBLOCK, is one of an open file that is
shared with the shell and everybody else there; so the terminal is opened once more, for this process alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from image_syncer_cli.output import GONE, silence

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["Outlet"]

MOST_BYTES = 256 * 2**10
"""That wait for a terminal; what would come on top of them is left out."""
END_S = 1.0
"""At the end, for what still waits."""


class Outlet:
    """The terminal of `stream`; where that is none, or cannot be opened, the stream is simply written to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._fd = _opened_again(stream)
        self._waiting = b""
        self._left_out = 0

    @property
    def is_free(self) -> bool:
        """Whether everything that was written has gone out, as far as can be known."""
        if self._fd is None:
            return self._takes_something()
        self._push()
        return not self._waiting

    @property
    def is_in_background(self) -> bool:
        """Whether the terminal belongs to somebody else now: a run that was begun with `&`, or `bg`."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) != os.getpgrp()
        except (OSError, ValueError):
            return False  # no terminal, or not that of this session: nobody else is disturbed

    def write(self, text: str, *, must: bool = False) -> None:
        """Write `text` as soon as the terminal takes it; in the background only what `must` be seen."""
        if not must and self.is_in_background:
            return
        if self._fd is None:
            self._write_plainly(text)
            return
        data = text.encode(self._encoding, "replace")
        if len(self._waiting) + len(data) > MOST_BYTES:
            self._left_out += text.count("\n")
            return
        self._waiting += data
        self._push()

    def close(self, *, wait: bool = True) -> None:
        """Have what waits written; not `wait`: what is not taken at once is dropped."""
        if self._fd is None:
            return
        until = time.monotonic() + (END_S if wait else 0.0)
        while not self.is_free and (left := until - time.monotonic()) > 0:
            select.select([], [self._fd], [], left)
        if self._left_out and self.is_free:
            self._waiting = f"… {self._left_out:,} lines were left out: the terminal took nothing\r\n".encode()
            self._push()
        os.close(self._fd)
        self._fd = None

    def _push(self) -> None:
        while self._waiting and self._fd is not None:
            try:
                taken = os.write(self._fd, self._waiting)
            except BlockingIOError:
                return
            except OSError as error:
                self._waiting = b""
                if error.errno in GONE:
                    silence(self._stream)
                return
            self._waiting = self._waiting[taken:]

    def _takes_something(self) -> bool:
        """Of a terminal that cannot be opened once more (another user's, after `su`); how much it takes is not told."""
        try:
            return bool(select.select([], [self._stream.fileno()], [], 0)[1])
        except (OSError, ValueError):
            return True  # none, or gone: the write tells

    def _write_plainly(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            if error.errno not in GONE:
                raise
            silence(self._stream)


def _opened_again(stream: TextIO) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        if not os.isatty(number := stream.fileno()):
            return None
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        for name in (f"/proc/self/fd/{number}", os.ttyname(number)):
            with contextlib.suppress(OSError):
                return os.open(name, flags)
    return None
