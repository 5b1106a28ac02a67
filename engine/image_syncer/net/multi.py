"""The driver: one libcurl multi handle on the running asyncio loop (uvloop in our processes).

libcurl names the sockets to watch anew for every request. Registering each with the loop is most of the cost of a small
request, so the loop watches one `select.epoll`, and libcurl's socket callback changes only that (measured: 17 µs of CPU
for a small request instead of 36). libcurl also sets its timer several times for every request, nearly always later:
the loop's timer is then left, and set again when it fires too early. libcurl must not be called from its own callbacks:
they put such work into `due`, which is done after each round. See curl_multi_socket_action(3),
CURLMOPT_SOCKETFUNCTION(3), curl_easy_pause(3).
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


ON_TRANSFER_END: ContextVar[Callable[[], None] | None] = ContextVar("ON_TRANSFER_END", default=None)
"""Called whenever a transfer that began in this context ends: a sign of progress."""

_EVENTS = {
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
    pycurl.POLL_NONE: 0,
}
_MOST_EVENTS = 128
"""Sockets that one turn of the loop serves; the next turn serves the rest."""
_MOST_ROUNDS = 64
"""Rounds over `due` before the loop gets its turn: a resumed download can wake an upload and the other way round."""
_CLOSE_S = 0.5
_READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLPRI
_POLL_ERROR = select.EPOLLERR


class Due(Protocol):
    """Work that a callback leaves for after the round, when libcurl can be called again."""

    def settle(self) -> None:
        """Do the work; may start, pause, resume and stop transfers."""


class CurlDriver:
    """Runs easy handles on a multi handle; one for each process.

    `connections` is the maximum of open connections, with the idle ones (0: no limit). Callbacks put work for after the
    round into `due`.
    """

    def __init__(self, *, connections: int = 0, kept_connections: int = 64) -> None:
        self._loop = asyncio.get_running_loop()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        # Transfers share no HTTP/2 connection: a paused one would block the others.
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

    async def perform(self, easy: pycurl.Curl) -> tuple[int, str]:
        """Run the transfer of `easy`; return libcurl's CURLcode (0: success) and words. Cancelling stops it."""
        ended: asyncio.Future[tuple[int, str]] = self._loop.create_future()
        self._running[easy] = ended
        self._multi.add_handle(easy)
        try:
            return await ended
        finally:
            if self._running.pop(easy, None) is not None:
                self._multi.remove_handle(easy)
            if (on_end := ON_TRANSFER_END.get()) is not None:
                on_end()

    def fail(self, easy: pycurl.Curl, code: int, words: str) -> None:
        """End a transfer as if libcurl had ended it with this CURLcode; do nothing where it has ended."""
        ended = self._running.get(easy)
        if ended is not None and not ended.done():
            del self._running[easy]
            self._multi.remove_handle(easy)
            ended.set_result((code, words))

    def resume(self, easy: pycurl.Curl) -> None:
        """Resume both directions (CURLPAUSE_CONT); libcurl may call the write callback from inside this call."""
        if easy not in self._running:
            return
        try:
            easy.pause(pycurl.PAUSE_CONT)
        except pycurl.error as error:
            code, words = error.args
            # A transfer that has ended takes no pause (CURLE_BAD_FUNCTION_ARGUMENT): this round reads its end.
            # Other codes are those of the write callback, which libcurl reports only here.
            if code != pycurl.E_BAD_FUNCTION_ARGUMENT:
                self.fail(easy, code, words)

    def close(self) -> None:
        """Stop every transfer and close every connection."""
        self._closed = True
        for easy, ended in self._running.items():
            ended.cancel()
            self._multi.remove_handle(easy)
        self._running.clear()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        # libcurl waits for its threads that resolve names (PycURL has no CURLMOPT_QUICK_EXIT): a resolver without an
        # answer takes half a minute.
        closing = threading.Thread(target=self._multi.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_S)
        self._epoll.close()

    def settle(self) -> None:
        """Do the work in `due` until it is empty, or for a bounded number of rounds."""
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
        """CURLMOPT_SOCKETFUNCTION. An unwatched socket stays in the epoll, since a kept connection is soon used again;
        its first event, a close by the peer, takes it out.
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
                # It was closed, which took it out, and its number was used again.
                self._epoll.register(fd, events)
        else:
            self._epoll.register(fd, events)

    def _on_timer(self, timeout_ms: int) -> None:
        """CURLMOPT_TIMERFUNCTION: the time of libcurl's next call; -1 for never, 0 for after this callback."""
        if timeout_ms == 0:
            if not self._called_soon:
                self._called_soon = True
                self._loop.call_soon(self._on_timeout)
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

    def _on_timeout(self) -> None:
        self._called_soon = False
        if self._closed:
            return
        self._wake_at = math.inf
        self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._after_round()
        # Where libcurl's clock finds the call too early, it does nothing, and does not set the timer again.
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
            # It is closed here, but open in a process that was forked from this one: only a new epoll drops it.
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
        if self.due:
            self.settle()
        queued = 1
        while queued:
            queued, succeeded, failed = self._multi.info_read()
            for easy, code, words in (*((easy, 0, "") for easy in succeeded), *failed):
                # `perform` takes the handle out; until then libcurl does nothing with it.
                if (ended := self._running.get(easy)) is not None and not ended.done():
                    ended.set_result((code, words))
        if self.due:
            self.settle()
