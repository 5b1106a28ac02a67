"""One request, one answer: whole bodies in memory, bounded. No tokens, no redirects, no second try (`client.py` has
those).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pycurl

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.net.curl_errors import judge_end, transport_error
from image_syncer.net.handles import HandlePool
from image_syncer.net.in_flight_limit import InFlightLimit
from image_syncer.net.request_tally import status_word
from image_syncer.net.small_handles import MAX_BODY_BYTES, SmallHandles
from image_syncer.net.whereabouts import Whereabouts
from image_syncer.registry import GENERIC, Operation, build_ping

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.net.byte_budget import ByteBudgets, Metered
    from image_syncer.net.multi import CurlDriver
    from image_syncer.net.request_tally import RequestTally
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["Timeouts", "Transport"]

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
