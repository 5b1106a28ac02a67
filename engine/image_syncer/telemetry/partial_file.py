"""PartialFile: a file that appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO, BinaryIO

from image_syncer.errors import ConfigurationError, SyncError

__all__ = ["PartialFile"]


class PartialFile:
    """Writes to `PATH.partial`; `commit` makes it `PATH`.

    A link stays a link, and what it points at is replaced. A path that is no regular file (/dev/stdout, a
    pipe) is written to as it is. `noun` and `option` name the file in messages ("the report", "--report").
    Raises `ConfigurationError` where the file cannot be made, `SyncError` where it cannot be written later.
    """

    def __init__(self, path: str, *, noun: str, option: str) -> None:
        self.path = path
        self._noun = noun
        # What /dev/stdout leads to may have a name that is none ("pipe:[4711]"): the one that was given opens it.
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

    @classmethod
    def write_all(cls, path: str, data: bytes, *, noun: str, option: str) -> None:
        """The file with `data` in it, or no file: raises what the single steps raise."""
        file = cls(path, noun=noun, option=option)
        try:
            file.write(data)
            file.commit()
        except SyncError:
            file.abandon()
            raise

    @classmethod
    def try_out(cls, path: str, *, noun: str, option: str) -> None:
        """Raises ConfigurationError where the file could not be made now: before the work whose result goes there."""
        if not _is_special(Path(os.path.realpath(path))):
            cls(path, noun=noun, option=option).abandon()

    def open_aside(self) -> IO[bytes]:
        """A file without a name, on the same disk, for what is to be appended later; it is gone when it is closed.

        Raises OSError, and what is written to it may; `failure` makes an error for people of it.
        """
        import tempfile  # loads a dozen modules, for which the first request of a run should not wait

        # Beside a device or a pipe no file can be made.
        return tempfile.TemporaryFile(dir=None if self._in_place else self._target.parent)

    def write(self, data: bytes) -> None:
        """Appends `data`."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self.failure(error) from None

    def commit(self) -> None:
        """Closes the file and gives it its name."""
        try:
            self._file.close()
            if not self._in_place:
                self._partial.replace(self._target)
        except OSError as error:
            raise self.failure(error) from None

    def abandon(self) -> None:
        """Closes the file and leaves nothing behind."""
        with contextlib.suppress(OSError):
            self._file.close()
        if not self._in_place:
            self._partial.unlink(missing_ok=True)

    def failure(self, error: OSError) -> SyncError:
        """What is said to people when `error` keeps this file from being written."""
        return SyncError(f"{self._noun} cannot be written to {self.path}: {error.strerror}")


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
