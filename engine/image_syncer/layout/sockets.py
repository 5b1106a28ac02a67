"""Where the sockets of servers are."""

from __future__ import annotations

import tempfile

__all__ = ["socket_directory"]

_LONGEST_DIRECTORY = 90
"""The kernel takes 107 bytes for the path of a socket (unix(7)), with its name."""


def socket_directory() -> tempfile.TemporaryDirectory[str]:
    """A directory that nobody else can enter, which is removed when the block is left. It is where temporary files are,
    unless that path is too long for a socket.
    """
    # Not before: it brings a server, and a run without places asks for none.
    from image_syncer.embedded.process import SOCKETS_PREFIX

    short = len(tempfile.gettempdir()) < _LONGEST_DIRECTORY
    return tempfile.TemporaryDirectory(prefix=SOCKETS_PREFIX, dir=None if short else "/tmp")  # noqa: S108 - by mkdtemp
