"""The driver: one libcurl multi handle on the running asyncio loop (uvloop in our processes).

libcurl tells which sockets it wants watched, and asks for them anew on every request, also on a kept connection.
Registering each with the loop is what a small request would mostly cost. So the loop watches one `select.epoll` of
ours, and libcurl's socket callback changes only that: a wake-up drains the epoll into `socket_action` (measured:
17–18 µs of CPU a small request instead of 36).

libcurl must not be called from inside its own callbacks; what a callback finds to be done (un-pause, stop) goes into
`due`, and is done after each round. See curl_multi_socket_action(3), CURLMOPT_SOCKETFUNCTION(3), curl_easy_pause(3).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Protocol

import pycurl

__all__ = ["CurlDriver", "Due", "OnDone"]

OnDone = Callable[[int, str], None]
"""Called with libcurl's CURLcode (0: fine) and its own words."""

_EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
    pycurl.POLL_NONE: 0,
}
_MOST_ROUNDS = 64
"""Rounds over `due` before the loop gets its turn: un-pausing a download can wake an upload and the other way round."""
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
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, connections)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections or kept_connections)
        self._epoll = select.epoll()
        self._watched: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._running: dict[pycurl.Curl, OnDone] = {}
        self._settling = False
        self.connections = connections
        self.due: list[Due] = []
        self._loop.add_reader(self._epoll.fileno(), self._on_readable)

    @property
    def running(self) -> int:
        """How many transfers are under way."""
        return len(self._running)

    def start(self, easy: pycurl.Curl, on_done: OnDone) -> None:
        """Begin the transfer that `easy` is set up for; `on_done` is called once, from the loop, unless it is
        stopped.
        """
        self._running[easy] = on_done
        self._multi.add_handle(easy)

    def stop(self, easy: pycurl.Curl) -> None:
        """Break a transfer off; its connection is closed, `on_done` is not called. Nothing happens where it has
        ended.
        """
        if self._running.pop(easy, None) is not None:
            self._multi.remove_handle(easy)

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

    async def perform(self, easy: pycurl.Curl) -> tuple[int, str]:
        """Run one transfer to its end: libcurl's CURLcode and its words. Cancelling stops the transfer."""
        future: asyncio.Future[tuple[int, str]] = self._loop.create_future()

        def on_done(code: int, words: str) -> None:
            if not future.done():
                future.set_result((code, words))

        self.start(easy, on_done)
        try:
            return await future
        finally:
            self.stop(easy)

    def close(self) -> None:
        """Stop every transfer and close every connection."""
        for easy in list(self._running):
            self.stop(easy)
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._multi.close()
        self._epoll.close()

    def settle(self) -> None:
        """Do what callbacks left in `due`, until nothing is left (or for a bounded number of rounds)."""
        if self._settling:
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
        if what == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._watched.discard(fd)
                with contextlib.suppress(OSError):  # libcurl may have closed it already, which removes it too
                    self._epoll.unregister(fd)
            return
        events = _EVENTS[what]
        if fd in self._watched:
            try:
                self._epoll.modify(fd, events)
            except FileNotFoundError:
                # The number was closed and given out again without POLL_REMOVE.
                self._epoll.register(fd, events)
        else:
            self._watched.add(fd)
            self._epoll.register(fd, events)

    def _on_timer(self, timeout_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if timeout_ms >= 0:
            self._timer = self._loop.call_later(timeout_ms / 1000, self._on_timeout)

    def _on_timeout(self) -> None:
        self._timer = None
        self._act(pycurl.SOCKET_TIMEOUT, 0)
        self._after_round()

    def _on_readable(self) -> None:
        for fd, events in self._epoll.poll(0):
            mask = 0
            if events & _READABLE:
                mask |= pycurl.CSELECT_IN
            if events & select.EPOLLOUT:
                mask |= pycurl.CSELECT_OUT
            if events & _POLL_ERROR:
                mask |= pycurl.CSELECT_ERR
            self._act(fd, mask)
        self._after_round()

    def _act(self, fd: int, mask: int) -> None:
        self._multi.socket_action(fd, mask)

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
        on_done = self._running.pop(easy, None)
        if on_done is not None:
            self._multi.remove_handle(easy)
            on_done(code, words)
