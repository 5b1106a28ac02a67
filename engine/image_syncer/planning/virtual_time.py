"""Virtual time: it goes from one thing that happens to the next, a flow that ends or a timer that is due, and knows
what everything waited for meanwhile.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Generic, TypeVar

from image_syncer.planning.flows import Flows
from image_syncer.planning.forecast import WAITING, Phase, bottleneck_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["VirtualTime"]

_Token = TypeVar("_Token")


class VirtualTime(Generic[_Token]):
    """Time over resources with `capacities`, see `Flows`. It begins with 0, and is in seconds."""

    def __init__(self, capacities: Mapping[str, float]) -> None:
        self.now = 0.0
        self.flows: Flows[_Token] = Flows(capacities)
        self.phases: list[Phase] = []
        """What was used up, from when until when, so far."""
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timers_set = 0

    def after(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` when so much time has passed; those of one moment in the order in which they were set."""
        self._timers_set += 1
        heapq.heappush(self._timers, (self.now + seconds, self._timers_set, then))

    def step(self, on_ended: Callable[[_Token], None]) -> None:
        """Go on to the next thing that happens: `on_ended` is called for each flow that has ended, and then what timers
        were set for. Raises ValueError where nothing is going to happen.
        """
        at = min(self.flows.next_at(), self._timers[0][0] if self._timers else math.inf)
        if math.isinf(at):
            raise ValueError("nothing that was measured says how long the rest takes")
        self._note_phase(at)
        ended = self.flows.advance(at)
        self.now = at
        for token in ended:
            on_ended(token)
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def _note_phase(self, until: float) -> None:
        if until <= self.now:
            return
        name = bottleneck_of(self.flows.full) if len(self.flows) else WAITING
        phases = self.phases
        if phases and phases[-1].bottleneck == name:
            phases[-1] = Phase(phases[-1].began_s, until, name)
        else:
            phases.append(Phase(self.now, until, name))
