"""A line between two hosts: when what enters it comes out at the other end. Plain arithmetic, time comes in."""

from __future__ import annotations

import math
import random

__all__ = ["Line", "loss_bound_rate"]

MATHIS = math.sqrt(3 / 2)
"""The constant for one acknowledgement a segment (Mathis, Semke, Mahdavi, Ott: CCR 27(3), 1997)."""


class Line:
    """One direction: a rate, a delay, a queue that overflows, and loss by chance, which a seed makes repeatable.

    What enters waits until all before it has been sent at `bits_per_s`, and comes out `delay_s` later. It is lost
    where more than `queue_bytes` wait already, or with the probability `loss`.
    """

    def __init__(
        self, delay_s: float, bits_per_s: float, *, loss: float = 0.0, queue_bytes: float = float("inf"), seed: int = 1
    ) -> None:
        self._delay_s, self._loss = delay_s, loss
        self._second_per_byte = 8 / bits_per_s
        self._queue_s = queue_bytes * self._second_per_byte
        self._chance = random.Random(seed).random  # noqa: S311 - loss, no secret
        self._free_at = 0.0
        self.lost, self.overflowed = 0, 0

    def enter(self, size_bytes: int, now: float) -> float | None:
        """When this comes out, in the seconds of `now`; None where it is lost. Nothing overtakes."""
        begin = max(self._free_at, now)
        if begin - now > self._queue_s:
            self.overflowed += 1
            return None
        self._free_at = begin + size_bytes * self._second_per_byte
        if self._loss and self._chance() < self._loss:
            self.lost += 1
            return None
        return self._free_at + self._delay_s


def loss_bound_rate(segment_bytes: int, round_trip_s: float, loss: float) -> float:
    """Bits a second that one connection of classic (Reno) congestion control gets in the long run, by Mathis."""
    return 8 * segment_bytes / round_trip_s * MATHIS / math.sqrt(loss)
