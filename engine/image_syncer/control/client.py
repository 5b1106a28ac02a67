"""The client of a run's control socket: commands from another process, each with its answer."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from image_syncer.control.paths import peer_user
from image_syncer.errors import SyncError
from image_syncer.telemetry.outcome import Outcome
from image_syncer.telemetry.progress import RegistryRow, Snapshot, TransferRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


ANSWER_S = 10.0
"""Time for an answer."""
CHUNK_BYTES = 64 * 2**10
MOST_LINE_BYTES = 4 * 2**20
"""Ten times the snapshot of the largest run."""
_MOST = 2**63
"""The bound of every number in a snapshot."""
_PAUSED: dict[str, type] = {"paused": bool, "draining": bool}
_ANSWERS: dict[str, dict[str, type]] = {
    "pause": _PAUSED,
    "resume": _PAUSED,
    "drain": _PAUSED,
    "rate": {"rate": str},
    "streams": {"streams": int},
    "errors": {"errors": list},
}
"""The fields that the answer to a command has, at least."""
_ROWS: dict[str, type[Any]] = {"slowest": TransferRow, "registries": RegistryRow, "workers": WorkerRow}
_NUMBER = (int, float)
_PLAIN: dict[str, tuple[type, ...]] = {
    "int": _NUMBER,
    "float": _NUMBER,
    "str": (str,),
    "bool": (bool,),
    "None": (type(None),),
}
"""The types in JSON for the names in annotations."""


class ControlClient:
    """Blocks while it waits. Raises SyncError where no process listens at `path`, or that of another user (but for
    root), and where the answers are not those of a run.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_S)
        self._buffer = b""
        self.ended = False
        """Whether the run has ended, or hung up."""
        self.said_so = False
        """Whether the run has sent its end: one that was killed cannot."""
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
        """Close the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor of the socket, for `select`."""
        return self._socket.fileno()

    def ask(self, command: str, **given: Any) -> dict[str, Any]:
        """Send a command, and return its answer. Raises SyncError with the message of the run where it refuses."""
        self._send({"v": 1, "command": command, **given})
        deadline = time.monotonic() + ANSWER_S
        while True:
            for message in self.take(wait=True):
                if "ok" in message:
                    return self._checked(command, message)
            if self.ended:
                raise SyncError(self.end_words)
            if time.monotonic() > deadline:
                raise SyncError(f"the run at {self._path} does not answer")

    @property
    def end_words(self) -> str:
        """How the run has ended, in words."""
        return "the run has ended" if self.said_so else "the run is gone without a word: it was killed, or has hung up"

    def _checked(self, command: str, message: dict[str, Any]) -> dict[str, Any]:
        if not message["ok"]:
            raise SyncError(f"the run refused: {message.get('error', 'no reason was given')}")
        if any(not isinstance(message.get(name), kind) for name, kind in _ANSWERS.get(command, {}).items()):
            raise self._strange()
        return message

    def take(self, *, wait: bool = False) -> Iterator[dict[str, Any]]:
        """Yield the answers and events that have come; with `wait`, wait for data first, if there is none."""
        if wait and b"\n" not in self._buffer:
            self.receive()
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            try:
                message = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise self._strange() from error
            if not isinstance(message, dict):
                raise self._strange()
            if message.get("event") == "end":
                self.ended = self.said_so = True
            yield message

    def snapshot(self) -> Snapshot | None:
        """Return the progress of the run; None between the rounds of a watch."""
        return read_snapshot(self.ask("status"))

    def _send(self, command: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(command).encode() + b"\n")
        except TimeoutError as error:
            raise SyncError(f"the run at {self._path} does not answer") from error
        except OSError:
            return  # it has hung up; an event before may say why

    def receive(self) -> None:
        """Read what has come, or wait for it."""
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


def read_snapshot(message: dict[str, Any]) -> Snapshot | None:
    """Return the snapshot in an answer or event, if there is one. Raises SyncError where it cannot be read."""
    data = message.get("snapshot")
    if data is None:
        return None
    try:
        return snapshot_from_data(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SyncError("the run reports its state in a format that this version cannot read") from error


def snapshot_data(snapshot: Snapshot) -> dict[str, Any]:
    """Return `snapshot` as plain data, by the names of its fields."""
    data: dict[str, Any] = to_builtins(snapshot)
    return data


def snapshot_from_data(data: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot in `data`. Raises ValueError, TypeError, KeyError or AttributeError where it has none."""
    known = _known(Snapshot, data)
    known["outcomes"] = {Outcome(name): _checked("int", count) for name, count in data.get("outcomes", {}).items()}
    known["stuck"] = tuple(map(str, data.get("stuck", ())))
    for name, row in _ROWS.items():
        known[name] = tuple(row(**_known(row, one)) for one in data.get(name, ()))
    return Snapshot(**known)


def _known(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    types = {field.name: str(field.type) for field in fields(kind)}
    return {name: _checked(types[name], value) for name, value in data.items() if name in types}


def _checked(type_name: str, value: Any) -> Any:
    """Return `value`. Raises TypeError where it is not of the plain type that `type_name` annotates, and ValueError for
    numbers out of bounds.
    """
    names = type_name.split(" | ")
    if not set(names) <= _PLAIN.keys():
        return value
    if type(value) not in {kind for name in names for kind in _PLAIN[name]}:
        raise TypeError(f"{value!r:.40} is no {type_name}")
    if isinstance(value, (int, float)) and not abs(value) <= _MOST:
        raise ValueError(f"{value!r:.40} is more than there can be")
    return value
