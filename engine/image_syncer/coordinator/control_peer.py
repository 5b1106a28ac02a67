"""Who is at the other end of a Unix socket, as the kernel says (SO_PEERCRED, unix(7))."""

from __future__ import annotations

import socket
import struct

__all__ = ["peer_user"]

_PEER = struct.Struct("3i")


def peer_user(connection: socket.socket) -> int | None:
    """The user of the process that connected or listened there; None where the kernel does not tell (not Linux)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, user, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, option, _PEER.size))
    return int(user)
