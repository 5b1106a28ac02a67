"""Where the sockets of runs lie: one for each process, in a directory that is its user's alone."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "control_directory",
    "control_socket_of",
    "control_sockets",
    "default_control_socket",
    "is_alive",
    "make_private",
    "sweep",
]

_NAME = "image-syncer"
_OTHERS = 0o077
ALIVE_S = 0.5
"""That whoever listens at a socket may take to say that he is there."""


def control_directory(environ: Mapping[str, str]) -> Path:
    """`$XDG_RUNTIME_DIR/image-syncer` (XDG Base Directory Specification), or one of the user's own under /tmp."""
    runtime = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and runtime.is_dir():
        return runtime / _NAME
    return _of_user(os.geteuid())


def default_control_socket(environ: Mapping[str, str], pid: int) -> str:
    """Where the process `pid` listens if nothing else was said."""
    return str(control_directory(environ) / f"{pid}.sock")


def control_socket_of(environ: Mapping[str, str], pid: int) -> str | None:
    """The socket at which the process `pid`, perhaps another user's, listens; None where there is none."""
    places = [control_directory(environ), _of_user(os.geteuid())]
    with contextlib.suppress(OSError):
        user = Path(f"/proc/{pid}").stat().st_uid
        places += [Path(f"/run/user/{user}/{_NAME}"), _of_user(user)]
    return next((str(path) for place in places if (path := place / f"{pid}.sock").exists()), None)


def control_sockets(environ: Mapping[str, str]) -> list[str]:
    """The sockets of this user's runs at which somebody listens, the oldest first."""
    found: dict[str, float] = {}
    for place in {control_directory(environ), _of_user(os.geteuid())}:
        with contextlib.suppress(OSError):
            if not _is_ours(place):
                continue  # whoever made it could have put anything there
            for path in place.glob("*.sock"):
                if path.is_socket() and is_alive(path):
                    found[str(path)] = path.stat().st_mtime
    return sorted(found, key=found.__getitem__)


def sweep(directory: Path) -> None:
    """Takes away what runs that were killed have left in `directory`, which is this user's alone. A run's socket gets
    its name when it listens, so that none is taken from one that lives.
    """
    with contextlib.suppress(OSError):
        for path in directory.glob("*.sock"):
            if path.is_socket() and not is_alive(path):
                path.unlink(missing_ok=True)


def is_alive(path: Path) -> bool:
    """Whether somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ALIVE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True


def make_private(directory: Path) -> None:
    """Makes sure that `directory` is there, with mode 700 and ours. Raises OSError where it is somebody else's, or open
    to others: whoever was there first could have put anything at our place.
    """
    with contextlib.suppress(FileExistsError):
        directory.mkdir(0o700)
    if not _is_ours(directory):
        raise PermissionError(f"{directory} has to be a directory of this user alone (mode 700)")


def _is_ours(directory: Path) -> bool:
    found = directory.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _OTHERS


def _of_user(user: int) -> Path:
    # Not tempfile.gettempdir(), which tries by writing a file.
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"{_NAME}-{user}"  # noqa: S108 - `make_private` looks at it
