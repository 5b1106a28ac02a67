"""The limits of registries in a run: what workers and coordinator learn about them, shared, and kept for the report."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.bandwidth_limiter import BandwidthLimiter
from image_syncer.net import LocalRequestLimiter
from image_syncer.planning import EVERYWHERE
from image_syncer.planning.latency import LatencyWatch
from image_syncer.registry import Allowance
from image_syncer.telemetry import LimitsLog, get_logger
from image_syncer.units import format_duration, format_rate
from image_syncer.worker.messages import LeaveAlone
from image_syncer.worker.pacing_messages import AllowanceTold, Metering, Paced, Refused, RequestsGranted, RequestsWanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import Limits, RateSchedule
    from image_syncer.coordinator.supervisor import Supervisor
    from image_syncer.net import Throttle
    from image_syncer.planning import Scheduler
    from image_syncer.worker.messages import Message

__all__ = ["Pacing"]

COUNT_S, COUNTS = 0.5, 4
"""How often, and how often lately, it was counted how many requests were sent."""

LEAST_TOLD_S = 0.5
"""Shorter pauses are over before anybody has read of them."""

_METER_ALL = Metering(EVERYWHERE)
_NO_LIMITS: Mapping[str, Limits] = MappingProxyType({})

_log = get_logger(__name__)


class Pacing:
    """Between the desk that gives the turns and those who want them. Times count from `began_at` (loop time);
    `requests()` is how many all processes have sent so far, `limits` what the user allows each registry, `rate` all
    together.
    """

    def __init__(
        self,
        throttle: Throttle,
        supervisor: Supervisor,
        scheduler: Scheduler,
        *,
        longest_wait_s: float,
        began_at: float,
        requests: Callable[[], int] = lambda: 0,
        limits: Mapping[str, Limits] = _NO_LIMITS,
        rate: RateSchedule | None = None,
    ) -> None:
        self._throttle = throttle
        self._supervisor = supervisor
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._began_at = began_at
        self._requests = requests
        self._counts: deque[tuple[float, int]] = deque([(began_at, 0)], maxlen=COUNTS)
        self._latencies: defaultdict[str, LatencyWatch] = defaultdict(LatencyWatch)
        self.log = LimitsLog()
        self._desk = LocalRequestLimiter(
            throttle,
            longest_wait_s=longest_wait_s,
            on_given=lambda worker, registry, turns: supervisor.send(worker, RequestsGranted(registry, turns)),
            on_paused=lambda registry, seconds: supervisor.broadcast(LeaveAlone(registry, seconds)),
            on_paced=self._on_paced,
            on_refused=self._on_refused,
            asked=self._asked,
            most={name: most for name, one in limits.items() if (most := one.requests_per_s) is not None},
        )

        self.bytes = BandwidthLimiter(rate, limits, scheduler, give=supervisor.send, on_rate=self._on_rate)
        self.on: dict[type[Message], Callable[[int, Any], None]] = {
            RequestsWanted: self._on_requests_wanted,
            Refused: self._on_worker_refused,
            AllowanceTold: self._on_allowance,
            LeaveAlone: self._on_leave_alone,
            **self.bytes.on,
        }
        """What is done with each message of a worker that is about limits."""

    def _on_requests_wanted(self, worker: int, message: RequestsWanted) -> None:
        self._desk.want(worker, message.registry, message.turns)

    def _on_worker_refused(self, _worker: int, message: Refused) -> None:
        self._desk.refused(message.registry, message.retry_after_s)

    def _on_allowance(self, _worker: int, message: AllowanceTold) -> None:
        allowance = Allowance(message.limit, message.window_s, message.remaining, message.reset_s)
        self._desk.told(message.registry, allowance)

    def _on_leave_alone(self, worker: int, message: LeaveAlone) -> None:
        now = self._loop.time()
        before = self._throttle.wait_s(message.registry, now)
        pause = self._throttle.pause(message.registry, message.seconds, now)
        self.left_alone(message.registry, pause - before)
        self._supervisor.broadcast(message, but=worker)

    def welcome(self, worker: int) -> None:
        """Tell a worker that is new what the others know."""
        now = self._loop.time()
        for registry in self._throttle.watched:
            if wait := self._throttle.wait_s(registry, now):
                self._supervisor.send(worker, LeaveAlone(registry, wait))
        for registry in self._desk.pacers:
            self._supervisor.send(worker, Paced(registry, paced=True))
        if self.bytes.is_changed:
            self._supervisor.send(worker, _METER_ALL)

    def change_rate(self, rate: RateSchedule | None) -> None:
        """All registries together may be asked for so many bytes a second from now on."""
        self._supervisor.broadcast(_METER_ALL)
        self.bytes.change(rate)

    def forget(self, worker: int) -> None:
        """A worker is gone, and waits for nothing."""
        self._desk.forget(worker)
        self.bytes.forget(worker)

    def left_alone(self, registry: str, seconds: float) -> None:
        """A registry that is not paced is left alone for so long (503 with Retry-After)."""
        self.log.left_alone(registry, seconds)

    def note_answers(self, answer_s: dict[str, list[float]]) -> None:
        """So long some registries took to answer, each in seconds: one that has become slow is asked for less."""
        now = self._loop.time()
        for registry, answers_s in answer_s.items():
            watch = self._latencies[registry]
            if watch.note(answers_s, now) and self._scheduler.queue.slowed(registry, now):
                _log.info("registry answers slowly", registry=registry, best_s=watch.best_s)

    def sample(self) -> None:
        """To be called about twice a second: what the limits are now goes into the log."""
        self._count()
        self.bytes.sample()
        now = self._loop.time() - self._began_at
        for registry, pacer in self._desk.pacers.items():
            self.log.note_rate(registry, pacer.rate, now)
            self.log.note_refusals(registry, pacer.refusals, pacer.left_alone_s)
            if _is_registry(registry):
                self._scheduler.queue.pace(registry, pacer.rate)
        for registry, allowed in self._scheduler.queue.connections().items():
            self.log.note_connections(registry, allowed, now)

    def slowed(self) -> tuple[str, float] | None:
        """A registry for whose turns requests wait now, and its rate in requests a second; None where there is none."""
        binding = [(pacer.rate, name) for name, pacer in self._desk.pacers.items() if pacer.is_binding]
        return (min(binding)[1], min(binding)[0]) if binding else None

    def rates(self) -> dict[str, float]:
        """The registries that are paced as a whole, and the rate of each in requests a second."""
        return {name: pacer.rate for name, pacer in self._desk.pacers.items() if _is_registry(name)}

    def alone_s(self, registry: str) -> float:
        """How long nothing is asked of `registry` from now on."""
        now = self._loop.time()
        pacer = self._desk.pacers.get(registry)
        return max(self._throttle.wait_s(registry, now), pacer.paused_s(now) if pacer is not None else 0.0)

    def throttled(self, registry: str) -> str | None:
        """Why less is asked of `registry` than there is to ask, for people: it is left alone or paced."""
        if (wait_s := self.alone_s(registry)) >= LEAST_TOLD_S:
            return f"left alone for {format_duration(wait_s)}"
        pacer = self._desk.pacers.get(registry)
        if pacer is not None and pacer.is_binding:
            return f"paced to {pacer.rate:.3g} requests/s"
        return None

    def waiting(self) -> str | None:
        """What everything waits for, for people, where it is a limit."""
        if (slowed := self.slowed()) is not None:
            return f"{slowed[0]} takes {slowed[1]:.3g} requests/s"
        held_to = self.bytes.held_to()
        return None if held_to is None else f"no more than {format_rate(held_to)} may move"

    def _count(self) -> None:
        now = self._loop.time()
        if now >= self._counts[-1][0] + COUNT_S:
            self._counts.append((now, self._requests()))

    def _asked(self) -> float:
        at, before = self._counts[0]
        return (self._requests() - before) / max(1.0, self._loop.time() - at)

    def _on_paced(self, registry: str, paced: bool) -> None:
        _log.info("registry is paced" if paced else "registry is paced no more", registry=registry)
        if not paced:
            if _is_registry(registry):
                self._scheduler.queue.pace(registry, None)
            self.log.note_rate(registry, None, self._loop.time() - self._began_at)
        self._supervisor.broadcast(Paced(registry, paced))

    def _on_rate(self, registry: str | None, rate: float | None) -> None:
        self.log.note_bytes(registry, rate, max(0.0, self._loop.time() - self._began_at))

    def _on_refused(self, registry: str, rate: float) -> None:
        _log.info("registry refused (429)", registry=registry, requests_per_s=round(rate, 2))
        if _is_registry(registry):
            self._scheduler.queue.pace(registry, rate)
            self._scheduler.queue.refused(registry, self._loop.time())
        self.sample()


def _is_registry(bucket: str) -> bool:
    """Whether all requests to a registry take their turns from it, and not only those of one kind (`Limit.bucket`)."""
    return " " not in bucket
