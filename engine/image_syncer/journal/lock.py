"""The lock of a journal: one run at a time, and nothing left behind by a killed one.

It is a flock(2) on a file beside the journal (`FILE-lock`), which the kernel releases with the process. The file stays,
since removing it could remove another run's lock. It is not on the journal itself: where flock is made of fcntl locks
(NFS), it would conflict with SQLite's, and closing any descriptor of a file drops all fcntl locks on it. The process ID
in the file is for people only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time

from image_syncer.errors import JournalError

_PATIENCE_S = 1.0
"""`status` takes the lock for an instant, so a run that begins just then tries again."""
_PAUSE_S = 0.02
_MOST_DIGITS = 20
_TAKEN = (errno.EWOULDBLOCK, errno.EACCES)


class JournalLock:
    """The lock on the journal `path` until `release` or the end of the process.

    Raises JournalError, with the ID of the other process, where it is taken.
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
        """Release the lock. May be called again."""
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
                pid = _read_number(self._file)
                raise JournalError(
                    f"{f'the run of process {pid}' if pid else 'another run'} is writing the journal {path}",
                    hint="Wait until it has ended, or give this run a journal of its own. `image-syncer status FILE` "
                    "shows how far that run is.",
                )
            time.sleep(_PAUSE_S)


def find_holder(path: str) -> int | None:
    """Return the ID of the process that has the lock on the journal `path`; 0 if it is unreadable, None without one."""
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
