"""The tally of requests: how many there were, how they were answered, and how long that took, for metrics.

Counted only where somebody wants it (`Transport.tally`). Each process has its own; those of workers are sent to the
coordinator as rows and added up there.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TypeAlias

__all__ = ["ANSWER_SECONDS", "BROKEN", "RequestTally", "TallyRow", "status_word"]

ANSWER_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
"""Upper bounds of the buckets of a histogram of answers; one more has all that took longer."""
BROKEN = "broken"
"""Instead of a status: there was no answer, or it broke off."""

_APART = {429: "429", 503: "503"}
"""A registry that asks for less, which is no mistake of the request, nor one of the registry."""

TallyRow: TypeAlias = tuple[str, str, str, float, list[int]]
"""Registry, operation, status, seconds of all together, and how many there were in each bucket."""


class RequestTally:
    """Counts by registry, operation and status."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], tuple[list[float], list[int]]] = {}

    def note(self, registry: str, operation: str, status: str, seconds: float) -> None:
        """One request has ended, after so many seconds."""
        row = self._rows.get((registry, operation, status))
        if row is None:
            row = self._rows[registry, operation, status] = ([0.0], [0] * (len(ANSWER_SECONDS) + 1))
        row[0][0] += seconds
        row[1][bisect_left(ANSWER_SECONDS, seconds)] += 1

    def add(self, rows: list[TallyRow]) -> None:
        """What another tally has given away with `take`."""
        for registry, operation, status, seconds, counts in rows:
            known = self._rows.get((registry, operation, status))
            if known is None:
                self._rows[registry, operation, status] = ([seconds], list(counts))
                continue
            known[0][0] += seconds
            for bucket, count in enumerate(counts):
                known[1][bucket] += count

    def rows(self) -> list[TallyRow]:
        """All that was counted."""
        return [(*key, seconds[0], list(counts)) for key, (seconds, counts) in self._rows.items()]

    def take(self) -> list[TallyRow]:
        """The same, and the count begins anew."""
        rows = self.rows()
        self._rows.clear()
        return rows


def status_word(status: int, *, broken: bool) -> str:
    """The class of a status, such as "2xx"; a refusal is one however its body ended."""
    if status in _APART:
        return _APART[status]
    if not status or (broken and status < 300):  # noqa: PLR2004 - from there on no answer is a success
        return BROKEN
    return f"{status // 100}xx"
