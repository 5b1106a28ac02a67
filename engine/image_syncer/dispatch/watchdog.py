"""The watchdog: finds what is under way without progress, and gives it up.

Every request and every transfer has time-outs of its own. The watchdog finds what these miss: an answer or a wait that
never ends. Signs of progress are counted without their time: what gave none between two looks was quiet for as long.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from image_syncer.errors import TransportError
from image_syncer.net import ON_TRANSFER_END
from image_syncer.telemetry import get_logger
from image_syncer.units import format_duration
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer.config import Settings
    from image_syncer.dispatch.ending import Ending
    from image_syncer.oci import Reference
    from image_syncer.scheduling import RetryPolicies


LOOK_S = 1.0
"""Between two looks."""
OVERSLEPT_S = 2.0
"""Where a look comes so late, this process was suspended (SIGSTOP), and that time does not count."""
GRACE_S = 30.0
"""For what is given up to end; then the next strike follows."""
RUN_FACTOR = 2.0
"""The run as a whole may be quiet for longer than any part of it by this factor: first the part is given up."""
HELPER_S = 30.0
"""What a credential helper is allowed."""

_log = get_logger(__name__)


async def guard(watchdog: Watchdog) -> None:
    """Look at `watchdog` every second, and give up what is stuck, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_S)
        for stuck in watchdog.look(loop.time()):
            since = datetime.now(timezone.utc) - timedelta(seconds=stuck.quiet_s)
            _log.warning(
                "no sign of progress",
                what=stuck.watched.what,
                stage=stuck.watched.stage,
                seconds=round(stuck.quiet_s),
                since=since.isoformat(timespec="seconds"),
            )
            if not stuck.watched.on_stuck(stuck):
                watchdog.on_hopeless(stuck)


def stalled(stuck: Stuck) -> TransportError:
    """The error of what gave no sign."""
    return TransportError(
        f"{stuck.watched.stage}: no sign of progress for {format_duration(stuck.quiet_s)}",
        phase="timeout",
        hint="No time-out of its own ended it: this is an internal error of image-syncer. Please report it with a log.",
    )


def end_run(ending: Ending) -> Callable[[Stuck], bool]:
    """A handler that ends the run because of what cannot be given up alone."""

    def give_up(stuck: Stuck) -> bool:
        what = f"{stuck.watched.what}: {stalled(stuck).message}"
        _log.error("the run is given up", reason=what)
        ending.begin("stuck", f"the run was given up: {what}")
        return True

    return give_up


class TaskWatch:
    """Watches the current task: a stuck task is cancelled, and `error` says why.

    Every transfer that ends in the context of the task, or of a task that it started, is a sign of progress.
    """

    def __init__(self, watchdog: Watchdog, what: str, stage: str) -> None:
        self._task = asyncio.current_task()
        self.watched: Watched = watchdog.watch(what, stage, self._on_stuck)
        self.error: TransportError | None = None
        ON_TRANSFER_END.set(self.watched.sign)

    def _on_stuck(self, stuck: Stuck) -> bool:
        if self._task is None or stuck.strikes > 1:
            return False
        self.error = stalled(stuck)
        self._task.cancel()
        return True


class Watched:
    """One thing under way, in words: `what` it is, and its `stage`.

    `excuse(now)` says that it waits for something that may take any time, such as the pause of a registry; None: it
    never does. `on_stuck(stuck)` gives it up, and returns whether that was possible.
    """

    __slots__ = ("_watchdog", "_what", "excuse", "on_stuck", "quiet_since", "seen", "signs", "stage", "strikes")

    def __init__(self, watchdog: Watchdog, what: str, stage: str, on_stuck: Callable[[Stuck], bool]) -> None:
        self._watchdog = watchdog
        self._what = what
        self.stage = stage
        self.on_stuck = on_stuck
        self.excuse: Callable[[float], bool] | None = None
        self.signs = 0
        self.seen = -1
        self.quiet_since = 0.0
        self.strikes = 0

    @property
    def what(self) -> str:
        """What it is, in words."""
        return self._what

    def enter(self, stage: str, excuse: Callable[[float], bool] | None = None) -> None:
        """Its next stage begins."""
        self.stage, self.excuse = stage, excuse
        self.signs += 1

    def sign(self) -> None:
        """It has made progress."""
        self.signs += 1

    def leave(self) -> None:
        """It has ended."""
        self._watchdog.forget(self)


class Stuck(Value, frozen=True):
    """One thing gave no sign for `quiet_s` seconds, and was found so `strikes` times, this time included."""

    watched: Watched
    quiet_s: float
    strikes: int


class WatchedGroup(Protocol):
    """Things of one kind that come and go often, and are watched while they are in the group."""

    changes: int
    """How often something came or went."""

    def __iter__(self) -> Iterator[Watched]:
        """What is under way now."""


class Watchdog:
    """Finds what gave no sign for `bound_s`, again after each further `GRACE_S`, until it does or has ended."""

    def __init__(
        self,
        bound_s: float,
        *,
        on_hopeless: Callable[[Stuck], bool],
        excuse: Callable[[float], bool] = lambda _now: False,
        holds_back: Callable[[str, float], bool] = lambda _registry, _now: False,
    ) -> None:
        """`on_hopeless` handles what cannot be given up alone, and the run as a whole where it gives no sign although
        something is under way; `excuse` is that of the run. `holds_back(registry, now)` says whether requests to a
        registry have to wait for their turn.
        """
        self._bound_s = bound_s
        self._holds_back = holds_back
        self.on_hopeless = on_hopeless
        self._watched: dict[Watched, None] = {}
        self._groups: list[WatchedGroup] = []
        self._changes = self._seen_changes = 0
        self._looked_at: float | None = None
        self.paused = False
        """Whether the run is paused: that time does not count."""
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

    def include(self, group: WatchedGroup) -> None:
        """Watch what is in `group` too."""
        self._groups.append(group)

    def turn(self, *registries: str) -> Callable[[float], bool]:
        """An excuse: requests to one of the registries have to wait for their turn."""
        return lambda now: any(self._holds_back(registry, now) for registry in registries)

    def turn_at(self, *places: Reference) -> Callable[[float], bool]:
        """The same, of the registries at which `places` are."""
        return self.turn(*{place.repository.registry for place in places})

    def stuck(self) -> list[str]:
        """What is stuck and not given up yet, in words."""
        return [f"{watched.what}: {watched.stage}" for watched in self._all() if watched.strikes]

    def forget(self, watched: Watched) -> None:
        """It has ended; nothing happens where it had before."""
        if self._watched.pop(watched, watched) is None:
            self._changes += 1

    def look(self, now: float) -> list[Stuck]:
        """What is stuck; to be called every `LOOK_S`."""
        slept = 0.0 if self._looked_at is None else now - self._looked_at
        slept = slept if slept > OVERSLEPT_S or self.paused else 0.0
        self._looked_at = now
        run, found, changes = self._run, [], self._changes + sum(group.changes for group in self._groups)
        everything = self._all()
        for watched in everything:
            if watched.signs != watched.seen:
                run.signs += 1
            if (stuck := self._judge(watched, self._bound_s, slept, now)) is not None:
                found.append(stuck)
        run.signs += changes - self._seen_changes + (not everything)
        self._seen_changes = changes
        if (stuck := self._judge(run, self._bound_s * RUN_FACTOR, slept, now)) is not None:
            found.append(stuck)
        return found

    def _all(self) -> list[Watched]:
        return [*self._watched, *chain.from_iterable(self._groups)]

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

    In the worst case it waits for an endpoint or a token that another task asks for, with all its tries, and then for
    an answer of its own until the time-out. The bound is not less, since a time-out says more of the cause.
    """
    if settings.watchdog_s is not None:
        return settings.watchdog_s
    shared_s = max(policies.read.budget_s or 0.0, policies.token.budget_s or 0.0) + request_s + HELPER_S
    own_s = settings.connect_timeout_s + max(request_s, settings.stall_timeout_s, settings.answer_timeout_s)
    return shared_s + own_s + policies.read.longest_pause_s
