"""The other end of a run's socket: commands from another process, each with its answer."""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.control_peer import peer_user
from image_syncer.errors import SyncError
from image_syncer.telemetry.snapshot_data import snapshot_from_data

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.telemetry import Snapshot

__all__ = ["ControlClient", "read_snapshot"]

ANSWER_S = 10.0
"""For an answer, however it comes: a run whose loop stands still for so long has other worries."""
CHUNK_BYTES = 64 * 2**10
MOST_LINE_BYTES = 4 * 2**20
"""A snapshot of the largest run has a tenth of it."""
_FIELDS: dict[str, type] = {"paused": bool, "draining": bool, "rate": str, "streams": int, "errors": list}
_ANSWERS: dict[str, tuple[str, ...]] = {
    "pause": ("paused", "draining"),
    "resume": ("paused", "draining"),
    "drain": ("paused", "draining"),
    "rate": ("rate",),
    "streams": ("streams",),
    "errors": ("errors",),
}
"""What the answer to a command has, at least."""


class ControlClient:
    """Blocks while it waits. Raises SyncError where nobody listens at `path`, where it is another user's process that
    does (but for root), or where what comes is no answer.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        self._buffer = b""
        self.ended = False
        """Whether the run has ended, as far as is known."""
        self.said_so = False
        """Whether it was the run that told of its end: one that was killed cannot."""
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise SyncError(
                f"no run answers at {path}: {error.strerror or error}",
                hint="Runs that copy listen while they go on, and watches, unless --control none was given.",
            ) from error
        if (user := peer_user(self._socket)) not in (None, os.geteuid()) and os.geteuid() != 0:
            self._socket.close()
            raise SyncError(
                f"it is a process of another user (uid {user}) that listens at {path}",
                hint="Only that user and root control the run; whatever else it is, it is not yours.",
            )

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def fileno(self) -> int:
        """Of the socket, to wait for what comes together with other things (`select`)."""
        return self._socket.fileno()

    def ask(self, command: str, **given: Any) -> dict[str, Any]:
        """The answer to a command. Raises SyncError with the run's own words where it refuses."""
        self._send({"v": 1, "command": command, **given})
        deadline = time.monotonic() + ANSWER_S
        while True:
            for told in self.take(wait=True):
                if "ok" in told:
                    return self._checked(command, told)
            if self.ended:
                raise SyncError(self.end_words)
            if time.monotonic() > deadline:
                raise SyncError(f"the run at {self._path} does not answer")

    @property
    def end_words(self) -> str:
        """How it has ended, as far as is known here."""
        return "the run has ended" if self.said_so else "the run is gone without a word: it was killed, or has hung up"

    def _checked(self, command: str, told: dict[str, Any]) -> dict[str, Any]:
        if not told["ok"]:
            raise SyncError(f"the run refused: {told.get('error', 'no reason was given')}")
        if any(not isinstance(told.get(name), _FIELDS[name]) for name in _ANSWERS.get(command, ())):
            raise self._strange()
        return told

    def take(self, *, wait: bool = False) -> Iterator[dict[str, Any]]:
        """What has come: answers and events. With `wait`, at least once something is waited for."""
        if wait and b"\n" not in self._buffer:
            self._receive()
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            try:
                told = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise self._strange() from error
            if not isinstance(told, dict):
                raise self._strange()
            if told.get("event") == "end":
                self.ended = self.said_so = True
            yield told

    def receive(self) -> None:
        """Read what is there, after `select` said that there is something."""
        self._receive()

    def snapshot(self) -> Snapshot | None:
        """The run now; None where none is under way (between the rounds of a watch)."""
        return read_snapshot(self.ask("status"))

    def _send(self, command: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(command).encode() + b"\n")
        except TimeoutError as error:
            raise SyncError(f"the run at {self._path} does not answer") from error
        except OSError:
            return  # it has hung up; why, it may have said before

    def _receive(self) -> None:
        try:
            chunk = self._socket.recv(CHUNK_BYTES)
        except TimeoutError as error:
            raise SyncError(f"the run at {self._path} does not answer") from error
        except OSError:
            chunk = b""
        if not chunk:
            self.ended = True
        self._buffer += chunk
        if len(self._buffer) > MOST_LINE_BYTES and b"\n" not in self._buffer:
            raise self._strange()

    def _strange(self) -> SyncError:
        return SyncError(f"{self._path} answers with something else than a run does")


def read_snapshot(told: dict[str, Any]) -> Snapshot | None:
    """The snapshot in what a run told, if there is one. Raises SyncError where it cannot be read."""
    data = told.get("snapshot")
    if data is None:
        return None
    try:
        return snapshot_from_data(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SyncError("the run tells how it goes in a way that this version cannot read") from error
