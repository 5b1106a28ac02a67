"""The transport: one request and one answer, on libcurl's easy handles.

Handles are expensive to make and cheap to reset, so they are kept. Connections belong to the multi handle, and outlive
the handle that opened them. Nothing here follows redirects or decodes bodies: `client.py` decides where credentials may
go, and a digest covers the bytes as they are stored.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, TypeAlias

import pycurl

from image_syncer.errors import Origin, ProtocolViolation, SyncError
from image_syncer.net.addresses import Whereabouts
from image_syncer.net.curl_errors import CUT_HEAD, transport_error
from image_syncer.net.network_options import network_kind, own_headers, set_network, set_trust
from image_syncer.registry import DIRECT, GENERIC, Headers, Operation, Response, build_ping
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.net.byte_budget import ByteBudgets, Metered
    from image_syncer.net.multi import CurlDriver
    from image_syncer.net.network_options import NetworkKind
    from image_syncer.registry import Endpoint, Request

USER_AGENT = "image-syncer"
DOWNLOAD_BUFFER_BYTES = 64 * 1024
"""CURLOPT_BUFFERSIZE: bytes in the core's cache are cheaper (measured: 64 KiB with uploads of 256 KiB was best)."""
UPLOAD_BUFFER_BYTES = 256 * 1024
"""CURLOPT_UPLOAD_BUFFERSIZE: one send for each piece. libcurl allocates it anew for every upload."""
LEAST_UPLOAD_BUFFER_BYTES = 16 * 1024
"""libcurl takes no less."""
_BLANK = (b"\r\n", b"\n")
_DOWNLOAD_CALLBACKS = (pycurl.HEADERFUNCTION, pycurl.WRITEFUNCTION)
_UPLOAD_CALLBACKS = (*_DOWNLOAD_CALLBACKS, pycurl.READFUNCTION, pycurl.SEEKFUNCTION)
_FINAL = 200
"""The statuses below are interim answers."""
SUPPRESS_CONNECT_HEADERS = 265
"""CURLOPT_SUPPRESS_CONNECT_HEADERS(3), a number of libcurl's ABI: PycURL has no name for it."""


class InFlightLimit:
    """A semaphore with `places`, first come, first served.

    `asyncio.Semaphore` takes three to four times the processor time, and each small request enters two limits.
    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def crowded(self) -> bool:
        """Whether a request waits."""
        return bool(self._waiting)

    def try_enter(self) -> bool:
        """Take a place if one is free, to be given back by `leave`; return whether it was."""
        if self._free:  # never while a request waits: `leave` hands places over
            self._free -= 1
            return True
        return False

    async def enter(self) -> None:
        """Wait for a place and take it."""
        if self.try_enter():
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # the place had been handed over in the same round of the loop
            raise

    def leave(self) -> None:
        """Hand the place to the request that has waited longest, or give it back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def parse_head(lines: list[bytes]) -> tuple[int, Headers] | None:
    """Return status and header fields from all lines of libcurl's header callback for an answer.

    Interim answers (1xx) are dropped; trailers count as fields. None for a head that is not complete: libcurl takes one
    that a closed connection cuts off for a complete one.
    """
    began = status = 0
    for number, line in enumerate(lines):
        if line in _BLANK:
            if status >= _FINAL:
                return status, Headers(text=b"".join(lines[began:]).decode("latin-1"))
        elif status < _FINAL and line.startswith(b"HTTP/"):
            parts = line.split(None, 2)
            began, status = number + 1, int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
    return None


def set_connection(easy: pycurl.Curl, endpoint: Endpoint, url: str, *, connect_timeout_s: float) -> None:
    """Set the options of a connection to `url`: protocols, trust, network, time to connect."""
    setopt = easy.setopt
    setopt(pycurl.URL, url)
    setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    setopt(pycurl.USERAGENT, USER_AGENT)
    setopt(pycurl.NOSIGNAL, 1)
    setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    setopt(pycurl.CONNECTTIMEOUT_MS, int(connect_timeout_s * 1000))
    setopt(pycurl.TCP_KEEPALIVE, 1)
    setopt(SUPPRESS_CONNECT_HEADERS, 1)  # a proxy's 200 to CONNECT is not the registry's answer
    set_trust(easy, endpoint)
    if endpoint.network is not DIRECT:
        set_network(easy, network_kind(endpoint, url))


def header_lines(headers: tuple[tuple[str, str], ...], authorization: str | None) -> list[str]:
    """Return CURLOPT_HTTPHEADER: the fields of a request, and those that stop libcurl from adding its own."""
    fields = [f"{name}: {value}" for name, value in headers if name != "Content-Length"]
    # libcurl would ask before it sends a larger body (RFC 9110, section 10.1.1), and wait for up to a second.
    fields += ["Expect:", "Accept-Encoding: identity"]
    if not any(name.lower() == "content-type" for name, _ in headers):
        fields.append("Content-Type:")  # libcurl's default for a POST is a form
    if authorization is not None:
        fields.append(f"Authorization: {authorization}")
    return fields


def set_upload(
    easy: pycurl.Curl, size: int, send: Callable[[int], memoryview | bytes | int], rewind: Callable[[], bool]
) -> None:
    """Take the body of `size` bytes from `send`.

    libcurl notices only after a send that the server has closed a kept connection. It then opens a new one where
    `rewind` succeeds, so that `send` begins again, and else fails (CURLE_SEND_FAIL_REWIND).
    """

    def seek(offset: int, origin: int) -> int:
        done = offset == 0 and origin == os.SEEK_SET and rewind()
        return int(pycurl.SEEKFUNC_OK if done else pycurl.SEEKFUNC_FAIL)

    easy.setopt(pycurl.INFILESIZE_LARGE, size)
    easy.setopt(pycurl.UPLOAD_BUFFERSIZE, max(LEAST_UPLOAD_BUFFER_BYTES, min(UPLOAD_BUFFER_BYTES, size)))
    easy.setopt(pycurl.READFUNCTION, send)
    easy.setopt(pycurl.SEEKFUNCTION, seek)


def set_method(easy: pycurl.Curl, request: Request) -> None:
    """Set the method, and a body that is in memory."""
    method = request.method
    if method == "HEAD":
        easy.setopt(pycurl.NOBODY, 1)
    elif request.body is not None or method == "POST":
        body = request.body or b""
        easy.setopt(pycurl.POST, 1)
        easy.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
        easy.setopt(pycurl.COPYPOSTFIELDS, body)
        easy.setopt(pycurl.CUSTOMREQUEST, method)
    elif method not in ("GET", "PUT"):
        easy.setopt(pycurl.CUSTOMREQUEST, method)


MAX_REFUSAL_BYTES = 64 * 1024
"""The part of the body that is kept of an answer that is not the blob, for its error message."""


class BlobAnswer:
    """One answer to `request`, the GET of a blob: its head decides what receives the body.

    `take` is called with the head when the first byte of the body comes, or else when the transfer ends. It returns the
    write callback for the body, or raises the `SyncError` of a wrong blob; None keeps the beginning of the body, which
    says why.
    """

    def __init__(self, request: Request, take: Callable[[Response], Callable[[memoryview], int | None] | None]) -> None:
        self._request = request
        self._take = take
        self._head: tuple[int, Headers] | None = None
        self._refusal = bytearray()
        self.lines: list[bytes] = []
        """The lines of the head, from CURLOPT_HEADERFUNCTION."""
        self.taker: Callable[[memoryview], int | None] | None = None
        """None where the answer is not the blob."""
        self.fault: SyncError | None = None
        """The error that `take` raised."""

    def receive(self, chunk: memoryview) -> int | None:
        """CURLOPT_WRITEFUNCTION; -1 ends the transfer."""
        if self._head is None:
            self.look()
        if self.taker is not None:
            return self.taker(chunk)
        if self.fault is not None:
            return -1  # the body of a wrong blob is not read
        if len(self._refusal) == MAX_REFUSAL_BYTES:
            return -1  # the body may have no end
        self._refusal += chunk[: MAX_REFUSAL_BYTES - len(self._refusal)]
        return None

    def look(self) -> None:
        """Call `take`, once and where the head is complete."""
        if self._head is None and (head := parse_head(self.lines)) is not None:
            self._head = head
            try:
                self.taker = self._take(Response(*head, b"", self._request.url))
            except SyncError as error:
                self.fault = error

    def response(self, code: int, words: str, origin: Origin, endpoint: Endpoint) -> Response:
        """Return the answer, with the beginning of its body, of a transfer that ended with this CURLcode.

        Raises the error of a transfer that broke off.
        """
        if code == pycurl.E_WRITE_ERROR:
            code = 0  # only the beginning of a refusal is read
        if self._head is None and not code:
            code, words = CUT_HEAD
        if code or self._head is None:
            raise transport_error(code, words, self._request, origin, endpoint.network)
        return Response(*self._head, bytes(self._refusal), self._request.url)


MAX_BODY_BYTES = 8 * 2**20
"""Manifests have up to 4 MiB, tag lists without paging some more; a bound against hostile servers."""
_Kind = tuple[str, bool, bool, bool, "str | None", "NetworkKind | None"]
"""Method, whether there is a body at all, whether it is a blob's, the verification of certificates and by which
authority, the network.
"""


class Handle:
    """One easy handle. For a small request, the answer that it receives, which is whole in memory and bounded."""

    __slots__ = ("body", "easy", "fields", "kind", "lines", "own", "streamed")

    def __init__(self, kind: _Kind | None, *, streamed: bool) -> None:
        self.kind = kind
        self.streamed = streamed
        self.easy = pycurl.Curl()
        self.lines: list[bytes] = []
        self.body = bytearray()
        self.fields: tuple[tuple[tuple[str, str], ...], str | None] | None = None
        self.own: tuple[tuple[str, str], ...] = ()
        """The user's header fields."""

    def prepare(self, request: Request, endpoint: Endpoint, timeouts: Timeouts) -> None:
        """Set the options that all requests of this kind have in common."""
        easy = self.easy
        set_connection(easy, endpoint, request.url, connect_timeout_s=timeouts.connect_s)
        self.own = () if endpoint.network is DIRECT else own_headers(network_kind(endpoint, request.url))
        set_method(easy, request)
        if self.streamed:
            easy.setopt(pycurl.BUFFERSIZE, DOWNLOAD_BUFFER_BYTES)
            if request.method != "GET":
                easy.setopt(pycurl.UPLOAD, 1)
            return
        easy.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        easy.setopt(pycurl.WRITEFUNCTION, self._receive)
        easy.setopt(pycurl.TIMEOUT_MS, int(timeouts.request_s * 1000))
        easy.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        easy.setopt(pycurl.LOW_SPEED_TIME, max(1, int(timeouts.stall_s)))

    def _receive(self, chunk: bytes) -> int | None:
        """CURLOPT_WRITEFUNCTION; -1 ends the transfer with CURLE_WRITE_ERROR."""
        if len(self.body) + len(chunk) > MAX_BODY_BYTES:
            return -1
        self.body += chunk
        return None


class HandlePool:
    """Idle handles, each set up for one kind of request: setting options is most of the cost of a small one.

    A kept handle gets the address of each request, and its header fields where they differ from those of the request
    before. A request with a body in memory uses a handle that is reset for it.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._free: dict[_Kind | None, list[Handle]] = {}

    def take(
        self, request: Request, endpoint: Endpoint, authorization: str | None, *, streamed: bool = False
    ) -> Handle:
        """Return a handle that is ready to send `request`; where `streamed`, but for the callbacks of head and body."""
        body = request.body
        network = None if endpoint.network is DIRECT else network_kind(endpoint, request.url)
        kind = None if body else (request.method, body is None, streamed, endpoint.verify, endpoint.ca_file, network)
        free = self._free.get(kind)
        handle = free.pop() if free else None
        if handle is None or kind is None:
            handle = handle or Handle(kind, streamed=streamed)
            handle.prepare(request, endpoint, self._timeouts)
        fields = (request.headers, authorization)
        if fields != handle.fields:
            handle.easy.setopt(pycurl.HTTPHEADER, header_lines((*request.headers, *handle.own), authorization))
            handle.fields = fields
        handle.easy.setopt(pycurl.URL, request.url)
        return handle

    def give_back(self, handle: Handle, *, spoiled: bool = False) -> None:
        """Keep a handle that no multi handle runs, without the answer that it received; close one that is `spoiled`,
        since its transfer was broken off.
        """
        easy = handle.easy
        if spoiled:
            easy.close()
            return
        handle.lines.clear()
        handle.body.clear()
        if handle.kind is None:
            easy.reset()
            handle.fields = None
        elif handle.streamed:
            # An idle handle holds no blob.
            for option in _DOWNLOAD_CALLBACKS if handle.kind[0] == "GET" else _UPLOAD_CALLBACKS:
                easy.unsetopt(option)
        self._free.setdefault(handle.kind, []).append(handle)


ANSWER_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds of the buckets of the histogram of answer times; one more bucket has the slower answers."""
BROKEN = "broken"
"""The status of a request without an answer, or whose answer broke off."""
_APART = {429: "429", 503: "503"}
"""Statuses with which a registry asks for fewer requests; they are counted by themselves."""

TallyRow: TypeAlias = tuple[str, str, str, float, list[int]]
"""Registry, operation, status, the sum of the seconds, and the count of each bucket."""


class RequestTally:
    """Requests by registry, operation and status, with histograms of their times, for metrics.

    Each process has its own; workers send theirs to the coordinator as rows.
    """

    def __init__(self) -> None:
        self._rows: defaultdict[tuple[str, str, str], tuple[list[float], list[int]]] = defaultdict(
            lambda: ([0.0], [0] * (len(ANSWER_SECONDS) + 1))
        )

    def note(self, registry: str, operation: str, status: str, seconds: float) -> None:
        """Count one request that has ended after `seconds`."""
        total, counts = self._rows[registry, operation, status]
        total[0] += seconds
        counts[bisect_left(ANSWER_SECONDS, seconds)] += 1

    def add(self, rows: list[TallyRow]) -> None:
        """Add what `take` of another tally returned."""
        for registry, operation, status, seconds, counts in rows:
            total, known = self._rows[registry, operation, status]
            total[0] += seconds
            for bucket, count in enumerate(counts):
                known[bucket] += count

    def rows(self) -> list[TallyRow]:
        """Return all counts."""
        return [(*key, total[0], list(counts)) for key, (total, counts) in self._rows.items()]

    def take(self) -> list[TallyRow]:
        """Return all counts and reset them."""
        rows = self.rows()
        self._rows.clear()
        return rows


def _status_word(status: int, *, broken: bool) -> str:
    """Return the class of a status, such as "2xx"; a refusal keeps its class where its body broke off."""
    if status in _APART:
        return _APART[status]
    if not status or (broken and status < 300):  # noqa: PLR2004 - the statuses below are successes
        return BROKEN
    return f"{status // 100}xx"


MOST_ANSWERS = 32
"""Answer times that are kept for one registry."""
_SESSION_OPENED = 202


class Timeouts(Value, frozen=True, kw_only=True):
    """Seconds for a connection with TLS, without any byte (`stall_s`), and for one small request in all."""

    connect_s: float = 15.0
    stall_s: float = 60.0
    request_s: float = 300.0


class Transport:
    """Sends each request once over the process's multi handle: whole bodies in memory, no tokens, no redirects.

    `requests` counts requests by operation. Where the driver limits connections, further requests wait here: inside
    libcurl their timeouts would run.
    """

    def __init__(self, driver: CurlDriver, timeouts: Timeouts) -> None:
        self.driver = driver
        self.timeouts = timeouts
        self.handles = HandlePool(timeouts)
        self.requests: Counter[str] = Counter()
        self.answer_s: dict[str, list[float]] = {}
        """Answer times of requests for upload sessions, by registry: small ones, and each blob has one."""
        self.on_answer: Callable[[Request, Endpoint, Response], None] | None = None
        """Called with each answer of a registry of an unknown kind."""
        self.budgets: ByteBudgets | None = None
        """Where bytes per second are limited: the bytes that transfers of blobs may move."""
        self.unmetered: set[Callable[[], None]] = set()
        """Each begins to meter one streamed transfer that is in flight without a budget."""
        self.tally: RequestTally | None = None
        """Where set: counts all requests by registry and status, also those that find a registry's address."""
        self._in_flight = InFlightLimit(driver.connections) if driver.connections else None
        self._whereabouts = Whereabouts(driver, self._find)

    @property
    def crowded(self) -> bool:
        """Whether requests wait for a connection."""
        return self._in_flight is not None and self._in_flight.crowded

    async def perform(
        self, request: Request, endpoint: Endpoint, *, authorization: str | None = None, origin: Origin = Origin.LOCAL
    ) -> Response:
        """Send `request` once; any status is an answer. Raises TransportError, or ProtocolViolation for a huge body."""
        limit = self._in_flight
        if limit is not None and not limit.try_enter():
            await limit.enter()
        try:
            self.requests[request.operation.value] += 1
            handle = self.handles.take(request, endpoint, authorization)
            easy = handle.easy
            try:
                code, words = await self.transfer(easy, request, endpoint, origin)
                if (head := parse_head(handle.lines)) is None and not code:
                    code, words = CUT_HEAD
                response = Response(*(head or (0, Headers())), bytes(handle.body), request.url)
                if response.status == _SESSION_OPENED and request.operation is Operation.START_UPLOAD:
                    # From the ready connection to the first byte.
                    waited_s = easy.getinfo(pycurl.STARTTRANSFER_TIME) - easy.getinfo(pycurl.PRETRANSFER_TIME)
                    times = self.answer_s.setdefault(endpoint.registry, [])
                    if len(times) < MOST_ANSWERS:
                        times.append(round(waited_s, 4))
            finally:
                self.handles.give_back(handle)
        finally:
            if limit is not None:
                limit.leave()
        if code == pycurl.E_WRITE_ERROR:
            raise ProtocolViolation(
                f"{request.line} answered with more than {MAX_BODY_BYTES} bytes",
                **request.error_fields(origin),
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

        Every request to a registry, or to an address from it, passes here. Raises `ProtocolViolation` for a forbidden
        address (`Whereabouts`).
        """
        whereabouts = self._whereabouts
        # Nearly every request is below the address of a registry that has answered before, and costs no more than this.
        if endpoint.registry in whereabouts.known and request.url.startswith(endpoint.base_url + "/"):
            ending = self.driver.perform(easy)
        else:
            ending = whereabouts.perform(easy, request, endpoint, origin)
        return ending if self.tally is None else _tallied(self.tally, easy, request, endpoint, ending)

    def meter(self, easy: pycurl.Curl, registry: str, *, sending: bool, small: bool = False) -> Metered | None:
        """Return the meter of a transfer of a blob by `easy`; None where its bytes per second are not limited."""
        return None if self.budgets is None else self.budgets.meter(easy, registry, sending=sending, small=small)

    def begin_metering(self, budgets: ByteBudgets) -> None:
        """Limit bytes per second from now on, also of transfers in flight; not to be called from their callbacks."""
        self.budgets = budgets
        under_way, self.unmetered = self.unmetered, set()
        for begin in under_way:
            begin()

    def take_answer_times(self) -> dict[str, list[float]]:
        """Return `answer_s` and reset it."""
        taken, self.answer_s = self.answer_s, {}
        return taken

    async def _find(self, endpoint: Endpoint) -> None:
        """Send a ping, so that the address of the registry is known."""
        request = build_ping(endpoint)
        handle = self.handles.take(request, endpoint, None)
        try:
            await self.transfer(handle.easy, request, endpoint, Origin.LOCAL)
        finally:
            self.handles.give_back(handle)


async def _tallied(
    tally: RequestTally, easy: pycurl.Curl, request: Request, endpoint: Endpoint, ending: Awaitable[tuple[int, str]]
) -> tuple[int, str]:
    """Count a request when it ends. A read of a blob ends with its first byte: the rest depends on the destination."""
    operation = request.operation
    until = pycurl.STARTTRANSFER_TIME if operation is Operation.GET_BLOB else pycurl.TOTAL_TIME
    code, words = await ending
    status = _status_word(easy.getinfo(pycurl.RESPONSE_CODE), broken=code != 0)
    tally.note(endpoint.registry, operation.value, status, easy.getinfo(until))
    return code, words
