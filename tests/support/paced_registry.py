"""A registry with a limit of requests a second, and clients that ask as fast as a pacer lets them: in virtual time."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from random import Random

from image_syncer.scheduling import Pacer

__all__ = ["Outcome", "simulate"]


@dataclass
class Outcome:
    """When requests were served and when they were refused, in seconds; and the pacer as it was at the end."""

    served: list[float]
    refused: list[float]
    pacer: Pacer | None

    def rate(self, since_s: float, until_s: float) -> float:
        """Requests that were served, a second."""
        return sum(since_s <= at < until_s for at in self.served) / (until_s - since_s)

    def refused_part(self, since_s: float, until_s: float) -> float:
        """Of all requests in that time, those that were refused."""
        refused = sum(since_s <= at < until_s for at in self.refused)
        served = sum(since_s <= at < until_s for at in self.served)
        return refused / max(1, refused + served)


class _Limit:
    """A token bucket, as gateways have it; what it allows may change at a time."""

    def __init__(self, per_s: float, burst: int) -> None:
        self.per_s = per_s
        self._burst = max(1, burst)
        self._level = float(self._burst)
        self._filled_at = 0.0

    def lets_through(self, now: float) -> bool:
        self._level = min(self._burst, self._level + (now - self._filled_at) * self.per_s)
        self._filled_at = now
        if self._level < 1:
            return False
        self._level -= 1
        return True


def simulate(
    per_s: float,
    *,
    burst: int = 10,
    retry_after_s: float | None = 1.0,
    seconds: float = 60.0,
    clients: int = 64,
    way_s: float = 0.001,
    late_s: float = 0.0,
    seed: int = 1,
    change: tuple[float, float] | None = None,
) -> Outcome:
    """`clients` ask without pause, `way_s` there and back (half as much to half more); a turn in twenty is given up to
    `late_s` too late. Until the first refusal nobody is paced. `change` is a time, and what is allowed from then on.
    """
    chance = Random(seed)
    limit = _Limit(per_s, burst)
    outcome = Outcome([], [], None)
    order = itertools.count()
    events: list[tuple[float, int, str]] = [(0.0, next(order), "send") for _ in range(clients)]
    wanting = 0
    pump_at: float | None = None

    def later(at: float, what: str) -> None:
        heapq.heappush(events, (at, next(order), what))

    def pump(now: float) -> None:
        nonlocal wanting, pump_at
        pacer = outcome.pacer
        given = wanting if pacer is None else pacer.take(wanting, now)
        wanting -= given
        for _ in range(given):
            later(now, "send")
        if wanting and pacer is not None and pump_at is None:
            late = late_s * chance.random() if chance.random() < 1 / 20 else 0.0
            pump_at = now + pacer.wait_s(now) + late
            later(pump_at, "pump")

    while events:
        now, _, what = heapq.heappop(events)
        if now >= seconds:
            break
        if change is not None and now >= change[0]:
            limit.per_s = change[1]
        if what == "send":
            later(now + way_s / 2 * (0.5 + chance.random()), "arrive")
        elif what == "arrive":
            through = limit.lets_through(now)
            (outcome.served if through else outcome.refused).append(now)
            later(now + way_s / 2 * (0.5 + chance.random()), "served" if through else "refused")
        else:
            if what == "pump":
                pump_at = None
            else:
                wanting += 1
                if what == "refused":
                    outcome.pacer = outcome.pacer or Pacer(now)
                    outcome.pacer.refused(retry_after_s, now)
            pump(now)
    return outcome
