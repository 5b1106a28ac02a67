"""Whether a registry has become slow to answer, which is how one that has too much to do says so before it refuses.

What is compared are answers to requests that cost it little and carry no blob, against its own best. Two things would
mislead: an answer here and there that is late for reasons of its own, and a machine of ours that is too busy to read
answers in time. So the fastest quarter of the last seconds is what counts, and it must be slower by much, twice
running. Times in seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LatencyWatch"]

WINDOW_S = 3.0
FEWEST, MOST = 12, 256
"""Answers in the window, for a verdict; and of which it is made."""
TIMES, RISE_S = 4.0, 1.0
"""Slower than the best by both: four times what is fast is nothing where that is a millisecond."""
VERDICTS, SPACING_S = 2, 1.0
"""So many running, so far apart."""


class LatencyWatch:
    """The answers of one registry. `note` says when it has become slow; then it is judged anew."""

    def __init__(self) -> None:
        self.best_s: float | None = None
        self._answers: deque[tuple[float, float]] = deque(maxlen=MOST)
        self._slow = 0
        self._judged_at = 0.0

    def note(self, answers_s: Iterable[float], now: float) -> bool:
        """These answers came just now; whether it has become slow."""
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
