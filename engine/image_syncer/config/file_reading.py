"""Files that the user names, read with a bound on their size, and pipes with a bound on their silence too."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

from image_syncer.config.document import MAX_FILE_BYTES
from image_syncer.config.findings import shown
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.units import format_size

__all__ = ["PIPE_TIMEOUT_S", "directory_of", "find_readable", "read_file"]

PIPE_TIMEOUT_S = 120.0
"""What decrypts a file into a pipe may ask a person for a passphrase; one into which nobody writes for so long is
forgotten.
"""
_CHUNK_BYTES = 1 << 16
_REASONS = {
    FileNotFoundError: ("the file does not exist", "check the path"),
    IsADirectoryError: ("a directory, where a file is wanted", "name a file in it"),
    NotADirectoryError: ("the file does not exist", "check the path"),
    PermissionError: ("the file may not be read by this user", "chmod or chown it"),
}


def read_file(path: str, *, pipe_timeout_s: float = PIPE_TIMEOUT_S) -> bytes:
    """The content of a file of at most MAX_FILE_BYTES: asked before anything is read, and for pipes while reading.

    Raises ConfigurationError, also where nothing comes out of a pipe for `pipe_timeout_s` seconds.
    """
    try:
        # Without waiting: the opening of a pipe that nobody writes into would never end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            content = _read(descriptor, pipe_timeout_s) if size <= MAX_FILE_BYTES else b""
        finally:
            os.close(descriptor)
    except _SilentPipeError:
        what = f"nobody has written into this pipe for {pipe_timeout_s:g} s"
        raise ConfigurationError([Problem(shown(path), None, None, what, "name a file")]) from None
    except OSError as error:
        what, mend = _REASONS.get(type(error), (f"the file cannot be read: {error.strerror}", None))
        raise ConfigurationError([Problem(shown(path), None, None, what, mend)]) from None
    except ValueError:
        raise ConfigurationError([Problem(shown(path), None, None, "this cannot be the name of a file")]) from None
    if max(size, len(content)) > MAX_FILE_BYTES:
        what = f"the file has more than {format_size(MAX_FILE_BYTES)}"
        raise ConfigurationError([Problem(shown(path), None, None, what, "is it the right file?")])
    return content


def find_readable(directory: str, name: str) -> tuple[str, bool]:
    """The full path of a file that is named from a directory, and whether it can be read."""
    path = str(Path(directory) / name)
    return path, Path(path).is_file() and os.access(path, os.R_OK)


def directory_of(path: str) -> str:
    """The full path of the directory from which a file means others; for a pipe it is the one we are in."""
    return str(Path(path).parent.absolute() if Path(path).is_file() else Path.cwd())


class _SilentPipeError(Exception):
    """Nothing came, and no end either."""


def _read(descriptor: int, timeout_s: float) -> bytes:
    """Until the end, or one byte more than is allowed. A pipe whose writer has yet to come is at no end."""
    content = bytearray()
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    while len(content) <= MAX_FILE_BYTES:
        if not ready.poll(timeout_s * 1000):
            raise _SilentPipeError
        chunk = os.read(descriptor, min(_CHUNK_BYTES, MAX_FILE_BYTES + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    return bytes(content)
