"""When to try again, and after what pause. Immutable: time and chance come in as arguments.

There is one `RetryPolicy` for each class of operations, and `decide_policies` makes them all from the settings. What
was tried in vain so far is a value too, `Tries`: each further failure makes a new one, with its history, and the last
of them is written on the error that is reported.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from image_syncer.errors import RegistryError, SyncError
from image_syncer.values import Value, as_dict, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config import Settings

__all__ = ["ONCE", "RetryPolicies", "RetryPolicy", "Tries", "decide_policies"]

MOST_STEPS = 64
"""Pauses have long reached their longest by then, and a power that is too large for a float raises OverflowError."""
FIRST_KEPT, LAST_KEPT = 2, 6
"""Tries of which the history is kept: how it began, and how it ended."""
MOST_CHARACTERS = 200
"""Of what one try failed with; the error itself has the whole of the last."""
TOKEN_TRIES = 1000
"""As good as no bound: how long a token service may be away is a matter of time."""
TOKEN_BUDGET_S = 120.0
"""At most: what waits for a token keeps the places of others meanwhile."""

NO_ANSWER = ("transport", "unavailable", "rate limited", "not asked")
"""Kinds of errors: no answer came, or one that speaks of a moment."""
DAMAGED = ("integrity", "protocol violation")
"""An answer came, and its bytes are not what they have to be; most of those cannot pass, but damage on the way can."""


class RetryPolicy(Value, frozen=True):
    """How often an operation is tried, for how long in all, and how long to wait between the tries.

    `tries` counts the first one. Pauses grow by `factor` from `first_pause_s` to `longest_pause_s`, with full jitter
    (any pause between zero and the full one is as likely), so that those who failed together do not return together. A
    registry's own Retry-After (RFC 9110 section 10.2.3) is a floor under the pause, up to `longest_wait_s`; what asks
    for more is not waited for. No try begins later than `budget_s` after the first failure (None: no such bound); one
    that has begun is never cut short by it, so a large blob may take what it takes. `faults` are the kinds of errors
    that are tried again where they can pass at all (None: all that can). All times in seconds.
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
        """The pause before the next try, or None where there is none.

        `tries_made` counts the failed ones, `chance` is uniform in [0, 1), `spent_s` counts from the first failure.
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
        """How long refusals that only ask to wait (429) are waited for, and are no failed tries."""
        return self.longest_wait_s if self.budget_s is None else min(self.longest_wait_s, self.budget_s)

    def as_data(self) -> dict[str, Any]:
        """The policy as plain data."""
        return as_dict(self) | {"faults": list(self.faults) if self.faults is not None else None}

    @staticmethod
    def from_data(data: Mapping[str, Any]) -> RetryPolicy:
        """The policy that `as_data` described."""
        faults = data["faults"]
        return RetryPolicy(**{**data, "faults": tuple(faults) if faults is not None else None})


ONCE = RetryPolicy(tries=1)
"""For what others try again."""


class RetryPolicies(Value, frozen=True):
    """The policies of a run, one for each class of operations.

    `read`: small requests that change nothing (manifests, tags, whether something is there). `write`: manifests that
    are put. `token`: what a token service is asked. `blob`: a blob on its way to one registry, from the beginning or
    from where it is. `resume`: the same within one try, without giving up what has been moved; there, the tries since
    bytes moved last count.
    """

    read: RetryPolicy = RetryPolicy()
    write: RetryPolicy = RetryPolicy()
    token: RetryPolicy = RetryPolicy()
    blob: RetryPolicy = RetryPolicy()
    resume: RetryPolicy = RetryPolicy()

    def as_data(self) -> dict[str, dict[str, Any]]:
        """Each policy as plain data, by its class of operations."""
        return {one.name: getattr(self, one.name).as_data() for one in fields(self)}


def decide_policies(settings: Settings) -> RetryPolicies:
    """The policies that follow from the settings.

    A broken blob is resumed sooner than others try again, since its source and its upload session wait meanwhile. A
    token service is not tried so many times but so long, since all requests to a registry wait for the same token.
    Without retries, it is asked once too.
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
    """What was tried in vain: how often, and since when. Times in seconds of the caller's clock.

    `history` tells of each try, as data: when it failed (`at_s` after `began_at`), with what, and the pause after it.
    Of many tries, the first and the last ones are kept.
    """

    began_at: float
    made: int = 0
    failed_at: float | None = None
    """When the first of them failed."""
    history: tuple[dict[str, Any], ...] = ()
    outages: int = 0
    """How often they were all given back."""

    def spent_s(self, now: float) -> float:
        """How long it has been tried again."""
        return 0.0 if self.failed_at is None else now - self.failed_at

    def plus(self, error: SyncError, now: float, pause_s: float | None = None, *, counts: bool = True) -> Tries:
        """The same and one more, which failed `now`; None says that there is no other after it. One that does not
        count is told in the history only.
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
        """After an outage: all tries are there again, and all the time; the history stays."""
        return replace(self, made=0, failed_at=None, outages=self.outages + 1)

    def write_on(self, error: SyncError) -> SyncError:
        """Write on `error`, the last, how often and how long it was tried, where it does not tell of more tries
        already; returns it.
        """
        if error.tries > self.made:
            return error
        error.tries = max(1, self.made)
        if len(self.history) > 1:
            error.history = self.history
            error.tried_for_s = self.history[-1]["at_s"]
        return error


def _shorten(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"
