"""One request on its way through the server, with the state of the registry that handlers share."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from msgspec import Struct

from image_syncer.embedded.behaviour import Behaviour, DigestHeader
from image_syncer.oci import Digest
from image_syncer.values import repr_without

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.embedded.behaviour import Fault, FaultKind, RateLimit, TokenService
    from image_syncer.embedded.counters import Counters
    from image_syncer.embedded.route import Route
    from image_syncer.embedded.storage import Storage


Grants = dict[tuple[str, str], frozenset[str]]
"""Rights: (type, name) of the specification's scopes → actions."""

_WRONG_DIGEST = "sha256:" + "0123456789abcdef" * 4


class Refusal(Exception):  # noqa: N818 - not a fault of the registry, but its answer
    """A request is refused with `status` and one error `code` (OCI distribution specification 1.1, "Error Codes").

    `quirk` is its name in the counters if a registry that follows the specification would not refuse this. `page` is an
    HTML body instead of the specification's, as proxies and load balancers answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: object = None,
        headers: Iterable[tuple[str, str]] = (),
        quirk: str = "",
        page: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = tuple(headers)
        self.quirk = quirk
        self.page = page
        super().__init__(message)


def build_refusal_response(refusal: Refusal) -> web.Response:
    """Return the response that carries `refusal`."""
    error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.detail is not None:
        error["detail"] = refusal.detail
    response = web.Response(
        status=refusal.status,
        body=orjson.dumps({"errors": [error]}) if refusal.page is None else refusal.page.encode(),
        content_type="application/json" if refusal.page is None else "text/html",
    )
    for name, value in refusal.headers:
        response.headers.add(name, value)
    return response


class _CountedFault(Struct):
    fault: Fault
    passed: int = 0
    struck: int = 0

    def strikes(self, kind: str, path: str) -> bool:
        fault = self.fault
        if fault.operation not in ("*", kind) or fault.match not in path:
            return False
        if fault.times is not None and self.struck >= fault.times:
            return False
        if self.passed < fault.skip:
            self.passed += 1
            return False
        self.struck += 1
        return True


class _Bucket(Struct):
    limit: RateLimit
    level: float
    filled_at_s: float
    refused: int = 0

    def refuses(self, kind: str, now_s: float) -> bool:
        limit = self.limit
        if limit.operations and kind not in limit.operations:
            return False
        if limit.times is not None and self.refused >= limit.times:
            return False
        room = max(1.0, float(limit.burst))  # with less, no request would ever pass
        self.level = min(max(room, self.level), self.level + (now_s - self.filled_at_s) * limit.per_s)
        self.filled_at_s = now_s
        if self.level >= 1:
            self.level -= 1
            return False
        self.refused += 1
        return True


class Mischief:
    """Decides which requests the faults and limits of one behaviour affect, and counts them. Thread-safe."""

    def __init__(self, behaviour: Behaviour, now_s: float) -> None:
        self._lock = threading.Lock()
        self._faults = [_CountedFault(fault) for fault in behaviour.faults]
        self._buckets = [_Bucket(limit, float(limit.burst), now_s) for limit in behaviour.rate_limits]

    def take_fault(self, kind: str, path: str) -> Fault | None:
        """Return the fault of this request, and count it."""
        with self._lock:
            return next((each.fault for each in self._faults if each.strikes(kind, path)), None)

    def refusing_limit(self, kind: str, now_s: float) -> RateLimit | None:
        """Return the limit that this request exceeds at the monotonic time `now_s`, or None."""
        with self._lock:
            return next((bucket.limit for bucket in self._buckets if bucket.refuses(kind, now_s)), None)


class _IssuedToken(Struct):
    grants: Grants
    user: str | None
    expires_at_s: float
    uses_left: int | None


class TokenBook:
    """The issued tokens that are still valid. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._issued: dict[str, _IssuedToken] = {}

    def issue(self, grants: Grants, user: str | None, service: TokenService, now_s: float) -> str:
        """Return a new token; `now_s` is a monotonic time in seconds."""
        token = secrets.token_urlsafe(48)
        with self._lock:
            self._issued = {name: issued for name, issued in self._issued.items() if issued.expires_at_s > now_s}
            self._issued[token] = _IssuedToken(grants, user, now_s + service.expires_in_s, service.max_uses)
        return token

    def use(self, token: str, now_s: float) -> tuple[Grants, str | None] | None:
        """Return the rights and the user of the token, or None if it is not valid; count one use."""
        with self._lock:
            issued = self._issued.get(token)
            if issued is None or issued.expires_at_s <= now_s or issued.uses_left == 0:
                return None
            if issued.uses_left is not None:
                issued.uses_left -= 1
            return issued.grants, issued.user

    def revoke_all(self) -> None:
        """Invalidate all issued tokens."""
        with self._lock:
            self._issued.clear()


class Service:
    """What the handlers share: storage, counters, tokens, and the current behaviour.

    `memory` holds the state of a double beside the storage: projects, pulls, refresh tokens.
    """

    def __init__(self, storage: Storage, counters: Counters, behaviour: Behaviour) -> None:
        self.storage = storage
        self.counters = counters
        self.tokens = TokenBook()
        self.companion_url: str | None = None
        self.signature_key = secrets.token_bytes(32)
        self.signature_uses: dict[str, int] = {}
        self.memory: dict[str, Any] = {}
        self.set_behaviour(behaviour)

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Use `behaviour` from the next request on, with new counts of faults and limits."""
        self.mischief = Mischief(behaviour, time.monotonic())
        self.behaviour = behaviour


class Call(Struct):
    """One request. `behaviour` and `fault` stay the same from its beginning to its end.

    With `may_mount` off, a mount opens a session instead. `granted` are the user's actions in the repository.
    """

    service: Service
    request: web.BaseRequest
    route: Route
    behaviour: Behaviour
    on_companion: bool = False
    fault: Fault | None = None
    may_mount: bool = True
    user: str | None = None
    granted: frozenset[str] = frozenset()

    __repr__ = repr_without("user")

    @property
    def storage(self) -> Storage:
        """The storage of the registry."""
        return self.service.storage

    @property
    def counters(self) -> Counters:
        """The counters of the registry."""
        return self.service.counters

    @property
    def memory(self) -> dict[str, Any]:
        """The state of a double."""
        return self.service.memory

    @property
    def repository(self) -> str:
        """The name of the repository in the path."""
        return self.route.repository

    @property
    def raw_query(self) -> str:
        """The query as received, byte for byte."""
        return self.request.raw_path.partition("?")[2]

    @property
    def own_url(self) -> str:
        """Scheme and authority of this server as the client knows them."""
        return f"{self.request.scheme}://{self.request.host}"

    @property
    def companion_url(self) -> str:
        """Scheme and authority of the second address."""
        if self.service.companion_url is None:
            raise Refusal(500, "UNKNOWN", "this behaviour needs a companion address, and the server has none")
        return self.service.companion_url

    def meet(self, quirk: str) -> None:
        """Count that the request met `quirk`."""
        self.counters.add_quirk(quirk)

    def stream_fault(self, *kinds: FaultKind) -> Fault | None:
        """Return the fault of this request if it is one of `kinds`."""
        return self.fault if self.fault is not None and self.fault.kind in kinds else None

    def digest_header(self, digest: str, form: DigestHeader) -> dict[str, str]:
        """Return the Docker-Content-Digest header in this form."""
        if form is DigestHeader.MISSING:
            return {}
        return {"Docker-Content-Digest": _WRONG_DIGEST if form is DigestHeader.WRONG else digest}


def parse_digest(text: str) -> Digest:
    """Return the digest that a client wrote; refuses the request if it is invalid."""
    try:
        return Digest(text)
    except ValueError:
        raise Refusal(400, "DIGEST_INVALID", "provided digest did not match the form of a digest") from None
