"""How fast a registry may be asked: a rate that is learned from its refusals (429), and whether it has become slow.

A registry that refuses gets a token bucket, and every request to it takes a turn. The rate begins low and doubles every
second until the next refusal, as in the slow start of TCP (RFC 5681). A refusal lowers the rate, by more where it
follows the last one closely; then it grows along a cubic (RFC 9438). Only a rate that is used grows. Times and `now` in
seconds, rates in requests per second.
"""

from __future__ import annotations

from collections import deque
from math import inf, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


WINDOW_S = 3.0
FEWEST, MOST = 12, 256
"""Answers in the window for a verdict, and the most that count."""
TIMES, RISE_S = 4.0, 1.0
"""Slow is slower than the best by both: four times a millisecond alone would not be slow."""
VERDICTS, SPACING_S = 2, 1.0
"""So many slow verdicts in a row, so far apart."""


class LatencyWatch:
    """The answers of one registry. `note` says when it has become slow; then it is judged anew.

    Counted are answers that cost the registry little and carry no blob. Single late answers, and a busy machine of our
    own, would mislead: so the fastest quarter of the last seconds is compared with its own best, and must be much
    slower twice in a row.
    """

    def __init__(self) -> None:
        self.best_s: float | None = None
        self._answers: deque[tuple[float, float]] = deque(maxlen=MOST)
        self._slow = 0
        self._judged_at = 0.0

    def note(self, answers_s: Iterable[float], now: float) -> bool:
        """Note how long these answers took; return whether the registry has become slow."""
        answers = self._answers
        answers.extend((now, seconds) for seconds in answers_s)
        while answers and answers[0][0] < now - WINDOW_S:
            answers.popleft()
        if len(answers) < FEWEST or now < self._judged_at + SPACING_S:
            return False
        self._judged_at = now
        quick_s = sorted(seconds for _, seconds in answers)[len(answers) // 4]
        if self.best_s is None or quick_s < self.best_s:
            self.best_s = quick_s
        self._slow = self._slow + 1 if quick_s > max(self.best_s * TIMES, self.best_s + RISE_S) else 0
        if self._slow < VERDICTS:
            return False
        self._slow = 0
        answers.clear()
        return True


FIRST_RATE = 16.0
"""Where nothing is known: less than what registries for machines allow."""
FIRST_PART = 0.25
"""Of the recent rate of all requests: half of it went to other registries, and the rest was too much."""
LEAST_RATE = 0.05
"""A request in 20 s; a registry that allows less says so with Retry-After."""
FREE_RATE = 10_000.0
"""More than this engine can ask: a registry that allows so much is not paced any more."""
DOUBLING_S = 1.0
DEPTH_S, DEPTH, DEPTH_PART_S = 0.1, 4.0, 0.01
"""The bucket keeps the turns of a tenth of a second, so that a late timer loses none; at most four, and those of a
hundredth of a second, since they are sent at once.
"""
RECENT_S = 2.0
"""The time over which the real rate at a refusal is measured."""
SHORT_S = 5.0
"""Time of full use between two refusals: after less, the rate was much too high."""
SLIGHTLY, PLAINLY, STEEPLY = 0.95, 0.85, 0.7
"""What is left of the rate after a refusal: after long use, after short use, at the end of the slow start."""
NOTHING_WENT = 0.5
"""The same where no request was accepted since the last refusal."""
CEILING = 0.96
"""Of the rate that was refused: the plateau of the cubic."""
MOST_GAIN = 1.25
"""The plateau is at most this times the rate after a refusal."""
PLATEAU_S, NEAR_PLATEAU_S = 20.0, 8.0
"""From a refusal to the plateau, after long use and after short. A pause of more than a second stretches all this by as
many times, since a refusal then costs more.
"""
LEAST_GAIN = 0.05
"""Of the plateau: how much beyond it the rate is `PLATEAU_S` later."""
CALM_S = 0.5
"""After a refusal, and during a pause: requests that were under way are refused too, which says nothing new."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 60.0
"""The pause after a refusal without Retry-After: doubled while no request is accepted in between."""


class Pacer:
    """The turns of one registry. `allowed` is the rate that the registry itself names; where it names none, `asked` is
    the recent rate of requests to all registries. `most` is the limit of the user, at which it begins (None: no limit).
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
        """Refusals that changed the rate."""
        self.left_alone_s = 0.0
        """Seconds of pause so far, with the rest of the present one."""

    @property
    def is_binding(self) -> bool:
        """Whether more is wanted than may be sent."""
        return self._hungry

    @property
    def is_free(self) -> bool:
        """Whether it accepted so much that it need not be paced."""
        return self.rate >= FREE_RATE and self._most == inf

    def take(self, wanted: int, now: float) -> int:
        """Return how many of `wanted` requests may be sent now; they count as sent."""
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
        """The time until the next turn; 0 where one is free now."""
        self._advance(now)
        missing = max(0.0, 1.0 - self._level) / self._rate_at(now)
        return max(self._paused_until - now, 0.0) + (missing if missing > 1e-9 else 0.0)  # noqa: PLR2004

    def paused_s(self, now: float) -> float:
        """The time until the present pause ends."""
        return max(0.0, self._paused_until - now)

    def refused(self, asked_s: float | None, now: float) -> float:
        """A request was refused, and the registry asks for a pause of `asked_s` (None: it does not say); return the
        pause from now on.
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
        """Pause for a reason other than the rate."""
        self._advance(now)
        self._pause_until(now + seconds)

    def spread(self, remaining: int, reset_s: float, now: float) -> None:
        """The registry says that `remaining` requests are left for `reset_s`: spread them over that time."""
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
        """Lower the rate after a refusal, and set the plateau. The first refusal says nothing about the rate."""
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
        """The recent rate of requests; None where the time was too short."""
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
            self._hungry = False  # there were more turns than requests
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
