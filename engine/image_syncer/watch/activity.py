"""Which repositories are looked at in a round: those that change are asked again and again, the others less often.

A repository in which nothing changed in `QUIET_ROUNDS` rounds is left alone for one round, then for more and more of
them: it is looked at in every second round, every fourth, and so on, but at least in every `rest`-th. As soon as
something changes, fails, or is told by a notification, it is looked at in every round again. Repositories that became
quiet together are spread over the rounds by a number that is made of their names, so as not to come back together.

Pure: it counts rounds and knows no clock. What it remembers is bounded by the repositories that there are.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EVERY_ROUND", "Activity"]

QUIET_ROUNDS = 3
EVERY_ROUND = 1
"""As `rest`: nothing is ever left alone."""


class _Quiet(Struct):
    rounds: int
    """In how many rounds it was looked at in vain."""
    next_round: int


class Activity:
    """Remembers how quiet repositories were, by their names. `rest` is in how many rounds each is looked at once, at
    least (1: in every round).
    """

    def __init__(self, rest: int) -> None:
        self.rest = rest
        self._round = 0
        self._quiet: dict[str, _Quiet] = {}

    def begin_round(self) -> frozenset[str]:
        """A round over all that is due begins; returned are the repositories that are left alone in it."""
        self._round += 1
        # What was due long ago and not looked at is no longer there.
        gone = [name for name, quiet in self._quiet.items() if quiet.next_round + self.rest < self._round]
        for name in gone:
            del self._quiet[name]
        return frozenset(name for name, quiet in self._quiet.items() if quiet.next_round > self._round)

    def note(self, name: str, *, changed: bool) -> None:
        """`name` was looked at in this round. Changed has also what could not be brought in step."""
        if changed or self.rest <= EVERY_ROUND:
            self._quiet.pop(name, None)
            return
        quiet = self._quiet.setdefault(name, _Quiet(0, self._round))
        quiet.rounds += 1
        quiet.next_round = self._round + self._pause(name, quiet.rounds)

    def wake(self, names: Iterable[str]) -> None:
        """Something happens there: they are looked at in every round again."""
        for name in names:
            self._quiet.pop(name, None)

    def forget(self) -> None:
        """Everything is looked at in the next round."""
        self._quiet.clear()

    def __len__(self) -> int:
        return len(self._quiet)

    def _pause(self, name: str, rounds: int) -> int:
        doublings = min(rounds - QUIET_ROUNDS + 1, 32)
        pause = min(1 << max(doublings, 0), self.rest)
        return pause - zlib.crc32(f"{rounds} {name}".encode()) % max(pause // 2, 1)
