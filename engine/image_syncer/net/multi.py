"""The driver: one libcurl multi handle on the running asyncio loop (uvloop in our processes).

libcurl tells which sockets it wants watched, and asks for them anew on every request, also on a kept connection.
Registering each with the loop is what a small request would mostly cost. So the loop watches one `select.epoll` of
ours, and libcurl's socket callback changes only that: a wake-up drains the epoll into `socket_action` (measured:
17–18 µs of CPU a small request instead of 36). It also sets its timer anew several times for every request, nearly
always for later: ours stays as it is then, and is put off when it goes off too soon.

libcurl must not be called from inside its own callbacks; what a callback finds to be done (un-pause, stop) goes into
`due`, and is done after each round. See curl_multi_socket_action(3), CURLMOPT_SOCKETFUNCTION(3), curl_easy_pause(3).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

import pycurl

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ON_TRANSFER_END", "CurlDriver", "Due"]

ON_TRANSFER_END: ContextVar[Callable[[], None] | None] = ContextVar("ON_TRANSFER_END", default=None)
"""Called whenever a transfer ends, however it does, that was begun in this context: a sign of progress."""

_EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
    pycurl.POLL_NONE: 0,
}
_MOST_EVENTS = 128
"""Sockets that are served in one turn of the loop; the rest come in the next one."""
_MOST_ROUNDS = 64
"""Rounds over `due` before the loop gets its turn: un-pausing a download can wake an upload and the other way round."""
_CLOSE_S = 0.5
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLPRI
_POLL_ERROR = select.EPOLLERR


class Due(Protocol):
    """Something that a callback left to be done once libcurl can be called again."""

    def settle(self) -> None:
        """Do it; may start, pause, un-pause and stop transfers."""


class CurlDriver:
    """Runs easy handles on a multi handle; one for each process.

    With `connections` no more of them are open at one time (0: no bound), the idle ones included.
    `due` is the list into which callbacks put what has to be done after the round.
    """

    def __init__(self, *, connections: int = 0, kept_connections: int = 64) -> None:
        self._loop = asyncio.get_running_loop()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        # Transfers share no connection, also where it is HTTP/2: a paused one would hold up the others.
        self._multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_NOTHING)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, connections)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections or kept_connections)
        self._watched: dict[int, int] = {}
        self._resting: set[int] = set()
        self._wake_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._called_soon = False
        self._running: dict[pycurl.Curl, asyncio.Future[tuple[int, str]]] = {}
        self._settling = False
        self._closed = False
        self.connections = connections
        self.due: list[Due] = []
        self._open_epoll()

    @property
    def running(self) -> int:
        """How many transfers are under way."""
        return len(self._running)

    async def perform(self, easy: pycurl.Curl) -> tuple[int, str]:
        """Run the transfer that `easy` is set up for to its end: libcurl's CURLcode (0: fine) and its own words.

        Cancelling stops the transfer.
        """
        ended: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._running[easy] = ended
        self._multi.add_handle(easy)
        try:
            return await ended
        finally:
            self.stop(easy)
            if (tell := ON_TRANSFER_END.get()) is not None:
                tell()

    def stop(self, easy: pycurl.Curl) -> None:
        """Break a transfer off; its connection is closed. Nothing happens where it has ended."""
        if self._running.pop(easy, None) is not None:
            self._multi.remove_handle(easy)

    def fail(self, easy: pycurl.Curl, code: int, words: str) -> None:
        """End a transfer as if libcurl had failed it with this CURLcode. Nothing happens where it has ended."""
        self._finish(easy, code, words)

    def resume(self, easy: pycurl.Curl) -> None:
        """Un-pause both directions (CURLPAUSE_CONT); libcurl may call the write callback from inside this call."""
        if easy not in self._running:
            return
        try:
            easy.pause(pycurl.PAUSE_CONT)
        except pycurl.error as error:
            code, words = error.args
            # A transfer that has ended takes no pause any more (CURLE_BAD_FUNCTION_ARGUMENT): its end is read after
            # this round. Other codes are of the callback that was called from inside, and nobody tells them again.
            if code != pycurl.E_BAD_FUNCTION_ARGUMENT:
                self._finish(easy, code, words)

    def close(self) -> None:
        """Stop every transfer and close every connection."""
        self._closed = True
        for easy, ended in list(self._running.items()):
            ended.cancel()
            self.stop(easy)
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        # libcurl waits for the threads in which it resolves names (CURLMOPT_QUICK_EXIT is not PycURL's), and a resolver
        # without an answer takes half a minute: nobody else has to wait for it.
        closing = threading.Thread(target=self._multi.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        self._epoll.close()

    def settle(self) -> None:
        """Do what callbacks left in `due`, until nothing is left (or for a bounded number of rounds)."""
        if self._settling or not self.due:
            return
        self._settling = True
        try:
            for _ in range(_MOST_ROUNDS):
                if not self.due:
                    return
                batch, self.due[:] = self.due[:], []
                for item in batch:
                    item.settle()
        finally:
            self._settling = False
        if self.due:
            self._loop.call_soon(self.settle)

    def _on_socket(self, what: int, fd: int, _multi: pycurl.CurlMulti, _data: object) -> None:
        """CURLMOPT_SOCKETFUNCTION. What is watched no more rests in the epoll, since a kept connection is soon wanted
        again; if something happens there meanwhile (the other side closes it), it is taken out.
        """
        if what == pycurl.POLL_REMOVE:
            if self._watched.pop(fd, None) is not None:
                self._resting.add(fd)
            return
        events = _EVENTS[what]
        known = fd in self._watched or fd in self._resting
        self._watched[fd] = events
        if known:
            self._resting.discard(fd)
            try:
                self._epoll.modify(fd, events)
            except FileNotFoundError:
                # It was closed, which took it out, and the number was given out again.
                self._epoll.register(fd, events)
        else:
            self._epoll.register(fd, events)

    def _on_timer(self, timeout_ms: int) -> None:
        """CURLMOPT_TIMERFUNCTION: when libcurl wants to be called; -1 for never, 0 for as soon as we are out of it."""
        if timeout_ms == 0:
            if not self._called_soon:
                self._called_soon = True
                self._loop.call_soon(self._on_soon)
            return
        self._wake_at = self._loop.time() + timeout_ms / 1000 if timeout_ms > 0 else math.inf
        if self._wake_at < self._timer_at:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._wake_at
        self._timer = self._loop.call_at(self._wake_at, self._on_alarm)

    def _on_alarm(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._wake_at <= self._loop.time():
            self._on_timeout()
        elif self._wake_at < math.inf:
            self._set_timer()

    def _on_soon(self) -> None:
        self._called_soon = False
        if self._closed:
            return
        self._on_timeout()

    def _on_timeout(self) -> None:
        self._wake_at = math.inf
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._after_round()
        # Where libcurl's own clock says that we are too early, it does nothing, and does not tell the time again.
        self._on_timer(self._multi.timeout())

    def _on_readable(self) -> None:
        socket_action = self._multi.socket_action
        for fd, events in self._epoll.poll(0, _MOST_EVENTS):
            if fd not in self._watched:
                self._forget(fd)
                continue
            mask = 0
            if events & _READABLE:
                mask |= pycurl.CSELECT_IN
            if events & select.EPOLLOUT:
                mask |= pycurl.CSELECT_OUT
            if events & _POLL_ERROR:
                mask |= pycurl.CSELECT_ERR
            socket_action(fd, mask)
        self._after_round()

    def _forget(self, fd: int) -> None:
        self._resting.discard(fd)
        try:
            self._epoll.unregister(fd)
        except OSError:
            # We have closed it, and a process that was forked from this one has it open still: it would wake us for
            # ever, and nothing but a new epoll is rid of it.
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._open_epoll()

    def _open_epoll(self) -> None:
        self._epoll = select.epoll()
        self._resting.clear()
        for fd, events in self._watched.items():
            with contextlib.suppress(OSError):
                self._epoll.register(fd, events)
        self._loop.add_reader(self._epoll.fileno(), self._on_readable)

    def _after_round(self) -> None:
        self.settle()
        queued = 1
        while queued:
            queued, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                self._finish(easy, 0, "")
            for easy, code, words in failed:
                self._finish(easy, code, words)
        self.settle()

    def _finish(self, easy: pycurl.Curl, code: int, words: str) -> None:
        ended = self._running.pop(easy, None)
        if ended is not None:
            self._multi.remove_handle(easy)
            if not ended.done():
                ended.set_result((code, words))
