"""Forecast: how a run would go, and what it would wait for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COORDINATOR", "MACHINE", "WAITING", "Forecast", "Host", "Phase", "bottleneck_of", "summarize_phases"]

MOST_PHASES = 40
"""Slices of time that a forecast tells apart."""
MACHINE, COORDINATOR = "machine", "coordinator"
WAITING = "latency"
"""What a run waits for where nothing is full: round trips, or streams that are slow one by one."""


class Host(Value, frozen=True):
    """The machine of a run: processors, and bytes a second of its link in each direction (None: no bound)."""

    cores: float
    link_bytes_per_s: float | None = None


class Phase(Value, frozen=True):
    """For so long, from `began_s` on, the run waited for `bottleneck`: "machine", "coordinator", "worker", "link", a
    path ("source.example → destination.example"), or "latency".
    """

    began_s: float
    ended_s: float
    bottleneck: str


class Forecast(Value, frozen=True):
    """How a run would go. `cpu_s` is of its own processes; `machine_s` has what registries on the same machine take."""

    seconds: float
    bytes_moved: int
    blobs_moved: int
    blobs_mounted: int
    cpu_s: float
    machine_s: float
    memory_bytes: int
    phases: tuple[Phase, ...]

    @property
    def bottleneck(self) -> str:
        """What was waited for longest."""
        waits: dict[str, float] = {}
        for phase in self.phases:
            waits[phase.bottleneck] = waits.get(phase.bottleneck, 0.0) + phase.ended_s - phase.began_s
        return max(waits, key=lambda name: waits[name], default=WAITING)


def summarize_phases(phases: Sequence[Phase], most: int = MOST_PHASES) -> list[Phase]:
    """At most so many: equal slices of the time, each named by what was waited for longest in it."""
    if not phases:
        return []
    began, ended = phases[0].began_s, phases[-1].ended_s
    slices: list[dict[str, float]] = [{} for _ in range(most)]
    for phase in phases:
        first, last = ((at - began) / (ended - began) * most for at in (phase.began_s, phase.ended_s))
        for number in range(int(first), min(most, math.ceil(last))):
            part = min(last, number + 1) - max(first, number)
            slices[number][phase.bottleneck] = slices[number].get(phase.bottleneck, 0.0) + part
    found: list[Phase] = []
    for number, waits in enumerate(slices):
        name = max(waits, key=lambda name: waits[name])
        until = began + (ended - began) * (number + 1) / most
        if found and found[-1].bottleneck == name:
            found[-1] = replace(found[-1], ended_s=until)
        else:
            found.append(Phase(found[-1].ended_s if found else began, until, name))
    return found


def bottleneck_of(full: tuple[str, ...]) -> str:
    """One word for what is full: the widest of them."""
    for name in full:
        if name in (MACHINE, COORDINATOR) or " → " in name:
            return name
        if name.startswith("link"):
            return "link"
    return "worker" if full else WAITING
