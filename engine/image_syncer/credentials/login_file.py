"""One file of logins, changed: what else is in it stays, no other login is lost, and nobody else may read it.

The file is written beside itself and put in its place at once. Logins of image-syncer go one after the other, by a lock
on the folder, which leaves nothing behind; what another program has written meanwhile is read again.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.config.file_reading import read_file
from image_syncer.config.findings import shown
from image_syncer.credentials.docker_config import parse_docker_config
from image_syncer.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["LOCK_TIMEOUT_S", "change_logins", "check_kind"]

LOCK_TIMEOUT_S = 10.0
"""Another login holds the lock for milliseconds."""
_LOCK_PAUSE_S = 0.02
_MOST_TRIES = 50
"""So often may another program change the file just while we do."""
_OWNER_ONLY = 0o700


def change_logins(path: str, change: Callable[[dict[str, Any]], None]) -> bool:
    """Have `change` alter the logins (`auths`, by key) of the file at `path`; whether anything is another than before.

    A link stays a link. The file, and folders that are not there, are made for their owner alone. Raises
    ConfigurationError where the file or its folder cannot be used; then everything is as it was.
    """
    real = Path(os.path.realpath(path))
    try:
        real.parent.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        with _locked(real.parent, path):
            for _ in range(_MOST_TRIES):
                before = _content(real)
                data = _parsed(before, path)
                unchanged = json.dumps(data)
                change(data["auths"])
                if json.dumps(data) == unchanged:
                    return False
                if _try_put(real, data, before):
                    return True
    except OSError as error:
        raise _unusable(path, error) from None
    what = "another program does not stop changing the file"
    raise ConfigurationError([Problem(path, None, None, what, "try it again when that has ended")])


def check_kind(path: str) -> None:
    """Raises ConfigurationError for a device or a pipe, in whose place a file would be put (/dev/null would be one for
    everybody on the machine), and for what cannot be looked at.
    """
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _unusable(path, error) from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        what = "logins cannot be kept here: it is no file, but a device or a pipe"
        raise ConfigurationError([Problem(path, None, None, what, "name a file with --authfile")])


def _unusable(path: str, error: OSError) -> ConfigurationError:
    what = f"logins cannot be kept here: {error.strerror or error}"
    return ConfigurationError([Problem(shown(path), None, None, what, "name another file with --authfile")])


def _content(real: Path) -> bytes:
    return read_file(str(real)) if real.exists() else b""


def _parsed(content: bytes, path: str) -> dict[str, Any]:
    parse_docker_config(content, path)  # which tells what is wrong with it, and where
    data: dict[str, Any] = json.loads(content or b"{}")
    if data.get("auths") is None:
        data["auths"] = {}
    if not isinstance(data["auths"], dict):
        raise ConfigurationError([Problem(path, None, "auths", "no JSON object", "mend it, or name another file")])
    return data


def _try_put(real: Path, data: dict[str, Any], before: bytes) -> bool:
    """Put the new content in the place of the old; False where the old is no longer what it was."""
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)  # with mode 600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            # As docker writes it: with tabs, and no end of line.
            file.write(json.dumps(data, indent="\t"))
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # root may log in for somebody else, whose file it stays
            owner = real.stat()
            os.chown(temporary, owner.st_uid, owner.st_gid)
        if _content(real) != before:
            return False
        temporary.replace(real)
        return True
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path, path: str) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                what = f"another login has held the folder for {LOCK_TIMEOUT_S:g} s"
                raise ConfigurationError([Problem(path, None, None, what, "end it, and try again")])
            time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # On a file system without locks, what others write is still noticed.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True
