"""Who may read and change a file: what deserves a warning."""

from __future__ import annotations

import stat
from shlex import quote

__all__ = ["mode_warning"]

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def mode_warning(mode: int, path: str, *, holds_secret: bool) -> tuple[str, str] | None:
    """What is wrong with the mode of a file, and the mend; None where nothing is, or where it is no regular file.

    A file that `holds_secret` is for its owner alone. Any other may be read by everybody, and must not be written by
    everybody: it says where images come from and go. A group that may write is no finding there, because it is what the
    umask of many systems gives.
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
