"""The HTTP server of a watch: health (`/healthz`), readiness (`/readyz`), `/metrics`, and pushes (`POST /notify`).

Beyond loopback a notification needs the secret token, and without one none is taken. A notification must be JSON: a web
page can send a form or plain text to a port of this machine without asking.

Notifications have the format of distribution (https://distribution.github.io/distribution/about/notifications), one of
both formats of Harbor's webhooks
(https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks/), or
`{"repositories": ["registry.example/team/app"]}`. Only the names of repositories are used; the registry is then asked
what they have. Pulls are ignored, or each sync would cause the next.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from msgspec import Struct, field

from image_syncer.patterns import lazy_pattern
from image_syncer.telemetry import get_logger
from image_syncer.telemetry.http_server import LOOPBACK_NAMES, HttpServer, exposition, text_response
from image_syncer.units import format_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from image_syncer.telemetry import Report
    from image_syncer.telemetry.http_server import Listen
    from image_syncer.telemetry.metrics import RunMetrics


MOST_BODY_BYTES = 2**20
BODY_TIMEOUT_S = 10.0
MOST_AT_ONCE = 16
"""Notifications whose bodies are read at one time; each holds one in memory."""
LONGEST_STUCK_S = 120.0
"""A loop that has not turned for so long is stuck for good."""
MOST_EVENTS = 1000
"""In one request: registries send a few."""
MOST_NAME_CHARS = 512
"""More than a registry and a repository can have."""
_BLOB = "application/octet-stream"
_HARBOR_PUSHES = frozenset({"PUSH_ARTIFACT", "harbor.artifact.pushed"})
_HOST = lazy_pattern(r"(?P<name>[\w.-]+|\[[0-9a-f:]+\])(?::[0-9]+)?", re.ASCII)

_log = get_logger(__name__)


class State(str, Enum):
    """What a watch does now."""

    STARTING = "starting"
    WAITING = "waiting"
    RUNNING = "running"
    ENDING = "ending"

    __str__ = str.__str__


class WatchStatus(Struct):
    """Written by the watcher, read by others. Times are seconds of the epoch."""

    started_at: float
    state: State = State.STARTING
    rounds: int = 0
    """Runs that have begun."""
    next_at: float | None = None
    """When the schedule has the next round."""
    configuration_read_at: float | None = None
    """When the files in force were read."""
    configuration_error: str | None = None
    """Why the files that were read last are not in force; None: they are."""
    last: dict[str, Any] = field(default_factory=dict)
    """The last run that has ended."""
    last_success_at: float | None = None
    left_alone: int = 0
    """Repositories that were left out of the last round by the schedule."""
    turned_at: float | None = None
    """When the loop of the runs last turned, by the monotonic clock; None: not yet."""
    left_out: int = 0
    """Times of the schedule that passed while a run was under way."""

    @property
    def is_ready(self) -> bool:
        """Whether notifications are taken."""
        return self.state in (State.WAITING, State.RUNNING)

    def note_report(self, report: Report, now: float, *, cause: str) -> None:
        """Note that a run has ended."""
        self.last = {
            "cause": cause,
            "ended_at": _iso(now),
            "seconds": round(report.seconds, 3),
            "exit_code": report.exit_code,
            "outcomes": {outcome.value: count for outcome, count in report.totals.outcomes.items()},
        }
        if report.exit_code == 0:
            self.last_success_at = now

    def note_refused(self, reason: str, now: float, *, cause: str) -> None:
        """Note that a run could not begin."""
        self.last = {"cause": cause, "ended_at": _iso(now), "exit_code": 2, "error": reason}

    def stuck_s(self, now: float) -> float:
        """Return how long the loop of the runs has not turned; `now` is of the monotonic clock."""
        return 0.0 if self.turned_at is None else now - self.turned_at

    def as_data(self, *, details: bool) -> dict[str, Any]:
        """Return the data for `/healthz`; without `details`, no names of files, registries or images."""
        last = self.last if details else {name: value for name, value in self.last.items() if name != "error"}
        stale = self.configuration_error is not None
        return {
            "status": "stale configuration" if stale else "ok",
            "state": self.state.value,
            "started_at": _iso(self.started_at),
            "rounds": self.rounds,
            "next_at": _iso(self.next_at),
            "repositories_left_alone": self.left_alone,
            "configuration": {
                "read_at": _iso(self.configuration_read_at),
                "in_force": not stale,
                "error": self.configuration_error if details else None,
            },
            "last_run": last or None,
            "last_success_at": _iso(self.last_success_at),
        }

    def sentence(self, now: float) -> str:
        """Return the text for `systemctl status`."""
        parts = [self.state.value]
        if self.state is State.WAITING and self.next_at is not None:
            parts[0] += f", next round in {format_duration(max(0.0, self.next_at - now))}"
        if self.last:
            parts.append(f"last run ended with exit code {self.last['exit_code']}")
        if self.configuration_error is not None:
            parts.append("the files on disk have mistakes, and are not in force")
        return "; ".join(parts)


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")


class MalformedEvent(ValueError):  # noqa: N818 - as those of `oci`: what is malformed says so
    """A body in none of the formats; the text says why."""


class PushedRepository(Value, frozen=True):
    """`name` as the registry knows it; `registry` is the host by which it was reached, or "" if unknown."""

    registry: str
    name: str


def parse_events(body: bytes) -> list[PushedRepository]:
    """Return the repositories to which something was pushed, each once. Raises MalformedEvent."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedEvent("the body is no JSON") from None
    if not isinstance(document, dict):
        raise MalformedEvent("the body is no JSON object")
    if isinstance(document.get("events"), list):
        found = _of_distribution(document["events"])
    elif isinstance(document.get("repositories"), list):
        found = _of_ours(document["repositories"])
    elif isinstance(document.get("type"), str):
        found = _of_harbor(document)
    else:
        raise MalformedEvent('neither "events", nor "type", nor "repositories" is in the body')
    return list(dict.fromkeys(one for one in found if 0 < len(one.registry + one.name) <= MOST_NAME_CHARS))


def _of_distribution(events: list[Any]) -> Iterator[PushedRepository]:
    for event in events[:MOST_EVENTS]:
        if not isinstance(event, dict) or event.get("action") != "push":
            continue
        target, request = _mapping(event.get("target")), _mapping(event.get("request"))
        # A manifest pushed by its digest may be a signature; a blob alone changes nothing.
        if target.get("mediaType") != _BLOB and (name := _text(target.get("repository"))):
            yield PushedRepository(_text(request.get("host")), name)


def _of_harbor(document: dict[str, Any]) -> Iterator[PushedRepository]:
    if document["type"] not in _HARBOR_PUSHES:
        return
    data = _mapping(document.get("event_data")) or _mapping(document.get("data"))
    name = _text(_mapping(data.get("repository")).get("repo_full_name"))
    if not name:
        raise MalformedEvent("the webhook of Harbor names no repository (repo_full_name)")
    resources = data.get("resources")
    first = _mapping(resources[0]) if isinstance(resources, list) and resources else {}
    place = _text(first.get("resource_url"))
    registry, slash, _ = place.partition("/")
    yield PushedRepository(registry if slash else "", name)


def _of_ours(names: list[Any]) -> Iterator[PushedRepository]:
    for name in names[:MOST_EVENTS]:
        registry, slash, rest = _text(name).partition("/")
        if not slash or not rest:
            raise MalformedEvent('"repositories" has to name them with their registry')
        yield PushedRepository(registry, rest)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


class WatchServer(HttpServer):
    """Serves the status of a watch, and hands the repositories of notifications to `take`, which returns how many of
    them a rule selects.
    """

    def __init__(
        self,
        listen: Listen,
        status: WatchStatus,
        take: Callable[[Sequence[PushedRepository]], Awaitable[int]],
        metrics: RunMetrics | None,
        token: str | None,
    ) -> None:
        super().__init__(listen, "--listen")
        self._status = status
        self._take = take
        self._metrics = metrics
        self._token = token
        self._reading = 0
        self.notifications = dict.fromkeys(("taken", "ignored", "malformed", "refused"), 0)
        """Their number, by result."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
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
        data = self._status.as_data(details=details)
        stuck_s = self._status.stuck_s(time.monotonic())
        if stuck_s > LONGEST_STUCK_S:
            return _json(503, {**data, "status": f"its loop has not turned for {format_duration(stuck_s)}"})
        return _json(200, data)

    async def _readiness(self, _request: web.BaseRequest) -> web.Response:
        if self._status.is_ready:
            return text_response(200, "ready")
        return text_response(503, f"not ready: {self._status.state}")

    async def _exposition(self, request: web.BaseRequest) -> web.Response:
        return exposition(self._metrics, request)

    async def _notification(self, request: web.BaseRequest) -> web.Response:
        if self._token is not None:
            if not self._knows_token(request):
                return self._refuse(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})
        elif not self._listen.is_loopback:
            return self._refuse(403, "notifications are not taken here: give the watch a token (--events-token-file)")
        elif not _asks_this_machine(request):
            return self._refuse(403, "this is asked by a name that is not of loopback: give the watch a token")
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
            taken = await self._take(pushed)
        except (TimeoutError, asyncio.TimeoutError):
            return text_response(503, "the watch does not answer")
        self.notifications["taken" if taken else "ignored"] += 1
        _log.info("notification", repositories=len(pushed), meant=taken)
        # A registry repeats what is refused: it must not repeat pushes that no rule selects.
        return _json(202, {"repositories": len(pushed), "meant": taken})

    def _refuse(self, status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
        self.notifications["refused"] += 1
        return text_response(status, text, headers)

    def _knows_token(self, request: web.BaseRequest) -> bool:
        """Return whether the request has the token. Harbor sends it without a scheme."""
        if self._token is None:
            return False
        given = request.headers.get("Authorization", "")
        scheme, _, rest = given.partition(" ")
        given = rest.strip() if scheme.lower() == "bearer" else given
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token.encode())


def _asks_this_machine(request: web.BaseRequest) -> bool:
    """Return whether the request names a host of loopback: a web page can have another name resolve to this machine
    (DNS rebinding).
    """
    found = _HOST.fullmatch(request.headers.get("Host", ""))
    return found is not None and found["name"].lower().strip("[]") in LOOPBACK_NAMES


async def _read(request: web.BaseRequest) -> bytes | None:
    """Return the body; None if it is too large."""
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
