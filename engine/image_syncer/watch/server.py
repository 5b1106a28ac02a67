"""The small HTTP server of a watch: is it well (`/healthz`), does it take notifications (`/readyz`), what has it done
(`/metrics`), and something was pushed (`POST /notify`).

Beyond loopback a notification needs the secret token, and without one none is taken. What a page in somebody's browser
could send to a port of this machine without asking (a form, plain text) is none: it has to say that it is JSON.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from typing import TYPE_CHECKING, Protocol

import orjson
from aiohttp import web

from image_syncer.telemetry import get_logger
from image_syncer.telemetry.http_server import HttpServer, exposition, text_response
from image_syncer.telemetry.listening import LOOPBACK_NAMES
from image_syncer.units import format_duration
from image_syncer.watch.events import MalformedEvent, parse_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from image_syncer.telemetry.listening import Listen
    from image_syncer.telemetry.metrics import RunMetrics
    from image_syncer.watch.events import PushedRepository
    from image_syncer.watch.status import WatchStatus

__all__ = ["MOST_BODY_BYTES", "WatchServer", "Watched"]

MOST_BODY_BYTES = 2**20
BODY_TIMEOUT_S = 10.0
MOST_AT_ONCE = 16
"""Notifications whose bodies are read at one time; each holds one in memory."""
LONGEST_STUCK_S = 120.0
"""A loop that does not turn for so long will not do so any more."""

_HOST = re.compile(r"(?P<name>[\w.-]+|\[[0-9a-f:]+\])(?::[0-9]+)?", re.ASCII)

_log = get_logger(__name__)


class Watched(Protocol):
    """What the server is about."""

    @property
    def status(self) -> WatchStatus:
        """How it stands."""

    @property
    def is_ready(self) -> bool:
        """Whether notifications are acted on."""

    async def take(self, pushed: Sequence[PushedRepository]) -> int:
        """Something was pushed there; how many of them some rule means."""


class WatchServer(HttpServer):
    """Serves what a watch has to tell, and takes notifications."""

    def __init__(self, listen: Listen, watched: Watched, metrics: RunMetrics | None, token: str | None) -> None:
        super().__init__(listen, "--listen")
        self._watched = watched
        self._metrics = metrics
        self._token = token
        self._reading = 0
        self.notifications = dict.fromkeys(("taken", "ignored", "malformed", "refused"), 0)
        """How many there were, by what became of them."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Health, readiness, metrics, and notifications."""
        routes: dict[str, tuple[str, Callable[[web.BaseRequest], Awaitable[web.Response]]]] = {
            "/healthz": ("GET", self._health),
            "/readyz": ("GET", self._readiness),
            "/metrics": ("GET", self._exposition),
            "/notify": ("POST", self._notification),
        }
        known = routes.get(request.path)
        if known is None:
            return text_response(404, "there are /healthz, /readyz, /metrics, and POST /notify")
        method, answer = known
        if request.method != method and (method, request.method) != ("GET", "HEAD"):
            return text_response(405, f"{request.path} takes {method}", {"Allow": method})
        return await answer(request)

    async def _health(self, request: web.BaseRequest) -> web.Response:
        details = (self._listen.is_loopback and _asks_this_machine(request)) or self._knows_token(request)
        data = self._watched.status.as_data(details=details)
        stuck_s = self._watched.status.stuck_s(time.monotonic())
        if stuck_s > LONGEST_STUCK_S:
            return _json(503, {**data, "status": f"its loop has not turned for {format_duration(stuck_s)}"})
        return _json(200, data)

    async def _readiness(self, _request: web.BaseRequest) -> web.Response:
        if self._watched.is_ready:
            return text_response(200, "ready")
        return text_response(503, f"not ready: {self._watched.status.state}")

    async def _exposition(self, request: web.BaseRequest) -> web.Response:
        return exposition(self._metrics, request)

    async def _notification(self, request: web.BaseRequest) -> web.Response:
        if self._token is None and not self._listen.is_loopback:
            self.notifications["refused"] += 1
            return text_response(403, "notifications are not taken here: give the watch a token (--events-token-file)")
        if self._token is None and not _asks_this_machine(request):
            self.notifications["refused"] += 1
            return text_response(403, "this is asked by a name that is not of loopback: give the watch a token")
        if self._token is not None and not self._knows_token(request):
            self.notifications["refused"] += 1
            return text_response(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if not request.content_type.endswith("json"):
            return text_response(415, "a notification is JSON, and its Content-Type says so")
        if self._reading >= MOST_AT_ONCE:
            return text_response(503, "too many notifications at once", {"Retry-After": "1"})
        self._reading += 1
        try:
            body = await asyncio.wait_for(_read(request), BODY_TIMEOUT_S)
        except (TimeoutError, asyncio.TimeoutError):
            return text_response(408, "the body did not come")
        finally:
            self._reading -= 1
        if body is None:
            return text_response(413, f"the body has more than {MOST_BODY_BYTES:,} bytes")
        try:
            pushed = parse_events(body)
        except MalformedEvent as error:
            self.notifications["malformed"] += 1
            return text_response(400, str(error))
        try:
            taken = await self._watched.take(pushed)
        except (TimeoutError, asyncio.TimeoutError):
            return text_response(503, "the watch does not answer")
        self.notifications["taken" if taken else "ignored"] += 1
        _log.info("notification", repositories=len(pushed), meant=taken)
        # A registry sends again what is not taken: one that tells of repositories that no rule means must not.
        return _json(202, {"repositories": len(pushed), "meant": taken})

    def _knows_token(self, request: web.BaseRequest) -> bool:
        """Harbor sends the field's value as it was written, without a scheme."""
        if self._token is None:
            return False
        given = request.headers.get("Authorization", "")
        scheme, _, rest = given.partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else given
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _asks_this_machine(request: web.BaseRequest) -> bool:
    """Whether it was sent to loopback by a name of loopback: a page in a browser may have a name of its own lead here
    (DNS rebinding), and then counts as ours.
    """
    found = _HOST.fullmatch(request.headers.get("Host", ""))
    return found is not None and found["name"].lower().strip("[]") in LOOPBACK_NAMES


async def _read(request: web.BaseRequest) -> bytes | None:
    """The body; None where it is too large."""
    if (request.content_length or 0) > MOST_BODY_BYTES:
        return None
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            return None
    return bytes(body)


def _json(status: int, data: object) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE), content_type="application/json"
    )
