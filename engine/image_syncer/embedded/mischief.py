"""Mischief: which request a fault or a limit of the behaviour strikes. Decides, and leaves the doing to
others.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from image_syncer.embedded.behaviour import Behaviour
    from image_syncer.embedded.fault import Fault, RateLimit

__all__ = ["Mischief"]


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
