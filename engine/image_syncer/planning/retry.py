"""When to try again, and after what pause. Immutable: chance comes in as an argument."""

from __future__ import annotations

from dataclasses import dataclass

from image_syncer.errors import RegistryError, SyncError

__all__ = ["RetryPolicy"]

MOST_STEPS = 64
"""Pauses have long reached their longest by then, and a power that is too large for a float raises OverflowError."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often an operation is tried, and how long to wait between the tries.

    `tries` counts the first one. Pauses grow by `factor` from `first_pause_s` to `longest_pause_s`, with full jitter
    (any pause between zero and the full one is as likely), so that those who failed together do not return together. A
    registry's own Retry-After (RFC 9110 section 10.2.3) is a floor under the pause, up to `longest_wait_s`; what asks
    for more is not waited for. All times in seconds.
    """

    tries: int = 3
    first_pause_s: float = 0.5
    factor: float = 3.0
    longest_pause_s: float = 30.0
    longest_wait_s: float = 600.0

    def pause_s(self, error: SyncError, tries_made: int, chance: float) -> float | None:
        """The pause before the next try, or None where there is none.

        `tries_made` counts the failed ones, `chance` is uniform in [0, 1).
        """
        if not error.retryable or tries_made >= self.tries:
            return None
        growth = self.factor ** min(tries_made - 1, MOST_STEPS)
        full = min(self.longest_pause_s, self.first_pause_s * growth)
        pause = full * chance
        asked = error.retry_after_s if isinstance(error, RegistryError) else None
        if asked is None:
            return pause
        return asked + pause if asked <= self.longest_wait_s else None
