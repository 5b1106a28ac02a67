"""The control of a run from any thread and, over a socket, from other processes: pause, drain, rate, streams."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from msgspec import Struct, to_builtins

from image_syncer.config import RateSchedule
from image_syncer.control.paths import control_directory, is_alive, make_private, peer_user, sweep
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from image_syncer.capacity.forecast import Foreseen
    from image_syncer.dispatch.transfers import Transfers
    from image_syncer.dispatch.watchdog import Watchdog
    from image_syncer.telemetry import ImageResult, Snapshot


TURN_S = 10.0
"""Time for a loop to run a callback; a loop that does not for so long is blocked."""

PROTOCOL = 1
"""The version in every line (`v`). Fields and commands may be added to it; existing ones keep their meaning."""
MOST_LINE_BYTES = 16 * 2**10
MOST_UNREAD_BYTES = 512 * 2**10
"""Bytes that wait for a client to read them; past that it is dropped."""
UNREAD_S = 10.0
"""Time in which a client has to read an answer."""
MOST_CLIENTS = 16
LEAST_SPACING_S, DEFAULT_SPACING_S, MOST_SPACING_S = 0.1, 0.5, 60.0
"""Seconds between the snapshots of a stream."""

_T = TypeVar("_T")
_log = get_logger(__name__)


class Pause:
    """Whether one run may begin more; must be made inside a loop."""

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._drained = asyncio.Event()
        self.turned_away = False
        """Whether something was not begun because the run is drained."""

    @property
    def is_paused(self) -> bool:
        """Whether new work has to wait."""
        return not self._free.is_set()

    @property
    def is_draining(self) -> bool:
        """Whether nothing more begins."""
        return self._drained.is_set()

    def __str__(self) -> str:
        return "drains" if self.is_draining else "paused" if self.is_paused else ""

    def pause(self) -> None:
        """Let nothing begin until `resume`; a run that drains does not wait."""
        if not self.is_draining:
            self._free.clear()

    def resume(self) -> None:
        """End the pause."""
        self._free.set()

    def drain(self) -> None:
        """Let nothing begin any more, for good."""
        self._drained.set()
        self._free.set()

    async def may_begin(self) -> bool:
        """Wait while the run is paused; return False where it is drained, and the caller must not begin."""
        if self.is_paused:
            await self._free.wait()
        self.turned_away |= self.is_draining
        return not self.is_draining

    async def unless_drained(self, work: Coroutine[Any, Any, None]) -> None:
        """Await `work`; cancel it when the run is drained."""
        tasks = asyncio.ensure_future(work), asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if tasks[0].done() and not tasks[0].cancelled():
            tasks[0].result()


def in_loop(loop: asyncio.AbstractEventLoop | None, act: Callable[[], _T]) -> _T:
    """Return what `act` returns, called in `loop` from any thread; called here, where `loop` is None or closed.

    Raises TimeoutError where the loop does not run it within `TURN_S`.
    """
    with contextlib.suppress(RuntimeError):
        if asyncio.get_running_loop() is loop:
            loop = None
    if loop is None:
        return act()
    done: Future[_T] = Future()

    def turn() -> None:
        try:
            done.set_result(act())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            done.set_exception(error)

    try:
        loop.call_soon_threadsafe(turn)
    except RuntimeError:  # closed
        return act()
    try:
        return done.result(TURN_S)
    except FutureTimeoutError:  # before Python 3.11 it is not the builtin one
        if done.done():
            raise  # raised by `act`
        raise TimeoutError(f"the run gave no turn within {TURN_S:.0f} s") from None


class Rounds(Struct):
    """Several runs that follow each other, as in a watch. `as_data` returns their state for clients, `on_drain` is
    called when no further one is to begin.
    """

    as_data: Callable[[], dict[str, Any]]
    on_drain: Callable[[], None]
    is_draining: bool = False

    def drain(self) -> None:
        """Begin no further one."""
        self.is_draining = True
        self.on_drain()


class _Controlled(Struct):
    """The parts of the run under way that are controlled; `take` returns its snapshot at a loop time."""

    pause: Pause
    transfers: Transfers
    watchdog: Watchdog
    take: Callable[[float], Snapshot]


class RunControl:
    """Controls one run at a time, from any thread. It is made before the run and given to it; other processes use its
    `socket` (None: there is none), and where that cannot be made, the log says so and the run begins without.

    Several runs may follow each other with one control, as the rounds of a watch do: each begins as the one before was
    left. Commands between runs apply to the next, but for `drain`, which ends `rounds` where there are some.
    `on_hurry` is called just before a second signal ends the process. `foreseen` is the prediction of the run's
    progress, if there is one (`bench.Foresight`), from which its time left is estimated too.
    """

    def __init__(self, socket: str | None = None) -> None:
        self.socket = socket
        self.rounds: Rounds | None = None
        self.on_hurry: Callable[[], None] | None = None
        self.foreseen: Foreseen | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last_errors: list[tuple[str, str]] = []
        self._is_paused = False
        self._rate: tuple[RateSchedule | None] | None = None
        self._streams: int | None = None
        self._run: _Controlled | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the run is paused."""
        return self._is_paused

    @property
    def is_draining(self) -> bool:
        """Whether the run ends with what is under way."""
        if self._run is not None and self._run.pause.is_draining:
            return True
        return self.rounds is not None and self.rounds.is_draining

    def pause(self) -> None:
        """Begin no further image and no further blob. Blobs under way end: a registry forgets an upload that is idle,
        and its bytes would be sent again.
        """
        in_loop(self._loop, lambda: self._set_pause(paused=True))

    def resume(self) -> None:
        """Continue after `pause`."""
        in_loop(self._loop, lambda: self._set_pause(paused=False))

    def drain(self) -> None:
        """Begin no further image; the run ends when those under way have ended. Ends a pause, too, and a watch with the
        round that is under way, or at once.
        """
        in_loop(self._loop, self._drain)

    def change_rate(self, rate: RateSchedule | None) -> None:
        """Move no more than `rate` from now on, instead of `Settings.rate`; None: no limit."""
        in_loop(self._loop, lambda: self._change_rate(rate))

    def change_streams(self, most: int) -> int:
        """Stream no more than `most` blobs at a time in each worker; return the number in force, which is no more than
        the run began with. Raises ValueError where it is less than one.
        """
        if most < 1:
            raise ValueError("a worker streams one blob at least")
        return in_loop(self._loop, lambda: self._change_streams(most))

    def snapshot(self) -> Snapshot | None:
        """Return the progress of the run; None between runs."""
        return in_loop(
            self._loop, lambda: None if self._run is None else self._run.take(asyncio.get_running_loop().time())
        )

    def errors(self) -> list[tuple[str, str]]:
        """Return the last errors of the run, or of the one before, oldest first: when (ISO 8601), and what."""
        return in_loop(self._loop, self._errors)

    def hurry(self) -> None:
        """Call `on_hurry`: the process is about to end."""
        if self.on_hurry is not None:
            self.on_hurry()

    def note_image(self, result: ImageResult) -> None:
        """Note an image that has ended, for `errors`."""
        if result.outcome.is_failure and self._run is not None:
            text = f"{result.outcome}: {result.source} → {result.destination}: {result.reason or ''}"
            self._run.transfers.running.load.tell(text)

    @asynccontextmanager
    async def of(
        self, pause: Pause, transfers: Transfers, watchdog: Watchdog, take: Callable[[float], Snapshot]
    ) -> AsyncIterator[None]:
        """Control this run, with the socket open, while the context is entered."""
        self._run = _Controlled(pause, transfers, watchdog, take)
        self._set_pause(paused=self._is_paused)
        if self._rate is not None:
            transfers.change_rate(self._rate[0])
        if self._streams is not None:
            transfers.bind_streams(self._streams)
        try:
            async with self.open():
                yield
        finally:
            self._last_errors = self._errors()
            self._run = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keep the socket open while the context is entered, over all runs that begin meanwhile in this loop."""
        if self._loop is not None:
            yield
            return
        self._loop, server = asyncio.get_running_loop(), None
        if self.socket is not None:
            server = await ControlSocket(self, self.socket).open()
        try:
            yield
        finally:
            self._loop = None
            if server is not None:
                await server.close()

    def _set_pause(self, *, paused: bool) -> None:
        self._is_paused = paused
        if self._run is None:
            return
        pause = self._run.pause
        if paused != pause.is_paused:
            _log.info("paused" if paused else "goes on after a pause")
        if paused:
            pause.pause()
        else:
            pause.resume()
        self._is_paused = self._run.watchdog.paused = pause.is_paused
        self._run.transfers.hold(held=self._is_paused)

    def _drain(self) -> None:
        self._set_pause(paused=False)
        if self._run is None and self.rounds is None:
            return
        _log.info("drained")
        if self._run is not None:
            self._run.pause.drain()
        if self.rounds is not None:
            self.rounds.drain()

    def _change_rate(self, rate: RateSchedule | None) -> None:
        self._rate = (rate,)
        if self._run is not None:
            self._run.transfers.change_rate(rate)

    def _change_streams(self, most: int) -> int:
        self._streams = most
        if self._run is None:
            return most
        transfers = self._run.transfers
        transfers.bind_streams(most)
        return transfers.scheduler.stats().most_streams

    def _errors(self) -> list[tuple[str, str]]:
        return self._last_errors if self._run is None else list(self._run.transfers.running.load.troubles)


class ControlSocket:
    """Answers commands for `control` at `path`; removes it when it is closed.

    One JSON line a command, one JSON line an answer; docs/display.md has the protocol. A client can slow the run down
    or end it, so only the user of the run and root may connect: the socket has mode 600 and its directory 700, and the
    kernel is asked for the client's user (SO_PEERCRED, unix(7)).
    """

    def __init__(self, control: RunControl, path: str) -> None:
        self._control = control
        self._path = Path(path)
        self._server: asyncio.Server | None = None
        self._identity: tuple[int, int] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._streams: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "status": self._status,
            "pause": lambda _given: self._hold(control.pause),
            "resume": lambda _given: self._hold(control.resume),
            "drain": lambda _given: self._hold(control.drain),
            "rate": self._rate,
            "streams": self._set_streams,
            "errors": lambda _given: {"errors": [{"at": at, "text": text} for at, text in control.errors()]},
        }

    async def open(self) -> ControlSocket | None:
        """Listen, and return itself; None where that is impossible, as the log says."""
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
        """Send the end to all clients, and remove the socket."""
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
            if (found.st_dev, found.st_ino) == self._identity:  # and not that of a later run
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
                    # Many commands at once are answered one by one, with turns of the run and other clients between.
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
        """Return the answer to one line, whatever it is."""
        try:
            given = orjson.loads(line)
        except orjson.JSONDecodeError:
            return {"ok": False, "error": "that is not JSON: a command is one object a line"}
        if not isinstance(given, dict):
            return {"ok": False, "error": "a command is an object"}
        echo = {"id": given["id"]} if isinstance(given.get("id"), (str, int)) else {}
        if given.get("v", PROTOCOL) != PROTOCOL:
            return {**echo, "ok": False, "error": f"this run speaks version {PROTOCOL} of the protocol"}
        name = given.get("command")
        command = self._commands.get(name) if isinstance(name, str) else None
        if name == "snapshots":
            command = partial(self._stream, writer)
        if command is None:
            known = ", ".join([*self._commands, "snapshots"])
            return {**echo, "ok": False, "error": f"no such command; there are {known}"}
        try:
            return {**echo, "ok": True, **command(given)}
        except ValueError as error:
            return {**echo, "ok": False, "error": str(error)}

    def _status(self, _given: dict[str, Any]) -> dict[str, Any]:
        snapshot, rounds = self._control.snapshot(), self._control.rounds
        return {
            "pid": os.getpid(),
            **self._hold(),
            "snapshot": to_builtins(snapshot),
            **({} if rounds is None else {"watch": rounds.as_data()}),
        }

    def _hold(self, act: Callable[[], None] | None = None) -> dict[str, Any]:
        if act is not None:
            act()
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
                self._say(writer, {"event": "snapshot", "snapshot": to_builtins(snapshot)})
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
    """Return a socket that listens at `path`, for its user alone; it replaces the socket of a run that was killed.

    Raises OSError where a process listens there, where it is no socket, or where none can be made. The default
    directory of sockets is made, and has to be the user's alone.
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
        fresh.rename(path)  # a client that sees it can connect
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _is_allowed(writer: asyncio.StreamWriter) -> bool:
    """Return whether the client is the same user, or root. Where the kernel does not tell, the modes decide."""
    return peer_user(writer.get_extra_info("socket")) in (None, 0, os.geteuid())
