"""The lock of a journal: one run at a time, and nothing left behind by one that was killed.

It is a flock(2) on a file beside the journal (`FILE-lock`), which the kernel gives back with the process, however that
ends; the file stays, since whoever removed it could remove the lock of another. It is not on the journal itself: where
flock is made of fcntl locks (NFS), SQLite's own would get in its way, and closing any descriptor of a file drops all
fcntl locks on it. The number of the process stands in the file for people only; what counts is the lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time

from image_syncer.errors import JournalError

__all__ = ["JournalLock", "find_holder"]

_PATIENCE_S = 1.0
"""`status` holds the lock for an instant to see whether it is free: a run that begins just then tries again."""
_PAUSE_S = 0.02
_MOST_DIGITS = 20
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


class JournalLock:
    """The lock on the journal `path`, from the moment this is made until `release` or the end of the process.

    Raises JournalError, with the number of the process that has it, where it is taken.
    """

    def __init__(self, path: str) -> None:
        self._file = _open(path)
        try:
            self._take(path)
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise JournalError(f"the journal {path} cannot be locked: {error.strerror}") from None
        except JournalError:
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back. May be called again."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _take(self, path: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise
            else:
                return
            if time.monotonic() > deadline:
                raise _taken(path, _read_number(self._file))
            time.sleep(_PAUSE_S)


def find_holder(path: str) -> int | None:
    """The number of the process that has the lock on the journal `path` now; 0 where that number cannot be read, None
    where nobody has it.
    """
    try:
        file = os.open(_name(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return _read_number(file) if error.errno in _TAKEN else None
    finally:
        os.close(file)
    return None


def _open(path: str) -> int:
    try:
        return os.open(_name(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        hint = "The folder of --state FILE must exist, and this user must be able to write into it."
        raise JournalError(f"{_name(path)} cannot be opened: {error.strerror}", hint=hint) from None


def _name(path: str) -> str:
    return f"{path}-lock"


def _read_number(file: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(os.pread(file, _MOST_DIGITS, 0))
    return 0


def _taken(path: str, pid: int) -> JournalError:
    who = f"the run of process {pid}" if pid else "another run"
    return JournalError(
        f"{who} is writing the journal {path}",
        hint="Wait until it has ended, or give this run a journal of its own. `image-syncer status FILE` shows how far "
        "that run is.",
    )
