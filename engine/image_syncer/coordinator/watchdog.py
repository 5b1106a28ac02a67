"""The watchdog: what is under way, what it is at, and when it last gave a sign of progress. Pure: time comes in as an
argument, in seconds.

Every request and every transfer has time-outs of its own, which are told as what they are. The watchdog is for what
these do not see: an answer that nobody waits for any more, or a wait that nobody ends. Nobody tells it the time of a
sign: signs are counted, and whoever has not given one between two looks was quiet for as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Settings
    from image_syncer.oci import Reference
    from image_syncer.planning import RetryPolicies

__all__ = ["HELPER_S", "LOOK_S", "Stuck", "Watchdog", "Watched", "longest_quiet_s"]

LOOK_S = 1.0
"""Between two looks."""
OVERSLEPT_S = 2.0
"""Where a look comes so late, we stood still (SIGSTOP, a suspended machine), and that time is nobody's."""
GRACE_S = 30.0
"""For what is given up to end; then something harder follows."""
RUN_FACTOR = 2.0
"""The run as a whole may be quiet for longer than any part of it, by so much: first the part is given up."""
HELPER_S = 30.0
"""What a credential helper is allowed."""


class Watched:
    """One thing under way. `what` names it for people, `stage` says what it is at.

    `excuse(now)` says that it waits for what may take any time, such as a registry that asked to be left alone; None:
    there is no excuse. `on_stuck(stuck)` gives it up, and answers whether that was possible.
    """

    __slots__ = ("_watchdog", "excuse", "on_stuck", "quiet_since", "seen", "signs", "stage", "strikes", "what")

    def __init__(self, watchdog: Watchdog, what: str, stage: str, on_stuck: Callable[[Stuck], bool]) -> None:
        self._watchdog = watchdog
        self.what = what
        self.stage = stage
        self.on_stuck = on_stuck
        self.excuse: Callable[[float], bool] | None = None
        self.signs = 0
        self.seen = -1
        self.quiet_since = 0.0
        self.strikes = 0

    def enter(self, stage: str, excuse: Callable[[float], bool] | None = None) -> None:
        """It is at something else now."""
        self.stage, self.excuse = stage, excuse
        self.signs += 1

    def sign(self) -> None:
        """It has made progress."""
        self.signs += 1

    def leave(self) -> None:
        """It has ended."""
        self._watchdog.forget(self)


class Stuck(Value, frozen=True):
    """One thing gave no sign for `quiet_s` seconds; `strikes` is how often that was said of it, this time included."""

    watched: Watched
    quiet_s: float
    strikes: int


class Watchdog:
    """Says what gave no sign for `bound_s`, again after each further `GRACE_S`, until it does or has ended."""

    def __init__(
        self,
        bound_s: float,
        *,
        on_hopeless: Callable[[Stuck], bool],
        excuse: Callable[[float], bool] = lambda _now: False,
        holds_back: Callable[[str, float], bool] = lambda _registry, _now: False,
    ) -> None:
        """`on_hopeless` is told of what cannot be given up alone, and where the run as a whole gives no sign although
        something is under way; `excuse` says when it need not. `holds_back(registry, now)` says whether requests to a
        registry have to wait for their turn.
        """
        self._bound_s = bound_s
        self._holds_back = holds_back
        self.on_hopeless = on_hopeless
        self._watched: dict[Watched, None] = {}
        self._changes = 0
        self._looked_at: float | None = None
        self.paused = False
        """Whether somebody holds the run back: time that passes then is nobody's."""
        self._run = Watched(self, "the run", "nothing moves", on_hopeless)
        self._run.excuse = excuse

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, what: str, stage: str, on_stuck: Callable[[Stuck], bool]) -> Watched:
        """Something begins."""
        watched = Watched(self, what, stage, on_stuck)
        self._watched[watched] = None
        self._changes += 1
        return watched

    def turn(self, *registries: str) -> Callable[[float], bool]:
        """An excuse: requests to one of the registries have to wait for their turn."""
        return lambda now: any(self._holds_back(registry, now) for registry in registries)

    def turn_at(self, *places: Reference) -> Callable[[float], bool]:
        """The same, of the registries at which `places` are."""
        return self.turn(*{place.repository.registry for place in places})

    def stuck(self) -> list[str]:
        """What has been quiet for too long, and is not given up yet, for people."""
        return [f"{watched.what}: {watched.stage}" for watched in self._watched if watched.strikes]

    def forget(self, watched: Watched) -> None:
        """It has ended; nothing happens where it had before."""
        if self._watched.pop(watched, watched) is None:
            self._changes += 1

    def look(self, now: float) -> list[Stuck]:
        """To be called every `LOOK_S`: who has been quiet for too long."""
        slept = 0.0 if self._looked_at is None else now - self._looked_at
        slept = slept if slept > OVERSLEPT_S or self.paused else 0.0
        self._looked_at = now
        run, found = self._run, []
        for watched in self._watched:
            if watched.signs != watched.seen:
                run.signs += 1
            if (stuck := self._judge(watched, self._bound_s, slept, now)) is not None:
                found.append(stuck)
        run.signs += self._changes + (not self._watched)
        self._changes = 0
        if (stuck := self._judge(run, self._bound_s * RUN_FACTOR, slept, now)) is not None:
            found.append(stuck)
        return found

    @staticmethod
    def _judge(watched: Watched, bound_s: float, slept: float, now: float) -> Stuck | None:
        if watched.signs != watched.seen:
            watched.seen, watched.strikes, watched.quiet_since = watched.signs, 0, now
            return None
        if watched.excuse is not None and watched.excuse(now):
            watched.strikes, watched.quiet_since = 0, now
            return None
        watched.quiet_since += slept
        quiet_s = now - watched.quiet_since
        if quiet_s < bound_s + watched.strikes * GRACE_S:
            return None
        watched.strikes += 1
        return Stuck(watched, quiet_s, watched.strikes)


def longest_quiet_s(settings: Settings, policies: RetryPolicies, *, request_s: float) -> float:
    """How long something may give no sign although all is well, in seconds.

    In the worst case somebody waits for an endpoint or a token that another one asks for, with all its tries, and then
    for an answer of its own, up to the last moment of its time-out. Nobody is watched for less, since what the
    time-outs end says more of the cause.
    """
    if settings.watchdog_s is not None:
        return settings.watchdog_s
    shared_s = max(policies.read.budget_s or 0.0, policies.token.budget_s or 0.0) + request_s + HELPER_S
    own_s = settings.connect_timeout_s + max(request_s, settings.stall_timeout_s, settings.answer_timeout_s)
    return shared_s + own_s + policies.read.longest_pause_s
