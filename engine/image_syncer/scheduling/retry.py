"""When to try again, and after what pause; the history of failed tries; and how many workers may be restarted.

There is one `RetryPolicy` for each class of operations, made from the settings by `decide_policies`. Failed tries are a
value too, `Tries`. Everything is immutable: time and chance are arguments.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from image_syncer.errors import RegistryError, SyncError
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from image_syncer.config import Settings


class RestartBudget:
    """At most `most` restarts of workers within any `within_s` seconds: a run of days survives one that dies every
    hour.
    """

    def __init__(self, most: int, within_s: float) -> None:
        self._most = most
        self._within_s = within_s
        self._taken: deque[float] = deque()

    def try_take(self, now: float) -> bool:
        """Count one more restart, and return True, where it is allowed."""
        while self._taken and now - self._taken[0] >= self._within_s:
            self._taken.popleft()
        if len(self._taken) >= self._most:
            return False
        self._taken.append(now)
        return True

    def forgive(self, count: int) -> None:
        """Do not count the last `count` restarts: their cause is known, and removed."""
        for _ in range(min(count, len(self._taken))):
            self._taken.pop()


MOST_STEPS = 64
"""Pauses have reached their longest by then, and a larger power raises OverflowError."""
FIRST_KEPT, LAST_KEPT = 2, 6
"""Tries of which the history is kept: the first and the last ones."""
MOST_CHARACTERS = 200
"""Of the error of one try in the history; the last error is kept whole."""
TOKEN_TRIES = 1000
"""As good as no limit: for a token service the time counts."""
TOKEN_BUDGET_S = 120.0
"""At most: requests that wait for a token take the slots of others."""

NO_ANSWER = ("transport", "unavailable", "rate limited", "not asked")
"""Kinds of errors without an answer, or with one that holds for a moment."""
DAMAGED = ("integrity", "protocol violation")
"""Kinds of errors whose answer has wrong bytes; damage on the way can pass."""


class RetryPolicy(Value, frozen=True):
    """How often an operation is tried, for how long in all, and how long to pause between the tries.

    `tries` counts the first one. Pauses grow by `factor` from `first_pause_s` to `longest_pause_s`, with full jitter
    (any pause between zero and the full one), so that operations that failed together are not tried again together. The
    Retry-After of a registry (RFC 9110 section 10.2.3) is added, up to `longest_wait_s`; a longer one ends the tries.
    No try begins later than `budget_s` after the first failure (None: no such limit), but one that has begun is never
    cut short. `faults` are the kinds of errors that are tried again (None: all that can pass).
    """

    tries: int = 3
    first_pause_s: float = 0.5
    factor: float = 3.0
    longest_pause_s: float = 30.0
    longest_wait_s: float = 600.0
    budget_s: float | None = None
    faults: tuple[str, ...] | None = None

    def can_pass(self, error: SyncError) -> bool:
        """Whether trying again can help against `error`."""
        return error.retryable and (self.faults is None or error.kind in self.faults)

    def pause_s(self, error: SyncError, tries_made: int, chance: float, spent_s: float = 0.0) -> float | None:
        """The pause before the next try, or None where there is none. `tries_made` counts the failed ones, `chance` is
        uniform in [0, 1), `spent_s` counts from the first failure.
        """
        if tries_made >= self.tries or not self.can_pass(error):
            return None
        growth = self.factor ** min(tries_made - 1, MOST_STEPS)
        pause = min(self.longest_pause_s, self.first_pause_s * growth) * chance
        asked = error.retry_after_s if isinstance(error, RegistryError) else None
        if asked is not None:
            if asked > self.longest_wait_s:
                return None
            pause += asked
        return pause if self.budget_s is None or spent_s + pause <= self.budget_s else None

    @property
    def patience_s(self) -> float:
        """How long refusals that only ask to wait (429) are waited for, without counting as failed tries."""
        return self.longest_wait_s if self.budget_s is None else min(self.longest_wait_s, self.budget_s)


ONCE = RetryPolicy(tries=1)
"""For operations that are tried again elsewhere."""


class RetryPolicies(Value, frozen=True):
    """The policies of a run, one for each class of operations.

    `read`: small requests that change nothing. `write`: manifests that are put. `token`: requests to a token service.
    `blob`: a blob on its way to one registry. `resume`: the same within one try, without giving up what has been moved;
    there, tries count since the last byte.
    """

    read: RetryPolicy = RetryPolicy()
    write: RetryPolicy = RetryPolicy()
    token: RetryPolicy = RetryPolicy()
    blob: RetryPolicy = RetryPolicy()
    resume: RetryPolicy = RetryPolicy()

    def as_data(self) -> dict[str, dict[str, Any]]:
        """Each policy as plain data, by its class of operations."""
        data: dict[str, dict[str, Any]] = to_builtins(self)
        return data


def decide_policies(settings: Settings) -> RetryPolicies:
    """The policies that follow from the settings.

    A broken blob is resumed soon, since its source and its upload session wait meanwhile. A token service is tried for
    a time instead of a number, since all requests to a registry wait for the same token; without retries once.
    """
    budget_s = settings.retry_for_s
    small = RetryPolicy(
        tries=settings.retries + 1,
        longest_wait_s=settings.longest_wait_s,
        budget_s=budget_s,
        faults=(*NO_ANSWER, *DAMAGED),
    )
    return RetryPolicies(
        read=small,
        write=small,
        token=replace(
            small,
            tries=TOKEN_TRIES if settings.retries else 1,
            longest_pause_s=10.0,
            budget_s=min(budget_s, settings.give_up_after_s, TOKEN_BUDGET_S),
            faults=NO_ANSWER,
        ),
        blob=replace(small, faults=None),
        resume=replace(small, faults=None, first_pause_s=0.2, longest_pause_s=10.0),
    )


class Tries(Value, frozen=True):
    """The failed tries of an operation. `history` has each of them as data: its time (`at_s` after `began_at`), its
    error, and the pause after it. Of many, the first and the last ones are kept. Times in seconds of the caller's
    clock.
    """

    began_at: float
    made: int = 0
    failed_at: float | None = None
    """The time of the first failure."""
    history: tuple[dict[str, Any], ...] = ()
    outages: int = 0
    """How often all tries were given back."""

    def spent_s(self, now: float) -> float:
        """The time since the first failure."""
        return 0.0 if self.failed_at is None else now - self.failed_at

    def plus(self, error: SyncError, now: float, pause_s: float | None = None, *, counts: bool = True) -> Tries:
        """The same with one more, which failed `now`; `pause_s` of None means that no other follows. With `counts`
        false it is only in the history.
        """
        entry: dict[str, Any] = {"at_s": round(now - self.began_at, 3), "what": _shorten(error.message)}
        if pause_s is not None:
            entry["pause_s"] = round(pause_s, 3)
        history = (*self.history, entry)
        if len(history) > FIRST_KEPT + LAST_KEPT:
            history = (*history[:FIRST_KEPT], *history[-LAST_KEPT:])
        first = now if self.failed_at is None else self.failed_at
        return replace(self, made=self.made + counts, failed_at=first, history=history)

    def anew(self) -> Tries:
        """All tries and all time again, after an outage; the history is kept."""
        return replace(self, made=0, failed_at=None, outages=self.outages + 1)

    def write_on(self, error: SyncError) -> SyncError:
        """Return `error`, the last, with the number of tries and their history, unless it has more tries already."""
        if error.tries > self.made:
            return error
        tries = max(1, self.made)
        if len(self.history) > 1:
            return error.changed(tries=tries, history=self.history, tried_for_s=self.history[-1]["at_s"])
        return error if error.tries == tries else error.changed(tries=tries)


def _shorten(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
