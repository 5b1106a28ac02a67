"""The limits of registries over time, for the report: only what changed, and never more than so many points."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from image_syncer.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LimitsLog", "Series", "describe_limits"]

MOST_POINTS = 200
ALL_TOGETHER = "all registries"
"""The name under which stands what holds for all of them together."""
NOTABLE = 0.05
"""A rate that changed by less than this part of it is not a new point."""


class Series:
    """A value over time, in seconds since the run began; None stands for "no limit".

    At most `MOST_POINTS` points: when they are full, every other one goes, and the next are as far apart as those.
    """

    def __init__(self, *, notable: float = 0.0) -> None:
        self._notable = notable
        self._spacing_s = 0.0
        self._latest: tuple[float, float | None] | None = None
        self.points: list[tuple[float, float | None]] = []

    def note(self, at_s: float, value: float | None) -> None:
        """The value is this now."""
        if self.points and not self._differs(self.points[-1][1], value):
            self._latest = None
            return
        if self.points and at_s - self.points[-1][0] < self._spacing_s:
            self._latest = (at_s, value)
            return
        self._latest = None
        self.points.append((at_s, value))
        if len(self.points) > MOST_POINTS:
            self.points = self.points[::2]
            self._spacing_s = 2 * (self.points[-1][0] - self.points[0][0]) / MOST_POINTS

    def as_data(self) -> list[list[float | None]]:
        """The points, and the latest value where it is not among them, as `[seconds, value]`."""
        latest = [self._latest] if self._latest is not None else []
        return [[round(at, 1), None if value is None else round(value, 2)] for at, value in [*self.points, *latest]]

    def _differs(self, before: float | None, now: float | None) -> bool:
        if before is None or now is None:
            return before is not now
        return abs(now - before) > self._notable * before


class LimitsLog:
    """What was learnt of each registry that limited us, and what the user allows; others are not in it."""

    def __init__(self) -> None:
        self._rates: dict[str, Series] = {}
        self._connections: dict[str, Series] = {}
        self._bytes: dict[str, Series] = {}
        self._refused: Counter[str] = Counter()
        self._done: dict[str, tuple[int, float]] = {}
        self._left_alone_s: defaultdict[str, float] = defaultdict(float)

    def note_rate(self, registry: str, rate: float | None, at_s: float) -> None:
        """The rate is this now, in requests a second; None: no limit any more."""
        if rate is None:
            # A registry that is paced anew counts from zero again.
            refused, left_alone_s = self._done.pop(registry, (0, 0.0))
            self._refused[registry] += refused
            self.left_alone(registry, left_alone_s)
        elif registry not in self._rates:
            self._rates[registry] = Series(notable=NOTABLE)
        if registry in self._rates:
            self._rates[registry].note(at_s, rate)

    def note_refusals(self, registry: str, refused: int, left_alone_s: float) -> None:
        """So many requests were refused since it is paced, and for so long it was left alone."""
        self._done[registry] = (refused, left_alone_s)

    def note_connections(self, registry: str, allowed: int | None, at_s: float) -> None:
        """So many connections for blobs are allowed now; None: any number."""
        if registry not in self._connections:
            if allowed is None:
                return
            self._connections[registry] = Series()
        self._connections[registry].note(at_s, allowed)

    def note_bytes(self, registry: str | None, rate: float | None, at_s: float) -> None:
        """So many bytes a second may move from `registry` and to it (None: of all together) by the user's word; None:
        any number.
        """
        self._bytes.setdefault(registry or ALL_TOGETHER, Series()).note(at_s, rate)

    def left_alone(self, registry: str, seconds: float) -> None:
        """It was left alone for so long more."""
        if seconds > 0:
            self._left_alone_s[registry] += seconds

    def as_data(self) -> dict[str, Any]:
        """By registry, for the JSON report."""
        names = sorted({*self._rates, *self._connections, *self._bytes, *self._left_alone_s})
        return {name: self._one(name) for name in names}

    def _one(self, name: str) -> dict[str, Any]:
        refused, left_alone_s = self._done.get(name, (0, 0.0))
        return {
            "refused": self._refused[name] + refused,
            "left_alone_s": round(self._left_alone_s[name] + left_alone_s, 1),
            "requests_per_s": self._rates[name].as_data() if name in self._rates else [],
            "bytes_per_s": self._bytes[name].as_data() if name in self._bytes else [],
            "connections": self._connections[name].as_data() if name in self._connections else [],
        }


def describe_limits(limits: Mapping[str, Any]) -> list[str]:
    """Each registry of a report's `limits` that refused, or was left alone, in a line for people."""
    said = []
    for name, data in limits.items():
        refused, alone_s = data["refused"], data["left_alone_s"]
        parts = []
        if refused:
            parts.append(f"refused {refused:,} request{'' if refused == 1 else 's'} (429)")
        if alone_s:
            parts.append(f"was left alone for {format_duration(alone_s)}")
        if data["requests_per_s"] and (rate := data["requests_per_s"][-1][1]) is not None:
            parts.append(f"was asked {rate:.3g} times a second at most in the end")
        if refused or alone_s:
            said.append(f"{name} {', '.join(parts)}")
    return said
