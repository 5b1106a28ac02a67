"""Writing to standard output and standard error, whatever is at the other end."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import IO, Any, TextIO

GONE = (errno.EPIPE, errno.EIO)
"""Errors of a write when the reader of the pipe, or the terminal, is gone."""
_MAX_LINE = 400
"""A longer line of an error is the web page of a registry, or typed at random."""


def say(text: str, *, err: bool = False) -> None:
    """Write one or more lines without characters that control a terminal. A reader or terminal that is gone is no
    error: the run is worth more than its output. Standard error is never waited for.
    """
    if not text.isprintable():
        from image_syncer.errors import visible

        text = visible(text, keep="\n\t")
    stream = sys.stderr if err else sys.stdout
    try:
        if err:
            from image_syncer.nonblocking_write import write_line

            write_line(stream, text)
        else:
            stream.write(f"{text}\n")
            stream.flush()
    except OSError as error:
        if error.errno not in GONE:
            raise
        silence(stream)


def silence(stream: IO[str]) -> None:
    """Redirect a stream to /dev/null, with what is buffered, so that the last flush at exit is quiet."""
    try:
        target = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, target)
    os.close(nowhere)


def reopen() -> None:
    """Open standard streams that the caller closed (`>&-`) on /dev/null, so that no connection takes their number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The lowest free number is taken, which is this one.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def forgive(*streams: TextIO) -> None:
    """Have streams replace characters that their encoding lacks (an arrow, in Latin-1) instead of failing."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def can_show(text: str, encoding: str | None = None) -> bool:
    """Return whether `encoding` (default: that of standard output) has the characters of `text`."""
    try:
        text.encode(encoding or sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def internal_error_lines(what: str) -> list[str]:
    """Return the message of an internal error."""
    return [
        f"this is an internal error of image-syncer: {what}",
        "  Please run it again with --debug, and report what it prints.",
    ]


def clip(line: str) -> str:
    """Return `line`, cut if it is too long to be read."""
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…"


def printable(text: str) -> str:
    """Return `text` without characters that move a terminal's cursor or change its colours: it may be foreign."""
    return "".join(character if character.isprintable() else "�" for character in text)


def json_line(value: dict[str, Any]) -> str:
    """Return a JSON object for a line of standard output."""
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
