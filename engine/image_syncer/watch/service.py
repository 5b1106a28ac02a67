"""What is told to the service manager: systemd's notification protocol (sd_notify(3)), in a few lines.

`READY=1` when the watch is at work, `STATUS=` in a sentence, `WATCHDOG=1` half as often again as it is waited for, and
`STOPPING=1`. Where nobody listens (`NOTIFY_SOCKET` is not set), nothing is told.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServiceManager"]

MOST_WAIT_S = 0.25
"""For a manager that has not read what it was told before: the runs wait as long."""
_MOST_STATUS_CHARS = 200


class ServiceManager:
    """The door to systemd; `pid` is our own process, `environ` what it was started with."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" is an abstract socket, whose name begins with a zero byte: unix(7).
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.beat_every_s = _watchdog_s(environ, pid) / 2 if self._address else 0.0
        """How often `beat` is to be called, in seconds; 0: nobody waits for it."""

    def tell(self, *lines: str) -> None:
        """Such as `READY=1`. What cannot be told is not missed."""
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door,
        ):
            door.settimeout(MOST_WAIT_S)
            door.connect(self._address)
            door.sendall("\n".join(lines).encode())

    def say(self, text: str) -> None:
        """What `systemctl status` shows."""
        self.tell(f"STATUS={text[:_MOST_STATUS_CHARS]}".replace("\n", " "))

    def beat(self) -> None:
        """We are still alive."""
        self.tell("WATCHDOG=1")


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float:
    """sd_watchdog_enabled(3): microseconds, for the process that is named, or for any."""
    text, of = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    return int(text) / 1e6 if text.isascii() and text.isdigit() and of in ("", str(pid)) else 0.0
