"""Lines on standard error that do not block the run where it is a pipe whose reader does not read.

A pipe that is writable by poll(2) takes PIPE_BUF bytes at once (pipe(7)), so a line is written in such pieces.
"""

from __future__ import annotations

import os
import select
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


PATIENCE_S = 1.0
"""The wait for a busy reader; after it, no line waits until the reader reads again."""
_PIECE_BYTES = select.PIPE_BUF

_unread: set[int] = set()
"""Descriptors of readers that do not read."""
_broken: set[int] = set()
"""Descriptors to which a part of a line was written."""


def write_line(stream: TextIO, text: str) -> bool:
    """Write `text` and an end of line; return False where no reader reads, and the line is lost.

    Raises OSError and ValueError as the stream does.
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
        except BlockingIOError:  # another process was faster, and the pipe is nonblocking
            _broken.add(number)
            return False
    _broken.discard(number)
    return True


def _takes(number: int) -> bool:
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    # Do not wait for a reader that has gone: the write fails.
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
        return None  # not a descriptor, or closed: the stream raises itself
    return number if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None
