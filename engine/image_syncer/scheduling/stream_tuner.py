"""How many streams pay: hill climbing on the rate of the whole run.

How much another stream brings depends on the path: where each stream is slow, many are needed; where processors are
busy, each one more only costs. So it is tried. The same samples give the same answers; there is no clock.

- climb: from a moderate start the streams are doubled, as in TCP's slow start, while the rate grows with them;
- descend: then fewer are tried while the rate stays, since the fewest that reach it are the cheapest;
- hold: the result is kept. After a time a neighbour is tried, alternately above and below; each failure doubles the
  time until the next. A rate that collapses begins the climb anew.

A level is judged by samples taken while it was in force and work was waiting. It needs more samples where they scatter,
and must win by more than they scatter: in doubt nothing changes.
"""

from __future__ import annotations

import math
from enum import Enum

START = 4
"""Streams of one worker to begin with: doubled to 16 within some seconds, and cheap where one would do."""
SPACING_S = 0.4
"""Samples that come sooner are combined."""
SETTLING_S = 0.4
"""After a change of level, until the rate is that of the new level: handshakes, and the slow start of TCP."""
PATIENCE_S = 4.0
"""The time for surplus streams to end; where blobs are too large for that, fewer are not tried."""
FEWEST_SAMPLES, MOST_SAMPLES = 2, 8
"""Samples of one level for a verdict."""
PAYS = 0.1
"""The part of proportional growth (one for twice the streams) by which the rate must grow at least."""
COSTS = 0.04
"""The part of the rate that may be lost on the way down, from the best to the last step."""
SCATTER = 0.05
"""The relative scatter of one sample where there are too few to show it."""
SURE = 1.5
"""Standard errors that make a difference certain."""
FIRST_HOLD_S, LONGEST_HOLD_S = 8.0, 120.0
REFUSAL_HOLD_S = 30.0
"""After a host refused the number of streams."""
ONE_REFUSAL_S = 5.0
"""Further refusals in this time belong to the same streams."""
COLLAPSE = 0.6
"""Below this part of the rate for which a level was chosen, the path has changed."""


class _Mode(Enum):
    MEASURE = "measure"
    """The level with which the next will be compared."""
    TRY = "try"
    HOLD = "hold"


class _Rate:
    """Samples of one level, as mean and standard error; the last `MOST_SAMPLES` count."""

    def __init__(self) -> None:
        self._samples: list[float] = []

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, bytes_per_s: float) -> None:
        self._samples = [*self._samples[1 - MOST_SAMPLES :], bytes_per_s]

    def mean(self, last: int = MOST_SAMPLES) -> float:
        samples = self._samples[-last:]
        return sum(samples) / len(samples)

    def error(self) -> float:
        """The standard error, as a part of the mean."""
        mean, number = self.mean(), len(self._samples)
        if not mean or number < FEWEST_SAMPLES:
            return SCATTER
        variance = sum((sample - mean) ** 2 for sample in self._samples) / (number - 1)
        return max(math.sqrt(variance) / mean, SCATTER) / math.sqrt(number)


class StreamTuner:
    """See the top of the module. A worker may have `most` streams at most, and at least one."""

    def __init__(self, most: int, *, start: int = START) -> None:
        self._most = most
        self._start = min(start, most)
        self.allowed = self._start
        """Streams that one worker may have in flight."""
        self._mode = _Mode.MEASURE
        self._climbs = True
        self._upwards = True
        self._base = self._start
        self._base_rate = _Rate()
        self._best = 0.0
        self._rate = _Rate()
        self._began_at: float | None = None
        self._bytes = 0
        self._changed_at = -math.inf
        self._asked_at = -math.inf
        self._held_at = -math.inf
        self._hold_s = FIRST_HOLD_S
        self._refused_at = -math.inf

    def sample(self, now: float, moved_bytes: int, in_force: int, *, waiting: bool) -> int:
        """A sample was taken; return `allowed`. `moved_bytes` were moved by all workers since the last one, `in_force`
        is the number of streams of the worker with the most, `waiting` whether work waited for a stream. `now` in
        seconds.
        """
        if self._began_at is None or not waiting:
            # Without waiting work, the rate says nothing about the number of streams.
            self._restart(now)
            return self.allowed
        self._bytes += moved_bytes
        elapsed = now - self._began_at
        if elapsed < SPACING_S:
            return self.allowed
        rate, self._bytes, self._began_at = self._bytes / elapsed, 0, now
        if in_force > self.allowed:
            # Surplus streams are not broken off: the level is in force when enough of them have ended.
            self._changed_at = now
            if self._mode is _Mode.TRY and now >= self._asked_at + PATIENCE_S:
                self._give_up(now)
        elif now - elapsed >= self._changed_at + SETTLING_S:
            self._rate.add(rate)
            self._judge(now)
        return self.allowed

    def refused(self, now: float) -> int:
        """A host refused (429, 503, broken connections): allow half as many, but not fewer than at the start, since the
        host is not known here. Returns `allowed`.
        """
        if now >= self._refused_at + ONE_REFUSAL_S:
            self._hold_s = REFUSAL_HOLD_S
            self._hold(now, max(self.allowed // 2, min(self.allowed, self._start)))
            self._climbs = False
            self._best = 0.0
        self._refused_at = now
        return self.allowed

    def bind(self, most: int, now: float) -> None:
        """Allow `most` at most from now on, and search anew within that."""
        self._most = most
        self._start = min(self._start, most)
        self.allowed = min(self.allowed, most)
        self._begin_again(now)

    def _restart(self, now: float) -> None:
        self._began_at = now
        self._bytes = 0
        if self._mode is not _Mode.HOLD:
            self._rate = _Rate()

    def _judge(self, now: float) -> None:
        rate = self._rate
        if self._mode is _Mode.TRY:
            if len(rate) >= FEWEST_SAMPLES:
                self._compare(now)
        elif self._mode is _Mode.MEASURE:
            if len(rate) >= FEWEST_SAMPLES:
                self._best = max(self._best, rate.mean())
                self._try(now)
        elif len(rate) >= FEWEST_SAMPLES:
            if now >= self._held_at + self._hold_s:
                self._best = rate.mean()
                self._upwards = not self._upwards
                self._try(now)
            elif len(rate) > FEWEST_SAMPLES and rate.mean(FEWEST_SAMPLES + 1) < COLLAPSE * self._best:
                self._begin_again(now)

    def _try(self, now: float) -> None:
        """Change from the measured level to its neighbour."""
        if self._upwards and self.allowed == self._most:
            self._upwards = False
            climbed, self._climbs = self._climbs and self.allowed > self._start, False
            if climbed:
                self._hold(now, self.allowed)
                return
        elif not self._upwards and self.allowed == 1:
            self._hold(now, 1)
            return
        self._base, self._base_rate = self.allowed, self._rate
        self._mode = _Mode.TRY
        self._change(now, self._above() if self._upwards else max(1, self.allowed * 3 // 4))

    def _above(self) -> int:
        return min(self._most, self.allowed * 2 if self._climbs else max(self.allowed + 1, self.allowed * 3 // 2))

    def _compare(self, now: float) -> None:
        """Accept the level that is tried, give it up, or wait for more samples."""
        rate, base = self._rate, self._base_rate
        last = len(rate) >= MOST_SAMPLES
        doubt = SURE * math.hypot(rate.error(), base.error())
        if self._upwards:
            gain = rate.mean() / max(base.mean(), 1.0) - 1
            needed = PAYS * (self.allowed / self._base - 1)
            accepted = gain - doubt >= needed or (last and gain >= max(needed, doubt))
            rejected = last or gain + doubt < needed
        else:
            gain = rate.mean() / max(self._best, 1.0) - 1
            accepted = gain >= -COSTS and (last or (gain >= 0 and len(rate) > FEWEST_SAMPLES))
            rejected = last or gain + doubt < -COSTS
        if accepted:
            self._hold_s = FIRST_HOLD_S
            self._best = rate.mean() if self._upwards else max(self._best, rate.mean())
            self._try(now)
        elif rejected:
            self._give_up(now)

    def _give_up(self, now: float) -> None:
        """Go back to the level before."""
        if self._upwards and self._climbs:
            # The most that pay are found; now the fewest that do.
            self._climbs = self._upwards = False
            self._mode = _Mode.MEASURE
            self._best = 0.0
            self._change(now, self._base)
        else:
            self._climbs = False
            self._hold(now, self._base)
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)

    def _hold(self, now: float, level: int) -> None:
        self._mode = _Mode.HOLD
        self._held_at = now
        self._change(now, level)

    def _begin_again(self, now: float) -> None:
        self._mode = _Mode.MEASURE
        self._climbs = self._upwards = True
        self._best = 0.0
        self._hold_s = FIRST_HOLD_S
        self._change(now, self.allowed)

    def _change(self, now: float, level: int) -> None:
        self.allowed = level
        self._changed_at = self._asked_at = now
        self._rate = _Rate()

    def __repr__(self) -> str:
        return f"<StreamTuner {self._mode.value}: {self.allowed} of {self._most} streams>"
