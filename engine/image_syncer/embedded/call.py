"""One request on its way through the server, with everything that a handler may look at.

Mischief: which request a fault or a limit of the behaviour strikes. Decides, and leaves the doing to
others.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from image_syncer.embedded.behaviour import Behaviour, DigestHeader
from image_syncer.embedded.refusal import Refusal
from image_syncer.oci import Digest
from image_syncer.values import repr_without

if TYPE_CHECKING:
    from aiohttp import web

    from image_syncer.embedded.counters import Counters
    from image_syncer.embedded.fault import Fault, FaultKind, RateLimit
    from image_syncer.embedded.route import Route
    from image_syncer.embedded.storage import Storage
    from image_syncer.embedded.tokens import TokenBook

__all__ = ["Call", "Mischief", "Service", "parse_digest"]


class _WoundFault(Struct):
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
        room = max(1.0, float(limit.burst))  # a bucket that cannot hold one request would never let one pass
        self.level = min(max(room, self.level), self.level + (now_s - self.filled_at_s) * limit.per_s)
        self.filled_at_s = now_s
        if self.level >= 1:
            self.level -= 1
            return False
        self.refused += 1
        return True


class Mischief:
    """The faults and limits of one behaviour, with what is left of them. May be used from any thread."""

    def __init__(self, behaviour: Behaviour, now_s: float) -> None:
        self._lock = threading.Lock()
        self._faults = [_WoundFault(fault) for fault in behaviour.faults]
        self._buckets = [_Bucket(limit, float(limit.burst), now_s) for limit in behaviour.rate_limits]

    def take_fault(self, kind: str, path: str) -> Fault | None:
        """The fault that strikes this request; it is spent thereby."""
        with self._lock:
            return next((wound.fault for wound in self._faults if wound.strikes(kind, path)), None)

    def refusing_limit(self, kind: str, now_s: float) -> RateLimit | None:
        """The limit that this request exceeds, if one does. `now_s` is a monotonic time in seconds."""
        with self._lock:
            return next((bucket.limit for bucket in self._buckets if bucket.refuses(kind, now_s)), None)


_WRONG_DIGEST = "sha256:" + "0123456789abcdef" * 4


class Service:
    """What the handlers share: storage, counters, tokens, and the behaviour of the moment.

    `memory` is what a double has to remember beside the storage: projects, pulls, refresh tokens.
    """

    def __init__(self, storage: Storage, counters: Counters, tokens: TokenBook, behaviour: Behaviour) -> None:
        self.storage = storage
        self.counters = counters
        self.tokens = tokens
        self.companion_url: str | None = None
        self.signature_key = secrets.token_bytes(32)
        self.signature_uses: dict[str, int] = {}
        self.memory: dict[str, Any] = {}
        self.set_behaviour(behaviour)

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """Behave like this from the next request on; faults and limits are wound up."""
        self.mischief = Mischief(behaviour, time.monotonic())
        self.behaviour = behaviour


class Call(Struct):
    """One request: `behaviour` and `fault` are those that hold for it from its beginning to its end.

    With `may_mount` off, a mount that it asks for opens a session instead. `granted` is what its user may do in its
    repository.
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
        """Where things are kept."""
        return self.service.storage

    @property
    def counters(self) -> Counters:
        """What is counted."""
        return self.service.counters

    @property
    def repository(self) -> str:
        """The name of the repository in the path."""
        return self.route.repository

    @property
    def raw_query(self) -> str:
        """The query as it came, byte for byte."""
        return self.request.raw_path.partition("?")[2]

    @property
    def own_url(self) -> str:
        """Scheme and authority under which the client knows this server."""
        return f"{self.request.scheme}://{self.request.host}"

    @property
    def companion_url(self) -> str:
        """Scheme and authority of the second address."""
        if self.service.companion_url is None:
            raise Refusal(500, "UNKNOWN", "this behaviour needs a companion address, and the server has none")
        return self.service.companion_url

    @property
    def memory(self) -> dict[str, Any]:
        """What a double remembers."""
        return self.service.memory

    def meet(self, quirk: str) -> None:
        """The request met a quirk of that name."""
        self.counters.add_quirk(quirk)

    def stream_fault(self, *kinds: FaultKind) -> Fault | None:
        """The fault of this call if it is one of `kinds`."""
        return self.fault if self.fault is not None and self.fault.kind in kinds else None

    def digest_header(self, digest: str, form: DigestHeader) -> dict[str, str]:
        """The Docker-Content-Digest header in the form that the behaviour wants."""
        if form is DigestHeader.MISSING:
            return {}
        return {"Docker-Content-Digest": _WRONG_DIGEST if form is DigestHeader.WRONG else digest}


def parse_digest(text: str) -> Digest:
    """The digest that a client wrote; refuses the request where it is none."""
    try:
        return Digest(text)
    except ValueError:
        raise Refusal(400, "DIGEST_INVALID", "provided digest did not match the form of a digest") from None
