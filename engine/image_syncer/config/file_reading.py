"""Reading of files that the user names, with bounds on size and silence, and checks of their mode."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path
from shlex import quote

from image_syncer.config.document import MAX_FILE_BYTES
from image_syncer.config.findings import shown
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.units import format_size

PIPE_TIMEOUT_S = 120.0
"""How long a pipe may be silent: a program that decrypts a file into it may ask for a passphrase."""
_CHUNK_BYTES = 1 << 16
_REASONS: dict[type[OSError], tuple[str, str | None]] = {
    FileNotFoundError: ("the file does not exist", "check the path"),
    IsADirectoryError: ("a directory, where a file is wanted", "name a file in it"),
    NotADirectoryError: ("the file does not exist", "check the path"),
    PermissionError: ("the file may not be read by this user", "chmod or chown it"),
}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def mode_warning(mode: int, path: str, *, holds_secret: bool) -> tuple[str, str] | None:
    """Return what is wrong with the mode of a regular file, and the mend; None where nothing is wrong.

    A file that `holds_secret` is for its owner alone. All users may read other files, and must not write them: they say
    where images come from and go. Groups may write them, because the umask of many systems allows that.
    """
    if not stat.S_ISREG(mode):
        return None
    shown = f"mode {stat.S_IMODE(mode):04o}"
    if holds_secret and mode & _OTHERS:
        verb = "read" if mode & (stat.S_IRGRP | stat.S_IROTH) else "change"
        return f"it holds a password, and others on this machine may {verb} it ({shown})", f"chmod 600 {quote(path)}"
    if mode & stat.S_IWOTH:
        return f"everybody on this machine may change it ({shown})", f"chmod o-w {quote(path)}"
    return None


def read_file(path: str, *, pipe_timeout_s: float = PIPE_TIMEOUT_S) -> bytes:
    """Return the content of a file of at most MAX_FILE_BYTES; the size is checked before the read, and for pipes during
    it.

    Raises ConfigurationError, also where a pipe is silent for `pipe_timeout_s` seconds.
    """
    mend: str | None
    try:
        # Without O_NONBLOCK, the open of a pipe without a writer never returns.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            content = _read(descriptor, pipe_timeout_s) if size <= MAX_FILE_BYTES else b""
        finally:
            os.close(descriptor)
    except _SilentPipeError:
        what, mend = f"nothing was written into this pipe for {pipe_timeout_s:g} s", "name a file"
    except OSError as error:
        what, mend = _REASONS.get(type(error), (f"the file cannot be read: {error.strerror}", None))
    except ValueError:
        what, mend = "this cannot be the name of a file", None
    else:
        if max(size, len(content)) <= MAX_FILE_BYTES:
            return content
        what, mend = f"the file has more than {format_size(MAX_FILE_BYTES)}", "is it the right file?"
    raise ConfigurationError([Problem(shown(path), None, None, what, mend)])


def find_readable(directory: str, name: str) -> tuple[str, bool]:
    """Return the full path of a file that is named from a directory, and whether it can be read."""
    path = str(Path(directory) / name)
    return path, Path(path).is_file() and os.access(path, os.R_OK)


def directory_of(path: str) -> str:
    """Return the full path of the directory for relative paths in a file; for a pipe, the current one."""
    return str(Path(path).parent.absolute() if Path(path).is_file() else Path.cwd())


class _SilentPipeError(Exception):
    """Neither content nor an end came in time."""


def _read(descriptor: int, timeout_s: float) -> bytes:
    """Read until the end, or one byte more than is allowed. A pipe without a writer yet is not at its end."""
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
