"""Takes connections on one side and carries their bytes to a server on the other: `python -m perf.stage.relay`.

Alone, it is the wide area for whoever may not make network namespaces. What it models then, honestly: it ends TCP on
both sides, so it cannot drop a packet. It delays the bytes of each direction by half the round trip, and those that
open a connection by one round trip more, for the handshake that loopback does at once. All connections share
`bits_per_s` in each direction. Loss becomes a bound on each connection's rate, the one that Mathis gives for Reno:
segment size / round trip × √(3/2) / √loss, from the first byte on; there is no slow start, no chance, and no
retransmission. A network with another congestion control loses less to loss: BBR hardly cares. So figures from here are
good for "how much do many connections, and round trips saved, bring", not for what one connection gets out there.

As the far end of a path through the kernel (`far_end.py`) it has no delay and no limit: it only joins two namespaces.
"""

from __future__ import annotations

import argparse
import select
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf.stage.line import Line, loss_bound_rate
from perf.stage.processes import READY

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Relay", "Weather", "main"]

READ_BYTES = 256 * 1024
UNDELAYED_WINDOW_BYTES = 1 << 20
"""What may wait between two sockets where there is no line: the sockets' own buffers are the window."""

LEAST_WINDOW_BYTES = 64 * 1024
PIECES_A_WINDOW = 16
SEGMENT_BYTES = 1448
"""Of Ethernet's 1500 bytes, what is left after IP, TCP and its timestamps."""

WINDOW_ROUND_TRIPS = 1.5
"""A window of one round trip would be enough if nothing waited for its turn on the shared line."""


@dataclass(frozen=True)
class Weather:
    """What the path is like: round trip in seconds, part of the segments that are lost, bits a second each way."""

    round_trip_s: float
    loss: float
    bits_per_s: float

    @property
    def connection_bits_per_s(self) -> float:
        """What one connection may get."""
        if not self.loss:
            return self.bits_per_s
        return min(self.bits_per_s, loss_bound_rate(SEGMENT_BYTES, self.round_trip_s, self.loss))


class _Flow:
    """One direction of one connection: read from one socket, wait, written to the other."""

    def __init__(self, relay: Relay, origin: socket.socket, goal: socket.socket, line: Line | None) -> None:
        self._relay, self._origin, self._goal, self._line = relay, origin, goal, line
        self._queue: deque[tuple[float, memoryview]] = deque()
        self._waiting_bytes = 0
        self._ended_at: float | None = None
        self._due = 0.0
        self._own: Line | None = None
        self._window = UNDELAYED_WINDOW_BYTES
        self.finished = False
        self._piece = READ_BYTES
        weather = relay.weather
        if weather is not None:
            rate = weather.connection_bits_per_s
            self._own = Line(weather.round_trip_s / 2, rate)
            self._window = max(LEAST_WINDOW_BYTES, int(rate / 8 * weather.round_trip_s * WINDOW_ROUND_TRIPS))
            self._piece = min(READ_BYTES, self._window // PIECES_A_WINDOW)  # a piece comes out when its last byte does
            self._not_before = time.monotonic() + weather.round_trip_s * 1.5  # handshake, and half for the first bytes

    @property
    def reads(self) -> bool:
        return self._ended_at is None and self._waiting_bytes < self._window

    def writes(self, now: float) -> bool:
        """Whether something may be written now, so that it is the socket that is waited for."""
        return bool(self._queue) and self._queue[0][0] <= now

    @property
    def next_due(self) -> float | None:
        if self._queue:
            return self._queue[0][0]
        return self._ended_at if not self.finished else None

    def on_readable(self, now: float) -> None:
        if not self.reads:
            return
        try:
            data = self._origin.recv(self._piece)
        except BlockingIOError:
            return
        if not data:
            self._ended_at = max(now, self._due)
            return
        self._waiting_bytes += len(data)
        self._due = self._arrival(len(data), now)
        self._queue.append((self._due, memoryview(data)))

    def _arrival(self, size: int, now: float) -> float:
        if self._line is None or self._own is None:
            return now
        shared, own = self._line.enter(size, now), self._own.enter(size, now)
        assert shared is not None
        assert own is not None
        return max(shared, own, self._not_before, self._due)

    def write_due(self, now: float) -> None:
        try:
            while self._queue and self._queue[0][0] <= now:
                due, data = self._queue[0]
                sent = self._goal.send(data)
                self._waiting_bytes -= sent
                if sent < len(data):
                    self._queue[0] = (due, data[sent:])
                    return
                self._queue.popleft()
        except BlockingIOError:
            return
        if not self._queue and self._ended_at is not None and self._ended_at <= now and not self.finished:
            self.finished = True
            self._goal.shutdown(socket.SHUT_WR)


class _Pair:
    """Both directions of one connection."""

    def __init__(self, relay: Relay, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.up = _Flow(relay, near, far, relay.up)
        self.down = _Flow(relay, far, near, relay.down)


class Relay:
    """Joins what comes on `listener` to connections that `connect` makes (they may still be on their way)."""

    def __init__(
        self, listener: socket.socket, connect: Callable[[], socket.socket], weather: Weather | None = None
    ) -> None:
        self._listener, self._connect, self.weather = listener, connect, weather
        self.up = self.down = None
        if weather is not None:
            self.up = Line(weather.round_trip_s / 2, weather.bits_per_s)
            self.down = Line(weather.round_trip_s / 2, weather.bits_per_s)
        self._epoll = select.epoll()
        self._pairs: dict[int, _Pair] = {}
        self._interests: dict[int, int] = {}

    def run(self) -> None:
        """Carry for ever."""
        self._listener.setblocking(False)
        listener = self._listener.fileno()
        self._epoll.register(listener, select.EPOLLIN)
        now = time.monotonic()
        while True:
            events = self._epoll.poll(self._timeout(now))
            now = time.monotonic()
            touched = {self._pairs[fd] for fd, _ in events if fd in self._pairs}
            if self.weather is not None:
                touched.update(self._pairs.values())  # anything may have become due
            for pair in touched:
                self._carry(pair, now)
            if any(fd == listener for fd, _ in events):
                self._accept()

    def _timeout(self, carried_at: float) -> float:
        """Until the next bytes are due; those that were due already when we last carried wait for their socket."""
        if self.weather is None:
            return -1
        pairs = set(self._pairs.values())
        dues = [flow.next_due for pair in pairs for flow in (pair.up, pair.down)]
        coming = [due for due in dues if due is not None and due > carried_at]
        return max(0.0, min(coming) - time.monotonic()) if coming else -1

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            try:
                far = self._connect()
            except OSError:
                near.close()
                continue
            for sock in (near, far):
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(self, near, far)
            for sock in (near, far):
                self._pairs[sock.fileno()] = pair
                self._interests[sock.fileno()] = select.EPOLLIN
                self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _carry(self, pair: _Pair, now: float) -> None:
        try:
            for flow in (pair.up, pair.down):
                flow.on_readable(now)
                flow.write_due(now)
        except OSError:  # one side is gone: so is the other
            self._close(pair)
            return
        if pair.up.finished and pair.down.finished:
            self._close(pair)
            return
        for sock, inward, outward in ((pair.near, pair.up, pair.down), (pair.far, pair.down, pair.up)):
            interest = (select.EPOLLIN if inward.reads else 0) | (select.EPOLLOUT if outward.writes(now) else 0)
            if interest != self._interests[sock.fileno()]:
                self._interests[sock.fileno()] = interest
                self._epoll.modify(sock.fileno(), interest)

    def _close(self, pair: _Pair) -> None:
        for sock in (pair.near, pair.far):
            del self._pairs[sock.fileno()], self._interests[sock.fileno()]
            self._epoll.unregister(sock.fileno())
            sock.close()


def main() -> None:
    """Listen on a free port of loopback, say so, and carry until ended."""
    parser = argparse.ArgumentParser(description="A wide-area path, as far as a relay can model one.")
    parser.add_argument("target", help="host:port")
    parser.add_argument("--round-trip-s", type=float, required=True)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--bits-per-s", type=float, required=True)
    arguments = parser.parse_args()
    host, _, port = arguments.target.rpartition(":")
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"{READY}127.0.0.1:{listener.getsockname()[1]}", flush=True)
    weather = Weather(arguments.round_trip_s, arguments.loss, arguments.bits_per_s)
    Relay(listener, lambda: socket.create_connection((host, int(port))), weather).run()


if __name__ == "__main__":
    main()
