"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO, BinaryIO

from image_syncer.errors import ConfigurationError, SyncError


class PartialFile:
    """Writes to `PATH.partial`; `commit` makes it `PATH`.

    A link stays a link, and its target is replaced. A path that is no regular file (/dev/stdout, a pipe) is written
    directly. `noun` and `option` name the file in messages ("the report", "--report"). Raises `ConfigurationError`
    where the file cannot be created; `commit` raises `SyncError` where it could not be written later.
    """

    def __init__(self, path: str, *, noun: str, option: str) -> None:
        self.path = path
        self._noun = noun
        # The target of /dev/stdout may have no usable name ("pipe:[4711]"), so the given path is opened.
        self._in_place = _is_special(Path(path))
        self._target = Path(path) if self._in_place else Path(os.path.realpath(path))
        self._partial = self._target if self._in_place else Path(f"{self._target}.partial")
        try:
            if self._target.is_dir():
                raise IsADirectoryError(None, "it is a folder")
            self._file: BinaryIO = self._partial.open("wb")
        except OSError as error:
            raise ConfigurationError(
                f"{noun} cannot be written to {path}: {error.strerror}",
                hint=f"Give {option} a file in a folder that exists and may be written to.",
            ) from None
        self._error: SyncError | None = None

    @classmethod
    def write_all(cls, path: str, data: bytes, *, noun: str, option: str) -> None:
        """Write a whole file, or none; raises what the single steps raise."""
        file = cls(path, noun=noun, option=option)
        file.write(data)
        file.commit()

    @classmethod
    def try_out(cls, path: str, *, noun: str, option: str) -> None:
        """Raises ConfigurationError where the file cannot be created: before the work whose result goes there."""
        if not _is_special(Path(os.path.realpath(path))):
            cls(path, noun=noun, option=option).abandon()

    def open_aside(self) -> IO[bytes]:
        """Open an unnamed file on the same disk, for data to append later; closing it deletes it. Raises OSError."""
        import tempfile  # loads a dozen modules, which would delay the first request of a run

        # No file can be created beside a device or a pipe.
        return tempfile.TemporaryFile(dir=None if self._in_place else self._target.parent)

    def write(self, data: bytes) -> None:
        """Append `data`. After an error nothing more is written, and `commit` raises it."""
        if self._error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.fail(error)

    def fail(self, error: OSError) -> None:
        """Note why the file cannot be written; `commit` raises the first such error."""
        if self._error is None:
            self._error = SyncError(f"{self._noun} cannot be written to {self.path}: {error.strerror}")

    def commit(self) -> None:
        """Close the file and give it its name. Raises SyncError, and leaves no file, where anything has failed."""
        try:
            self._file.close()
            if not self._in_place and self._error is None:
                self._partial.replace(self._target)
        except OSError as error:
            self.fail(error)
        if self._error is not None:
            self.abandon()
            raise self._error

    def abandon(self) -> None:
        """Close the file and leave nothing behind."""
        with contextlib.suppress(OSError):
            self._file.close()
        if not self._in_place:
            self._partial.unlink(missing_ok=True)


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
