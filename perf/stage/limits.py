"""How much a server allows: bytes a second over all connections, requests a second before it answers 429."""

from __future__ import annotations

import math

from perf.stage.exchange import answer

__all__ = ["Allowance", "Gate"]

BURST_S = 0.02
"""An unused allowance is kept for this long; more would let a short blob through at full speed."""

LEAST_BYTES = 16 * 1024
"""Less than this at a time would measure the limiter."""


class Allowance:
    """A token bucket of bytes. It says how many may pass now; whoever gets 0 asks again later."""

    def __init__(self, bytes_per_s: int) -> None:
        self._rate = bytes_per_s
        self._most = max(LEAST_BYTES, int(bytes_per_s * BURST_S))
        self._tokens, self._then = float(self._most), 0.0

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` bytes may pass at `now` (seconds). They count as passed, unless they are given back."""
        self._tokens = min(self._most, self._tokens + (now - self._then) * self._rate)
        self._then = now
        taken = min(wanted, int(self._tokens))
        if taken < min(wanted, LEAST_BYTES):
            return 0
        self._tokens -= taken
        return taken

    def give_back(self, count: int) -> None:
        """So many bytes did not pass after all."""
        self._tokens += count


class Gate:
    """So many requests in each second, counted from its first; the rest get 429 with Retry-After (RFC 9110, 10.2.3)."""

    def __init__(self, requests_per_s: int, retry_after_s: float) -> None:
        self._most, self._since, self._count = requests_per_s, 0.0, 0
        self._refusal = answer(
            429,
            f"Retry-After: {math.ceil(retry_after_s)}\r\nContent-Type: application/json\r\n",
            b'{"errors":[{"code":"TOOMANYREQUESTS","message":"too many requests"}]}',
        )

    def refuse(self, now: float) -> bytes | None:
        """The refusal of a request that came at `now` (seconds), None where it may pass."""
        if now - self._since >= 1.0:
            self._since, self._count = now, 0
        self._count += 1
        return self._refusal if self._count > self._most else None
