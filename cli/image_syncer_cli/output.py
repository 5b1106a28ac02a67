"""What leaves on standard output and standard error, whatever is at the other end of it."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import IO, Any, TextIO

__all__ = ["GONE", "clip", "forgive", "json_line", "mistake_lines", "printable", "reopen", "say", "silence"]

GONE = (errno.EPIPE, errno.EIO)
"""What a write says when the reader of a pipe, or the terminal, is no longer there."""
_MAX_LINE = 400
"""A line of an error longer than this came from a registry's web page, or from a cat on the keyboard."""


def say(text: str, *, err: bool = False) -> None:
    """Writes one or more lines, without anything in them that a terminal would obey. A reader or a terminal that has
    gone is no error: the run is worth more than its output. Nor does it wait for one that does not read standard error.
    """
    if not text.isprintable():
        from image_syncer.errors import visible

        text = visible(text, keep="\n\t")
    stream = sys.stderr if err else sys.stdout
    try:
        if err:
            from image_syncer import write_line

            write_line(stream, text)
        else:
            stream.write(f"{text}\n")
            stream.flush()
    except OSError as error:
        if error.errno not in GONE:
            raise
        silence(stream)


def silence(stream: IO[str]) -> None:
    """Sends what is buffered and what is still to come nowhere, so that the last flush at exit is quiet."""
    try:
        target = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, target)
    os.close(nowhere)


def reopen() -> None:
    """Opens what the caller has closed (`>&-`) on nothing, so that no connection becomes standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The lowest free number is taken, which is this one.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def forgive(*streams: TextIO) -> None:
    """Makes streams replace what their encoding cannot say (an arrow, in Latin-1) instead of failing."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def mistake_lines(what: str) -> list[str]:
    """What people are told of an internal error."""
    return [
        f"this is an internal error of image-syncer: {what}",
        "  Please run it again with --debug, and report what it prints.",
    ]


def clip(line: str) -> str:
    """`line`, cut off where nobody would read on."""
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…"


def printable(text: str) -> str:
    """`text` without what could move a terminal's cursor or change its colours: it may be a stranger's."""
    return "".join(character if character.isprintable() else "�" for character in text)


def json_line(value: dict[str, Any]) -> str:
    """One JSON object, for a line of standard output."""
    import json

    return json.dumps(value, ensure_ascii=False, default=str)
