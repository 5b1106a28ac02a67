"""How fast a registry may be asked: a rate that is learnt from its refusals, and kept a little below what it allows.

At a millisecond a request, one connection alone exceeds many limits, so a bound of connections cannot settle below
them. A registry that answers 429 gets a token bucket, and from then on every request to it takes a turn. How many turns
a second there are is found out:

- At first little is known: the rate begins far below what was asked before, and doubles every second, as in the slow
  start of TCP (RFC 5681), until the next refusal. Where the registry has said how much it allows, it begins there.
- A refusal lowers the rate: by little where it went well for long, for then the rate is only just too high; by more
  where it follows the last one closely. Between two refusals a registry has let through what it allows, less what it
  could not keep for later while it was left alone: that is the least the rate falls to.
- Then it grows along a cubic (RFC 9438): fast where it is far below the last refusal, hardly at all close to it, and
  faster again beyond, where a limit was raised. Where a refusal costs a longer pause, all this takes longer.

Where the user bounds the rate, every request takes a turn from the first one on, and the rate is never more than that.

Only what is used grows: a registry that is asked less than it might be says nothing about its limit. Times and `now` in
seconds, rates in requests a second.
"""

from __future__ import annotations

from collections import deque
from math import inf, sqrt

__all__ = ["Pacer"]

FIRST_RATE = 16.0
"""Where nothing is known: less than what registries that are meant for machines allow."""
FIRST_PART = 0.25
"""Of what all registries were asked lately: half of it went elsewhere, and the rest was too much."""
LEAST_RATE = 0.05
"""A request in 20 s; a registry that allows less says so with Retry-After."""
FREE_RATE = 10_000.0
"""More than we can ask: a registry that took so much is paced no more."""
DOUBLING_S = 1.0
DEPTH_S, DEPTH, DEPTH_PART_S = 0.1, 4.0, 0.01
"""The bucket keeps the turns of a tenth of a second, so that a late timer loses none; but few, because they go out at
once: four, and those of a hundredth of a second.
"""
RECENT_S = 2.0
"""For how fast a registry was really asked when it refused."""
SHORT_S = 5.0
"""Of full use between two refusals: less, and the rate was not just a little too high."""
SLIGHTLY, PLAINLY, STEEPLY = 0.95, 0.85, 0.7
"""What is left of the rate: after long use, after short use, at the end of the slow start."""
NOTHING_WENT = 0.5
"""The same where no request was let through since the last refusal."""
CEILING = 0.96
"""Of the rate that was refused: the plateau of the cubic, where it goes on for long."""
MOST_GAIN = 1.25
"""Of the rate after a refusal: the plateau is no higher."""
PLATEAU_S, NEAR_PLATEAU_S = 20.0, 8.0
"""From a refusal to the plateau, after long use and after short. All this is stretched by a pause that is longer than a
second, as many times: a refusal costs more then.
"""
LEAST_GAIN = 0.05
"""Of the plateau: how much beyond it the rate is `PLATEAU_S` later."""
CALM_S = 0.5
"""After a refusal, and while the registry is left alone: what was under way is refused too, which says nothing new."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 60.0
"""Where a refusal does not say how long to wait: doubled while nothing is let through in between."""


class Pacer:
    """The turns of one registry, from its first refusal on. `allowed` is the rate that the registry itself names; where
    it names none, `asked` is the rate at which all registries together were asked lately. `most` is the user's bound,
    at which it begins (None: none).
    """

    def __init__(
        self, now: float, *, allowed: float | None = None, asked: float = 0.0, most: float | None = None
    ) -> None:
        first = max(FIRST_RATE, min(asked * FIRST_PART, FREE_RATE / 2))
        self._most = inf if most is None else most
        if allowed is not None:
            first = max(LEAST_RATE, allowed * SLIGHTLY)
        elif most is not None:
            first = most
        self.rate = min(first, self._most)
        self._base = self.rate
        self._ceiling = None if allowed is None else min(allowed * CEILING, self._most)
        self._stretch = 1.0
        self._plateau_s = PLATEAU_S
        self._level = 0.0
        self._seen_at = now
        self._paused_until = now
        self._pause_s = FIRST_PAUSE_S
        self._calm_at = -inf
        self._refused_at: float | None = None
        self._grown_s = 0.0
        self._hungry = False
        self._given = 0
        self._refused = 0
        self._recent: deque[tuple[float, int]] = deque()
        self._spread_until = -inf
        self._spread_rate = inf
        self.refusals = 0
        """Requests that were refused."""
        self.events = 0
        """Of these, those from which the rate follows: not those of what was under way."""
        self.left_alone_s = 0.0
        """For how long it was left alone, or will have been."""

    @property
    def is_binding(self) -> bool:
        """Whether more is wanted than may go out."""
        return self._hungry

    @property
    def is_free(self) -> bool:
        """Whether it took so much that it need not be paced."""
        return self.rate >= FREE_RATE and self._most == inf

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` requests may go out now; they count as sent."""
        self._advance(now)
        if now < self._paused_until:
            return 0
        given = min(wanted, int(self._level + 1e-9))
        self._hungry = self._hungry or given < wanted
        if given:
            self._level -= given
            self._given += given
            self._recent.append((now, given))
            while self._recent[0][0] < now - RECENT_S:
                self._recent.popleft()
        return given

    def wait_s(self, now: float) -> float:
        """How long until the next turn; 0 where one may be had now."""
        self._advance(now)
        missing = max(0.0, 1.0 - self._level) / self._rate_at(now)
        return max(self._paused_until - now, 0.0) + (missing if missing > 1e-9 else 0.0)  # noqa: PLR2004

    def paused_s(self, now: float) -> float:
        """For how long the registry is left alone yet."""
        return max(0.0, self._paused_until - now)

    def refused(self, asked_s: float | None, now: float) -> float:
        """A request was refused, and the registry asks to be left alone for `asked_s` (None: it does not say); returns
        the pause that is in force from now.
        """
        self._advance(now)
        self.refusals += 1
        self._refused += 1
        under_way = self._refused_at is not None and not self._given  # none of those that took a turn
        if under_way or now < self._calm_at:
            if asked_s:
                self._pause_until(now + asked_s)
            return self.paused_s(now)
        self.events += 1
        went = self._given - self._refused
        pause_s = asked_s or self._own_pause(went)
        self._stretch = max(1.0, pause_s)
        self._plateau_s = (PLATEAU_S if self._grown_s >= SHORT_S else NEAR_PLATEAU_S) * self._stretch
        self._lower(went, now)
        self._base = self.rate
        self._grown_s, self._given, self._refused = 0.0, 0, 0
        self._refused_at = now
        self._level = 0.0
        self._calm_at = now + CALM_S
        self._pause_until(now + pause_s)
        return self.paused_s(now)

    def leave_alone(self, seconds: float, now: float) -> None:
        """Nothing was refused for its rate, and still nobody is to ask for so long."""
        self._advance(now)
        self._pause_until(now + seconds)

    def spread(self, remaining: int, reset_s: float, now: float) -> None:
        """The registry says that `remaining` requests are left for `reset_s`: they are made to last."""
        self._advance(now)
        self._spread_until = now + reset_s
        self._spread_rate = max(LEAST_RATE, remaining / reset_s)

    def _pause_until(self, until: float) -> None:
        self.left_alone_s += max(0.0, until - max(self._paused_until, self._seen_at))
        self._paused_until = max(self._paused_until, until)
        self._calm_at = max(self._calm_at, self._paused_until)

    def _own_pause(self, went: int) -> float:
        self._pause_s = FIRST_PAUSE_S if went > 0 else min(LONGEST_PAUSE_S, self._pause_s * 2)
        return self._pause_s

    def _lower(self, went: int, now: float) -> None:
        """The rate after a refusal, and the plateau to which it grows. What came before the first says nothing."""
        if self._refused_at is None:
            return
        used = None if self._hungry else self._recent_rate(now)
        refused = min(self.rate, used) if used else self.rate
        if went <= 0:
            self.rate = max(LEAST_RATE, refused * NOTHING_WENT)
            self._ceiling = None if self._ceiling is None else max(self.rate, refused * CEILING)
            return
        if self._ceiling is None:
            self.rate = refused * STEEPLY
            self._ceiling = refused * CEILING
        elif self._grown_s >= SHORT_S:
            self.rate = refused * SLIGHTLY
            self._ceiling = refused * CEILING
        else:
            let_through = went / (now - self._refused_at)
            highest = refused * PLAINLY
            self.rate = min(highest, max(let_through, sqrt(let_through * highest)))
            self._ceiling = min(refused * CEILING, self.rate * MOST_GAIN)
        self.rate = max(LEAST_RATE, self.rate)
        self._ceiling = max(self.rate, self._ceiling)

    def _recent_rate(self, now: float) -> float | None:
        """How fast it was asked lately; None where that was too short a time to say."""
        began = max(now - RECENT_S, self._paused_until)
        seconds = now - began
        if seconds < RECENT_S / 2:
            return None
        return sum(given for at, given in self._recent if at >= began) / seconds

    def _rate_at(self, now: float) -> float:
        return min(self.rate, self._spread_rate) if now < self._spread_until else self.rate

    def _advance(self, now: float) -> None:
        """Fill the bucket, and let the rate grow, for the time that has passed."""
        began = max(self._seen_at, min(self._paused_until, now))
        self._seen_at = now
        seconds = now - began
        if seconds <= 0:
            return
        rate = self._rate_at(now)
        full = max(1.0, min(rate * DEPTH_S, DEPTH + rate * DEPTH_PART_S)) + 1.0
        if self._hungry:
            self._grown_s += min(seconds, (full - self._level) / rate)
            self.rate = min(self._most, self._grown())
        self._level += seconds * rate
        if self._level >= full:
            self._hungry = False  # there were more turns than anybody wanted
        self._level = min(full - 1.0, self._level)

    def _grown(self) -> float:
        ceiling = self._ceiling
        if ceiling is None:
            return min(FREE_RATE, self._base * float(2.0 ** (self._grown_s / DOUBLING_S)))
        beyond_s = self._grown_s - self._plateau_s
        if beyond_s < 0:
            return ceiling + (ceiling - self._base) * (beyond_s / self._plateau_s) ** 3
        gain = max(ceiling - self._base, ceiling * LEAST_GAIN)
        return min(FREE_RATE, ceiling + gain * (beyond_s / (PLATEAU_S * self._stretch)) ** 3)

    def __repr__(self) -> str:
        ceiling = "none yet" if self._ceiling is None else f"{self._ceiling:.3g}/s"
        return f"<Pacer {self.rate:.3g} a second, plateau {ceiling}, {self.refusals} refused>"
