"""One request, one answer: whole bodies in memory, bounded. No tokens, no redirects, no second try (`client.py` has
those).

The tally of requests: how many there were, how they were answered, and how long that took, for metrics.

Counted only where somebody wants it (`Transport.tally`). Each process has its own; those of workers are sent to the
coordinator as rows and added up there.

Easy handles for small requests, which stay set up: what a request costs is mostly what is said to libcurl anew.

Requests of one method to registries that are trusted alike share their handles. Of a kept handle only the address is
set for each request, and the header fields where they are not exactly those of the request before; so whatever one
request was sent with, another on the same handle is sent with its own fields and no others. What has a body of its own
to send goes out on a handle that is reset for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import pycurl

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.net.curl_errors import judge_end, transport_error
from image_syncer.net.handles import HandlePool, header_lines, parse_head, set_lasting, set_method
from image_syncer.net.in_flight_limit import InFlightLimit
from image_syncer.net.network_options import network_kind, own_headers
from image_syncer.net.whereabouts import Whereabouts
from image_syncer.registry import DIRECT, GENERIC, Operation, Response, build_ping

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.net.byte_budget import ByteBudgets, Metered
    from image_syncer.net.multi import CurlDriver
    from image_syncer.net.network_options import NetworkKind
    from image_syncer.registry import Endpoint, Request

__all__ = [
    "ANSWER_SECONDS",
    "BROKEN",
    "RequestTally",
    "SmallHandle",
    "SmallHandles",
    "TallyRow",
    "Timeouts",
    "Transport",
    "status_word",
]


MAX_BODY_BYTES = 8 * 2**20
"""Manifests have up to 4 MiB, tag lists of registries that ignore paging some more; a bound against hostile servers."""

_BLANK = (b"\r\n", b"\n")

_Kind = tuple[str, bool, bool, "str | None", "NetworkKind | None"]
"""Method, whether there is a body at all, whether certificates are verified and by whose authority, the network."""


class SmallHandle:
    """One easy handle, and the answer that it takes in, which is whole in memory and bounded."""

    __slots__ = ("_body", "_extra", "_fields", "_lines", "easy", "kind")

    def __init__(self, kind: _Kind | None) -> None:
        self.kind = kind
        self.easy = pycurl.Curl()
        self._lines: list[bytes] = []
        self._body = bytearray()
        self._fields: tuple[tuple[tuple[str, str], ...], str | None] | None = None
        self._extra: tuple[tuple[str, str], ...] = ()

    def prepare(self, request: Request, endpoint: Endpoint, network: NetworkKind | None, timeouts: Timeouts) -> None:
        """Say everything that requests of this kind have in common."""
        easy = self.easy
        set_lasting(easy, endpoint, network, connect_timeout_s=timeouts.connect_s)
        self._extra = () if network is None else own_headers(network)
        set_method(easy, request)
        easy.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, self._receive)
        easy.setopt(pycurl.TIMEOUT_MS, int(timeouts.request_s * 1000))
        easy.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        easy.setopt(pycurl.LOW_SPEED_TIME, max(1, int(timeouts.stall_s)))

    def aim(self, request: Request, authorization: str | None) -> None:
        """Say what this request has for itself."""
        fields = (request.headers, authorization)
        if fields != self._fields:
            headers = (*request.headers, *self._extra) if self._extra else request.headers
            self.easy.setopt(pycurl.HTTPHEADER, header_lines(headers, authorization))
            self._fields = fields
        self.easy.setopt(pycurl.URL, request.url)

    def take_answer(self, url: str) -> Response:
        """What has come for the request to `url`."""
        status, headers = parse_head(self._lines)
        return Response(status, headers, bytes(self._body), url)

    @property
    def is_whole(self) -> bool:
        """Whether the head has come to its end: libcurl takes one that a closed connection cuts off for a whole one."""
        lines = self._lines
        if not lines or lines[-1] in _BLANK:  # nearly always; else there are trailers, or it was cut off
            return bool(lines)
        finals = [number for number, line in enumerate(lines) if line.startswith(b"HTTP/") and line[9:10] != b"1"]
        return bool(finals) and any(line in _BLANK for line in lines[finals[0] :])

    def clear(self) -> None:
        """Forget what has come, and where the handle is of no kind, what was sent."""
        self._lines.clear()
        self._body.clear()
        if self.kind is None:
            self.easy.reset()
            self._fields = None

    def _receive(self, chunk: bytes) -> int | None:
        """CURLOPT_WRITEFUNCTION; -1 ends the transfer with CURLE_WRITE_ERROR."""
        if len(self._body) + len(chunk) > MAX_BODY_BYTES:
            return -1
        self._body += chunk
        return None


class SmallHandles:
    """Keeps handles that are not in use, each for the kind of request that it is set up for."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._free: dict[_Kind | None, list[SmallHandle]] = {}

    def take(self, request: Request, endpoint: Endpoint, authorization: str | None) -> SmallHandle:
        """A handle that is ready to send `request`."""
        body = request.body
        network = None if endpoint.network is DIRECT else network_kind(endpoint, request.url)
        kind = None if body else (request.method, body is None, endpoint.verify, endpoint.ca_file, network)
        free = self._free.get(kind)
        if free:
            handle = free.pop()
            if kind is None:
                handle.prepare(request, endpoint, network, self._timeouts)
        else:
            handle = SmallHandle(kind)
            handle.prepare(request, endpoint, network, self._timeouts)
        handle.aim(request, authorization)
        return handle

    def give_back(self, handle: SmallHandle) -> None:
        """Keep a handle that no multi handle runs."""
        handle.clear()
        self._free.setdefault(handle.kind, []).append(handle)


ANSWER_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds of the buckets of a histogram of answers; one more has all that took longer."""
BROKEN = "broken"
"""Instead of a status: there was no answer, or it broke off."""

_APART = {429: "429", 503: "503"}
"""A registry that asks for less, which is no mistake of the request, nor one of the registry."""

TallyRow: TypeAlias = tuple[str, str, str, float, list[int]]
"""Registry, operation, status, seconds of all together, and how many there were in each bucket."""


class RequestTally:
    """Counts by registry, operation and status."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], tuple[list[float], list[int]]] = {}

    def note(self, registry: str, operation: str, status: str, seconds: float) -> None:
        """One request has ended, after so many seconds."""
        row = self._rows.get((registry, operation, status))
        if row is None:
            row = self._rows[registry, operation, status] = ([0.0], [0] * (len(ANSWER_SECONDS) + 1))
        row[0][0] += seconds
        row[1][bisect_left(ANSWER_SECONDS, seconds)] += 1

    def add(self, rows: list[TallyRow]) -> None:
        """What another tally has given away with `take`."""
        for registry, operation, status, seconds, counts in rows:
            known = self._rows.get((registry, operation, status))
            if known is None:
                self._rows[registry, operation, status] = ([seconds], list(counts))
                continue
            known[0][0] += seconds
            for bucket, count in enumerate(counts):
                known[1][bucket] += count

    def rows(self) -> list[TallyRow]:
        """All that was counted."""
        return [(*key, seconds[0], list(counts)) for key, (seconds, counts) in self._rows.items()]

    def take(self) -> list[TallyRow]:
        """The same, and the count begins anew."""
        rows = self.rows()
        self._rows.clear()
        return rows


def status_word(status: int, *, broken: bool) -> str:
    """The class of a status, such as "2xx"; a refusal is one however its body ended."""
    if status in _APART:
        return _APART[status]
    if not status or (broken and status < 300):  # noqa: PLR2004 - from there on no answer is a success
        return BROKEN
    return f"{status // 100}xx"


MOST_ANSWERS = 32
"""Times of answers that are kept of one registry: as many as say something."""
_SESSION_OPENED = 202


class Timeouts:
    """Seconds: to connect (with TLS), without any byte while we wait (`stall_s`), and for one small request in all."""

    __slots__ = ("connect_s", "request_s", "stall_s")

    def __init__(self, *, connect_s: float = 15.0, stall_s: float = 60.0, request_s: float = 300.0) -> None:
        self.connect_s = connect_s
        self.stall_s = stall_s
        self.request_s = request_s


class Transport:
    """Sends requests over the process's multi handle, and counts them by their kind in `requests`.

    Where the driver has a bound of connections, requests beyond it wait here: inside libcurl their time would run.
    """

    def __init__(self, driver: CurlDriver, timeouts: Timeouts) -> None:
        self.driver = driver
        self.timeouts = timeouts
        self.handles = HandlePool()
        self.requests: Counter[str] = Counter()
        self.answer_s: dict[str, list[float]] = {}
        """By registry, how long requests for upload sessions took to be answered: small ones, and each blob has one."""
        self.on_answer: Callable[[Request, Endpoint, Response], None] | None = None
        """Is told each answer that is about a registry of which it is not known what kind it is."""
        self.budgets: ByteBudgets | None = None
        """Where bytes a second are limited: what a transfer of a blob may move."""
        self.unmetered: set[Callable[[], None]] = set()
        """Begin to meter one transfer each: streamed ones that are under way without."""
        self.tally: RequestTally | None = None
        """Where requests are counted by registry and status too, those that find out its address among them."""
        self._small_handles = SmallHandles(timeouts)
        self._in_flight = InFlightLimit(driver.connections) if driver.connections else None
        self._whereabouts = Whereabouts(driver, self._find)

    @property
    def crowded(self) -> bool:
        """Whether requests wait for a connection."""
        return self._in_flight is not None and self._in_flight.crowded

    async def perform(
        self,
        request: Request,
        endpoint: Endpoint,
        *,
        authorization: str | None = None,
        origin: Origin = Origin.LOCAL,
    ) -> Response:
        """Send `request` once; any status is an answer. Raises TransportError, or ProtocolViolation for a huge body."""
        limit = self._in_flight
        if limit is not None and not limit.try_enter():
            await limit.enter()
        try:
            self.requests[request.operation.value] += 1
            handle = self._small_handles.take(request, endpoint, authorization)
            try:
                code, words = await self.transfer(handle.easy, request, endpoint, origin)
                code, words = judge_end(code, words, whole=handle.is_whole)
                response = handle.take_answer(request.url)
                if response.status == _SESSION_OPENED and request.operation is Operation.START_UPLOAD:
                    self._note_answer(handle.easy, endpoint.registry)
            finally:
                self._small_handles.give_back(handle)
        finally:
            if limit is not None:
                limit.leave()
        if code == pycurl.E_WRITE_ERROR:
            raise ProtocolViolation(
                f"{request.line} answered with more than {MAX_BODY_BYTES} bytes",
                origin=origin,
                operation=request.operation.value,
                repository=str(request.repository) if request.repository else None,
                request=request.line,
                status=response.status,
            )
        if code:
            raise transport_error(code, words, request, origin, endpoint.network)
        if self.on_answer is not None and endpoint.profile is GENERIC:
            self.on_answer(request, endpoint, response)
        return response

    def transfer(
        self, easy: pycurl.Curl, request: Request, endpoint: Endpoint, origin: Origin
    ) -> Awaitable[tuple[int, str]]:
        """Run `easy`, which is set up for `request`: libcurl's code and words, as of `CurlDriver.perform`.

        Every request that is about a registry goes through here. Raises `ProtocolViolation` where the registry has
        sent us to a place that it may not send us to, see `Whereabouts`.
        """
        whereabouts = self._whereabouts
        # Nearly every request is below the address of a registry that has answered before, and costs no more than this.
        if endpoint.registry in whereabouts.known and request.url.startswith(endpoint.base_url + "/"):
            ending = self.driver.perform(easy)
        else:
            ending = whereabouts.perform(easy, request, endpoint, origin)
        return ending if self.tally is None else self._tallied(self.tally, easy, request, endpoint, ending)

    @staticmethod
    async def _tallied(
        tally: RequestTally, easy: pycurl.Curl, request: Request, endpoint: Endpoint, ending: Awaitable[tuple[int, str]]
    ) -> tuple[int, str]:
        """Of a blob that is read, its first byte is the answer: how long the others take, the destination decides."""
        operation = request.operation
        until = pycurl.STARTTRANSFER_TIME if operation is Operation.GET_BLOB else pycurl.TOTAL_TIME
        code, words = await ending
        status = status_word(easy.getinfo(pycurl.RESPONSE_CODE), broken=code != 0)
        tally.note(endpoint.registry, operation.value, status, easy.getinfo(until))
        return code, words

    async def _find(self, endpoint: Endpoint) -> None:
        request = build_ping(endpoint)
        handle = self._small_handles.take(request, endpoint, None)
        try:
            await self.transfer(handle.easy, request, endpoint, Origin.LOCAL)
        finally:
            self._small_handles.give_back(handle)

    def meter(self, easy: pycurl.Curl, registry: str, *, sending: bool, small: bool = False) -> Metered | None:
        """For bytes of a blob that `easy` is about to move from or to `registry`; None where they are not limited."""
        return None if self.budgets is None else self.budgets.meter(easy, registry, sending=sending, small=small)

    def begin_metering(self, budgets: ByteBudgets) -> None:
        """Bytes a second are limited from now on; what is under way spends from `budgets`, too, where they say so. It
        changes callbacks of transfers, and so must not be called from one.
        """
        self.budgets = budgets
        under_way, self.unmetered = self.unmetered, set()
        for begin in under_way:
            begin()

    def take_answer_times(self) -> dict[str, list[float]]:
        """What `answer_s` has; it begins anew."""
        taken, self.answer_s = self.answer_s, {}
        return taken

    def _note_answer(self, easy: pycurl.Curl, registry: str) -> None:
        """From when the connection stood until the answer's first byte (CURLINFO_STARTTRANSFER_TIME)."""
        times = self.answer_s.setdefault(registry, [])
        if len(times) < MOST_ANSWERS:
            times.append(round(easy.getinfo(pycurl.STARTTRANSFER_TIME) - easy.getinfo(pycurl.PRETRANSFER_TIME), 4))
