"""Lines for whoever reads our standard error: where that is a pipe whose reader reads no more, a write would stand
still, and with it the run, its signals, and everything else.

A pipe that can be written to (poll(2)) takes PIPE_BUF bytes at once (pipe(7)); a line goes in pieces of that.
"""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["PATIENCE_S", "write_line"]

PATIENCE_S = 1.0
"""For a reader that is busy. One that did not read for so long is not waited for again, until it reads."""
_PIECE_BYTES = select.PIPE_BUF

_unread: set[int] = set()
"""Descriptors of readers that do not read."""
_broken: set[int] = set()
"""Those that have got a part of a line."""


def write_line(stream: TextIO, text: str) -> bool:
    """Write `text` and an end of line; False where nobody reads there, and the line is lost. Raises OSError and
    ValueError as the stream does.
    """
    number = _pipe_of(stream)
    if number is None:
        stream.write(f"{text}\n")
        stream.flush()
        return True
    stream.flush()
    line = f"{text}\n".encode(stream.encoding or "utf-8", "backslashreplace")
    if number in _broken:
        line = b"\n" + line
    for begin in range(0, len(line), _PIECE_BYTES):
        if not _takes(number):
            if begin:
                _broken.add(number)
            return False
        try:
            os.write(number, line[begin : begin + _PIECE_BYTES])
        except BlockingIOError:  # somebody else was faster, and whoever opened it wants no waiting
            _broken.add(number)
            return False
    _broken.discard(number)
    return True


def _takes(number: int) -> bool:
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    # A reader that has gone is no reason to wait: the write tells.
    if poll.poll(0 if number in _unread else PATIENCE_S * 1000):
        _unread.discard(number)
        return True
    _unread.add(number)
    return False


def _pipe_of(stream: TextIO) -> int | None:
    try:
        number = stream.fileno()
        mode = os.fstat(number).st_mode
    except (OSError, ValueError, AttributeError):
        return None  # nothing of the system's, or closed: the stream says so itself
    return number if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None
