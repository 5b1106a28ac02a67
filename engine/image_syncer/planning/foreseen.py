"""A run that was foreseen: the curve of a simulation, and how long the rest takes by it, corrected by what happens.

How far a run is, is one number: the mean of the parts of its images, blobs and bytes that are done. The simulation
says when it would be so far. What is left by the simulation then is made longer or shorter as the run so far was longer
or shorter than that; early on, when little has happened, only a little. And the further the run is, the more counts
what is reckoned from its own paces (`time_left.py`), which see what no simulation can. Pure: time comes in as an
argument.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, TypeAlias

from image_syncer.planning.remaining import TimeLeft
from image_syncer.values import Value, as_dict

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Curve", "Foreseen", "ForeseenTimeLeft", "Track"]

Track: TypeAlias = "Callable[[float, int, int, int], None]"
"""Is told of a simulation: seconds since its begin, and the images, blobs and bytes that are done."""

MOST_POINTS = 400
FIRST_STEP_S = 0.05
TRUST = 0.1
"""The simulation counts as if this part of it had been seen to be right."""
MODEL_SPAN = 0.15
"""What the simulation is off by either way, as `docs/capacity.md` has it."""


class Foreseen(Value, frozen=True):
    """How a run of `images`, `blobs` and `bytes` would go: in `seconds`, in nine of ten cases within `p90_s`. `points`
    are (seconds, how far it is then, from 0 to 1), neither of which goes back.
    """

    seconds: float
    p90_s: float
    images: int
    blobs: int
    bytes: int
    points: tuple[tuple[float, float], ...]

    def far(self, images: int, blobs: int, size: int) -> float:
        """How far a run is that has done so many: from 0 to 1."""
        return _far((images, blobs, size), (self.images, self.blobs, self.bytes))

    def at_s(self, far: float) -> float:
        """When it would be so far, in seconds since its begin."""
        place = bisect_left(self.points, far, key=lambda point: point[1])
        if place == 0:
            return self.points[0][0] if self.points else 0.0
        if place == len(self.points):
            return self.seconds
        (before_s, before), (after_s, after) = self.points[place - 1 : place + 1]
        return before_s + (after_s - before_s) * (far - before) / (after - before)

    def as_data(self) -> dict[str, Any]:
        """Plain data, for another process."""
        return as_dict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Foreseen:
        """The reverse. Raises TypeError or ValueError where it is something else."""
        return cls(**{**data, "points": tuple((float(at_s), float(far)) for at_s, far in data["points"])})


class Curve:
    """A `Track` that keeps some hundred points of a simulation."""

    def __init__(self) -> None:
        self._points: list[tuple[float, tuple[int, int, int]]] = []
        self._step_s = FIRST_STEP_S
        self._last = (0, 0, 0)

    def __call__(self, at_s: float, images: int, blobs: int, size: int) -> None:
        """See `Track`."""
        self._last = (max(self._last[0], images), max(self._last[1], blobs), max(self._last[2], size))
        if self._points and at_s < self._points[-1][0] + self._step_s:
            return
        self._points.append((at_s, self._last))
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2]
            self._step_s *= 2

    def foreseen(self, seconds: float, p90_s: float, times: float = 1.0) -> Foreseen:
        """The run of the simulation, which has ended; where it was of a part, the real one is `times` that."""
        images, blobs, size = self._last
        factor = seconds / max(1e-9, self._points[-1][0]) if self._points and times != 1.0 else 1.0
        points = [(at_s * factor, _far(done, self._last)) for at_s, done in self._points if at_s * factor < seconds]
        whole = (round(images * times), round(blobs * times), round(size * times))
        return Foreseen(seconds, p90_s, *whole, (*points, (seconds, 1.0)))


class ForeseenTimeLeft:
    """To be told about a run a few times a second."""

    def __init__(self, foreseen: Foreseen) -> None:
        self._foreseen = foreseen
        self._seen_at: float | None = None
        self._held_s = 0.0

    def note(self, now: float, elapsed_s: float, far: float, own: TimeLeft | None, *, held: bool) -> TimeLeft | None:
        """The time left of a run that is so `far` after `elapsed_s`, at `now`; `own` is what its own paces say. While
        it is `held`, because it is paused, a registry is left alone or a rate is in force, that alone counts.
        """
        step_s = 0.0 if self._seen_at is None else now - self._seen_at
        self._seen_at = now
        if held:
            self._held_s += step_s
            return own
        foreseen, spent_s = self._foreseen, max(0.0, elapsed_s - self._held_s)
        at_s, trusted_s = foreseen.at_s(far), TRUST * foreseen.seconds
        factor = (trusted_s + spent_s) / (trusted_s + at_s) if trusted_s + at_s > 0 else 1.0
        rest_s = max(0.0, foreseen.seconds - at_s) * factor
        span = 1 + math.hypot(MODEL_SPAN, abs(math.log(max(1e-6, factor))) / 2)
        model = TimeLeft(rest_s, rest_s / span, rest_s * span, "the bench")
        return model if own is None else _between(model, own, far)


def _between(model: TimeLeft, own: TimeLeft, far: float) -> TimeLeft:
    """The further the run is, the more counts what it sees itself."""

    def mix(one: float, other: float) -> float:
        return one * (1 - far) + other * far

    return TimeLeft(
        mix(model.seconds, own.seconds),
        mix(model.least_s, own.least_s),
        mix(model.most_s, own.most_s),
        own.waits_for if far > 0.5 else model.waits_for,  # noqa: PLR2004 - whichever counts more
        own.more,
    )


def _far(done: tuple[int, int, int], whole: tuple[int, int, int]) -> float:
    parts = [min(1.0, one / of) for one, of in zip(done, whole, strict=True) if of > 0]
    return sum(parts) / len(parts) if parts else 1.0
