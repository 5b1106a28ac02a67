"""Flows: work under way that shares resources fairly, as a fluid. Pure: time comes in as an argument.

A *flow* is one piece of work (a blob's bytes, a request's processor time) that goes on at some rate and needs, for each
unit of it, so much of each of its resources: a worker's processor, the machine's, a registry's bandwidth. Flows that
need the same belong to a *kind*, and all of a kind have the same rate. Rates are max-min fair: they grow together, each
in proportion to its weight, until a resource is full or a flow has reached its own bound; those stay, the others go on
growing (progressive filling; Bertsekas and Gallager, "Data Networks", section 6.5.2).

What takes part of a second each and comes by the hundred thousand has to be cheap: a kind keeps one counter of the work
that each of its flows has got so far, so an event costs the number of kinds, not of flows; and where one flow ends and
another of its kind begins, no rate changes.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Generic, TypeVar

from msgspec import Struct, field

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FlowKind", "Flows"]

_Token = TypeVar("_Token")

FULL = 1e-9
"""Relative: what is left of a resource that counts as nothing."""


class FlowKind(Value, frozen=True):
    """Flows that are alike. `demands` is what one unit of work takes of each resource, by name; `most` bounds the rate
    of one flow (units a second), and rates grow in proportion to `weight`.
    """

    name: tuple[str, ...]
    demands: Mapping[str, float]
    weight: float = 1.0
    most: float = math.inf

    def __hash__(self) -> int:
        return hash(self.name)


class _Group(Struct, Generic[_Token], eq=False):
    """The flows of one kind that are under way: a flow ends when `served` reaches what it was when it began, and its
    work.
    """

    kind: FlowKind
    served: float = 0.0
    rate: float = 0.0
    ends: list[tuple[float, int, _Token]] = field(default_factory=list)

    def next_in(self) -> float:
        if not self.ends:
            return math.inf
        left = self.ends[0][0] - self.served
        if left <= 0:
            return 0.0
        return left / self.rate if self.rate > 0 else math.inf


class Flows(Generic[_Token]):
    """Flows over resources with `capacities` (units a second, by name; a resource that is not named has no bound)."""

    def __init__(self, capacities: Mapping[str, float]) -> None:
        self._capacities = dict(capacities)
        self._groups: dict[tuple[str, ...], _Group[_Token]] = {}
        self._counts: dict[tuple[str, ...], int] = {}
        """Of the flows for which the rates were reckoned."""
        self._now = 0.0
        self._number = 0
        self.full: tuple[str, ...] = ()
        """The resources that are used up now: what everything waits for."""
        self.used: dict[str, float] = dict.fromkeys(capacities, 0.0)
        """How much of each resource went so far."""

    def begin(self, kind: FlowKind, work: float, token: _Token) -> None:
        """A flow of `work` units begins now; `token` is given back when it has ended."""
        group = self._groups.get(kind.name)
        if group is None:
            group = self._groups[kind.name] = _Group(kind)
        self._number += 1
        heapq.heappush(group.ends, (group.served + work, self._number, token))

    def __len__(self) -> int:
        return sum(len(group.ends) for group in self._groups.values())

    def left_of(self, kind: FlowKind, token: _Token) -> float:
        """The units that are left of one flow, found by its token; for those that look seldom."""
        group = self._groups[kind.name]
        return next((end - group.served for end, _, one in group.ends if one is token), 0.0)

    def next_at(self) -> float:
        """When the next flow ends; infinity where none does."""
        self._settle()
        left_s = min((group.next_in() for group in self._groups.values()), default=math.inf)
        # After years, what is left may be less than the clock can tell: time goes on all the same.
        return max(self._now + left_s, math.nextafter(self._now, math.inf)) if left_s > 0 else self._now

    def advance(self, now: float) -> list[_Token]:
        """Time has passed until `now`, which is at most `next_at`: the flows that have ended."""
        self._settle()
        elapsed, self._now = now - self._now, now
        ended: list[_Token] = []
        for group in self._groups.values():
            if not group.ends:
                continue
            if elapsed > 0 and group.rate > 0:
                group.served += group.rate * elapsed
                work = group.rate * elapsed * len(group.ends)
                for name, demand in group.kind.demands.items():
                    if name in self.used:
                        self.used[name] += work * demand
            within = FULL * max(1.0, group.served)
            while group.ends and group.ends[0][0] <= group.served + within:
                ended.append(heapq.heappop(group.ends)[2])
            if not group.ends:
                group.served = 0.0  # nothing is reckoned from it any more, and small numbers are exact
        return ended

    def _settle(self) -> None:
        """Rates for the flows that there are, where their numbers have changed."""
        counts = {name: len(group.ends) for name, group in self._groups.items() if group.ends}
        if counts == self._counts:
            return
        self._counts = counts
        growing = {name: self._groups[name].kind for name in counts}
        left = dict(self._capacities)
        levels = dict.fromkeys(growing, 0.0)
        full: list[str] = []
        level = 0.0
        while growing:
            pull: dict[str, float] = {}
            for name, kind in growing.items():
                for resource, demand in kind.demands.items():
                    if resource in left:
                        pull[resource] = pull.get(resource, 0.0) + demand * kind.weight * counts[name]
            until_full = min((left[one] / each for one, each in pull.items() if each > 0), default=math.inf)
            until_bound = min(kind.most / kind.weight for kind in growing.values()) - level
            step = min(until_full, until_bound)
            if math.isinf(step):
                raise ValueError(f"nothing bounds the flows {sorted(growing)}")
            level += step
            for resource, each in pull.items():
                left[resource] -= each * step
            used_up = {one for one in pull if left[one] <= FULL * self._capacities[one]}
            full += sorted(used_up)
            for name, kind in list(growing.items()):
                levels[name] = level
                if level >= (1 - FULL) * kind.most / kind.weight or used_up.intersection(kind.demands):
                    del growing[name]
        for name, each in levels.items():
            group = self._groups[name]
            group.rate = each * group.kind.weight
        self.full = tuple(dict.fromkeys(full))
