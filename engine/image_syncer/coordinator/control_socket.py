"""The socket of a run: one JSON line a command, one JSON line an answer. See docs/display.md for the protocol.

Whoever may connect can slow the run down or end it, so only the user who runs it may, and root: the socket has mode 600
and its directory 700, and the other side's user is asked of the kernel (SO_PEERCRED, unix(7)).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.config import RateSchedule
from image_syncer.coordinator.control_paths import control_directory, is_alive, make_private, sweep
from image_syncer.coordinator.control_peer import peer_user
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.coordinator.control import RunControl
    from image_syncer.telemetry import Snapshot

__all__ = ["PROTOCOL", "ControlSocket", "open_listener"]

PROTOCOL = 1
"""The version that every line names (`v`). Fields and commands may be added to it; what there is keeps its meaning."""
MOST_LINE_BYTES = 16 * 2**10
MOST_UNREAD_BYTES = 512 * 2**10
"""That wait for a client to read them: one that lets more come up is dropped."""
UNREAD_S = 10.0
"""For how long a client may read nothing of what it has asked for."""
MOST_CLIENTS = 16
LEAST_SPACING_S, DEFAULT_SPACING_S, MOST_SPACING_S = 0.1, 0.5, 60.0
"""Of snapshots in a stream."""

_log = get_logger(__name__)


class ControlSocket:
    """Answers commands for `control` at `path`, which is gone when it is closed."""

    def __init__(self, control: RunControl, path: str) -> None:
        self._control = control
        self._path = Path(path)
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._streams: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "status": self._status,
            "pause": lambda _given: self._done(control.pause),
            "resume": lambda _given: self._done(control.resume),
            "drain": lambda _given: self._done(control.drain),
            "rate": self._rate,
            "streams": self._set_streams,
            "errors": lambda _given: {"errors": [{"at": at, "text": text} for at, text in control.errors()]},
        }

    async def open(self) -> ControlSocket | None:
        """Itself, listening; None where that is not possible, which is told in the logs."""
        try:
            listener = open_listener(self._path)
            try:
                found = self._path.lstat()
                self._identity = found.st_dev, found.st_ino
                self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MOST_LINE_BYTES)
            except BaseException:
                listener.close()
                raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            _log.warning("the run cannot be controlled from outside", socket=str(self._path), reason=reason)
            return None
        return self

    async def close(self) -> None:
        """Say good-bye, and take the socket away."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            self._say(writer, {"event": "end"})
        for task in list(self._streams.values()):
            task.cancel()
        await asyncio.gather(*self._streams.values(), return_exceptions=True)
        for writer in list(self._writers):
            writer.close()
        with contextlib.suppress(OSError):
            found = self._path.lstat()
            if (found.st_dev, found.st_ino) == self._identity:  # and not that of somebody who came later
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not _is_allowed(writer):
            writer.close()
            return
        if len(self._writers) >= MOST_CLIENTS:
            self._say(writer, {"ok": False, "error": f"{MOST_CLIENTS} others look on already"})
            writer.close()
            return
        self._writers.add(writer)
        try:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:  # longer than any command
                    self._say(writer, {"ok": False, "error": f"a command has {MOST_LINE_BYTES} bytes at most"})
                    return
                if not line:
                    return
                if line.strip():
                    self._say(writer, self._answer(line, writer))
                    # What was sent at once is not answered at once: the run, and those who read, have their turns.
                    await asyncio.sleep(0)
                    await asyncio.wait_for(writer.drain(), UNREAD_S)
        except (asyncio.TimeoutError, TimeoutError):
            writer.transport.abort()
        except OSError:
            return  # the client is gone
        finally:
            self._writers.discard(writer)
            if (task := self._streams.pop(writer, None)) is not None:
                task.cancel()
            writer.close()

    def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> dict[str, Any]:
        """What is said to one line; whatever it is, it is an answer."""
        try:
            given = orjson.loads(line)
        except orjson.JSONDecodeError:
            return {"ok": False, "error": "that is not JSON: a command is one object a line"}
        if not isinstance(given, dict):
            return {"ok": False, "error": "a command is an object"}
        told = {"id": given["id"]} if isinstance(given.get("id"), (str, int)) else {}
        if given.get("v", PROTOCOL) != PROTOCOL:
            return {**told, "ok": False, "error": f"this run speaks version {PROTOCOL} of the protocol"}
        name = given.get("command")
        command = self._commands.get(name) if isinstance(name, str) else None
        if name == "snapshots":
            command = partial(self._stream, writer)
        if command is None:
            known = ", ".join([*self._commands, "snapshots"])
            return {**told, "ok": False, "error": f"no such command; there are {known}"}
        try:
            return {**told, "ok": True, **command(given)}
        except ValueError as error:
            return {**told, "ok": False, "error": str(error)}

    def _status(self, _given: dict[str, Any]) -> dict[str, Any]:
        snapshot = self._control.snapshot()
        told = {"pid": os.getpid(), **self._holds(), "snapshot": None if snapshot is None else _data_of(snapshot)}
        rounds = self._control.rounds
        return told if rounds is None else {**told, "watch": rounds.as_data()}

    def _done(self, act: Callable[[], None]) -> dict[str, Any]:
        act()
        return self._holds()

    def _holds(self) -> dict[str, Any]:
        return {"paused": self._control.is_paused, "draining": self._control.is_draining}

    def _rate(self, given: dict[str, Any]) -> dict[str, Any]:
        text = given.get("rate")
        if not isinstance(text, str):
            raise ValueError('"rate" is a text as of --rate, such as "200MB/s" or "none"')
        rate = RateSchedule.parse(text)
        self._control.change_rate(rate)
        return {"rate": "none" if rate is None else str(rate)}

    def _set_streams(self, given: dict[str, Any]) -> dict[str, Any]:
        most = given.get("streams")
        if not isinstance(most, int) or isinstance(most, bool):
            raise ValueError('"streams" is a whole number')
        return {"streams": self._control.change_streams(most)}

    def _stream(self, writer: asyncio.StreamWriter, given: dict[str, Any]) -> dict[str, Any]:
        every_s = given.get("every_s", DEFAULT_SPACING_S)
        if not isinstance(every_s, (int, float)) or not LEAST_SPACING_S <= every_s <= MOST_SPACING_S:
            raise ValueError(f'"every_s" is a number of seconds from {LEAST_SPACING_S:g} to {MOST_SPACING_S:g}')
        if (before := self._streams.pop(writer, None)) is not None:
            before.cancel()
        self._streams[writer] = asyncio.get_running_loop().create_task(self._tell(writer, every_s))
        return {"every_s": every_s}

    async def _tell(self, writer: asyncio.StreamWriter, every_s: float) -> None:
        while not writer.is_closing():
            if (snapshot := self._control.snapshot()) is not None:
                self._say(writer, {"event": "snapshot", "snapshot": _data_of(snapshot)})
            await asyncio.sleep(every_s)

    @staticmethod
    def _say(writer: asyncio.StreamWriter, answer: dict[str, Any]) -> None:
        if writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            writer.transport.abort()
            return
        writer.write(orjson.dumps({"v": PROTOCOL, **answer}) + b"\n")


def open_listener(path: Path) -> socket.socket:
    """A socket that listens at `path`, for its user alone. What lies there from a run that was killed is replaced.

    Raises OSError where somebody listens there, where it is no socket, or where none can be made. The directory where
    sockets lie if nothing else was said is made, and has to be the user's alone.
    """
    if path.parent == control_directory(os.environ):
        make_private(path.parent)
        sweep(path.parent)
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(f"{path} is there, and is no socket")
        if is_alive(path):
            raise FileExistsError(f"another run listens at {path}")
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        listener.bind(str(fresh))
        listener.listen(MOST_CLIENTS)
        fresh.rename(path)  # whoever sees it there can connect
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _is_allowed(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side is the same user, or root."""
    user = peer_user(writer.get_extra_info("socket"))
    # Where the kernel does not tell, the modes of socket and directory have to do.
    return user in (None, 0, os.geteuid())


def _data_of(snapshot: Snapshot) -> dict[str, Any]:
    from image_syncer.telemetry.snapshot_data import snapshot_data

    return snapshot_data(snapshot)
