"""The paths of control sockets, one for each process, and the users that may connect."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


_NAME = "image-syncer"
_OTHERS = 0o077
_PEER = struct.Struct("3i")
ALIVE_S = 0.5
"""The greeting timeout of a control socket."""


def control_directory(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_RUNTIME_DIR/image-syncer` (XDG Base Directory Specification), or the user's directory in /tmp."""
    runtime = Path(environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and runtime.is_dir():
        return runtime / _NAME
    return _of_user(os.geteuid())


def default_control_socket(environ: Mapping[str, str], pid: int) -> str:
    """Return the default socket of the process `pid`."""
    return str(control_directory(environ) / f"{pid}.sock")


def control_socket_of(environ: Mapping[str, str], pid: int) -> str | None:
    """Return the socket of the process `pid`, perhaps another user's; None where it has none."""
    places = [control_directory(environ), _of_user(os.geteuid())]
    with contextlib.suppress(OSError):
        user = Path(f"/proc/{pid}").stat().st_uid
        places += [Path(f"/run/user/{user}/{_NAME}"), _of_user(user)]
    return next((str(path) for place in places if (path := place / f"{pid}.sock").exists()), None)


def control_sockets(environ: Mapping[str, str]) -> list[str]:
    """Return the sockets of this user's runs, the oldest first."""
    found: dict[str, float] = {}
    for place in {control_directory(environ), _of_user(os.geteuid())}:
        with contextlib.suppress(OSError):
            if not _is_ours(place):
                continue  # another user may have put anything there
            for path in place.glob("*.sock"):
                if path.is_socket() and is_alive(path):
                    found[str(path)] = path.stat().st_mtime
    return sorted(found, key=found.__getitem__)


def sweep(directory: Path) -> None:
    """Remove the sockets of killed runs from `directory`, which is this user's alone. A socket gets its name once it
    listens, so none of a live run is removed.
    """
    with contextlib.suppress(OSError):
        for path in directory.glob("*.sock"):
            if path.is_socket() and not is_alive(path):
                path.unlink(missing_ok=True)


def is_alive(path: Path) -> bool:
    """Return whether a process listens at `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ALIVE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            pass  # it is busy
        return True


def make_private(directory: Path) -> None:
    """Make `directory` with mode 700. Raises OSError where it exists and is another user's, or open to others: they
    could have put anything there.
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


def peer_user(connection: socket.socket) -> int | None:
    """Return the user at the other end, as the kernel says (SO_PEERCRED, unix(7)); None where it does not (not
    Linux).
    """
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _PEER.size))
    return int(user)
