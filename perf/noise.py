"""Medians, spreads, and when a difference is none.

The rule of ties: of two tools, each with its runs, the one is faster only where chance does not explain it.

- Four runs of each or more: the exact rank test of Mann and Whitney (two-sided) gives a probability of at most 5 %.
- Two or three runs of each: the ranges from the smallest to the largest value do not overlap.
- One run: nothing is said.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KNEE_SHARE", "SIGNIFICANCE", "Spread", "find_knee", "rank_probability", "verdict"]

SIGNIFICANCE = 0.05
"""A difference that chance makes more often than this is a tie."""
KNEE_SHARE = 0.05
"""What lies within this share of the best is as good as the best."""
_RANK_TEST_FROM = 4
"""With three against three, even a complete separation comes by chance once in ten."""
_MOST_SPLITS = 200_000
"""Beyond so many ways to divide the values, the normal approximation serves (from 10 against 10 on)."""


@dataclass(frozen=True)
class Spread:
    """What several runs gave: the median, the quartiles around it, and the extremes."""

    median: float
    low: float
    high: float
    smallest: float
    largest: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises ValueError where there is no value."""
        if not values:
            raise ValueError("no values")
        if len(values) == 1:
            low = high = values[0]
        else:
            low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high, min(values), max(values), tuple(values))

    def as_data(self) -> dict[str, object]:
        """For the JSON file."""
        return {
            "median": self.median,
            "quartiles": [self.low, self.high],
            "min": self.smallest,
            "max": self.largest,
            "values": list(self.values),
        }


def rank_probability(first: Sequence[float], second: Sequence[float]) -> float:
    """How often chance alone separates two samples at least as well: Mann and Whitney's U, two-sided.

    Exact, also where values are equal (middle ranks), as long as the ways to divide them can be counted through.
    """
    together = sorted([*first, *second])
    rank_of = {value: (together.index(value) + 1 + len(together) - together[::-1].index(value)) / 2 for value in first}
    rank_of |= {
        value: (together.index(value) + 1 + len(together) - together[::-1].index(value)) / 2 for value in second
    }
    ranks = [rank_of[value] for value in together]
    expected = len(first) * (len(together) + 1) / 2
    distance = abs(sum(rank_of[value] for value in first) - expected)
    if math.comb(len(together), len(first)) > _MOST_SPLITS:
        deviation = math.sqrt(len(first) * len(second) * (len(together) + 1) / 12)
        return math.erfc(max(0.0, distance - 0.5) / deviation / math.sqrt(2))
    splits = [abs(sum(split) - expected) for split in itertools.combinations(ranks, len(first))]
    return sum(split >= distance - 1e-9 for split in splits) / len(splits)


def verdict(ours: Spread, theirs: Spread) -> str:
    """`less`, `more` or `tie` for ours against theirs, `?` where there are too few runs to say; see the module."""
    runs = min(len(ours.values), len(theirs.values))
    if runs < 2:  # noqa: PLR2004 - one run has no spread
        return "?"
    if runs < _RANK_TEST_FROM:
        differ = ours.largest < theirs.smallest or theirs.largest < ours.smallest
    else:
        differ = rank_probability(ours.values, theirs.values) <= SIGNIFICANCE and ours.median != theirs.median
    if not differ:
        return "tie"
    return "less" if ours.median < theirs.median else "more"


def find_knee(settings: Sequence[tuple[float, float]]) -> int:
    """Which of the settings, each (what it costs to have, seconds), is the smallest within KNEE_SHARE of the best.

    Of equally small ones the fastest. Raises ValueError where there are none.
    """
    if not settings:
        raise ValueError("no settings")
    bound = min(seconds for _, seconds in settings) * (1 + KNEE_SHARE)
    good = [number for number, (_, seconds) in enumerate(settings) if seconds <= bound]
    return min(good, key=lambda number: settings[number])
