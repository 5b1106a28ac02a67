"""The limits of registries in a run: what workers and coordinator learn about them, shared, and kept for the report.

Allowances of bytes for workers and coordinator, from the buckets of a run (`planning/bandwidth.py`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from datetime import datetime
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from image_syncer.net import OURSELVES, ByteBudgets, LocalRequestLimiter
from image_syncer.planning import EVERYWHERE, Bandwidth, metered, streams_for
from image_syncer.planning.latency import LatencyWatch
from image_syncer.registry import Allowance
from image_syncer.telemetry import LimitsLog, get_logger
from image_syncer.units import format_duration, format_rate
from image_syncer.worker.messages import LeaveAlone
from image_syncer.worker.pacing_messages import (
    AllowanceTold,
    BytesGranted,
    BytesWanted,
    Metering,
    Paced,
    Refused,
    RequestsGranted,
    RequestsWanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import Limits, RateSchedule
    from image_syncer.coordinator.supervisor import Supervisor
    from image_syncer.net import CurlDriver, Throttle
    from image_syncer.planning import Scheduler
    from image_syncer.worker.messages import Message

__all__ = ["BandwidthLimiter", "Pacing"]


LEAST_PAUSE_S = 0.001
"""Between two rounds of grants; no timer of the loop is finer."""


class BandwidthLimiter:
    """Grants what may move to whoever asks for it. `give(worker, message)` is how a worker is told; `local_time()` the
    time by which rates change; `on_rate(registry, rate)` hears the rate in force at first and whenever it is another
    (bytes a second, None: no limit), for each registry with one of its own, and with None for all together.
    """

    def __init__(
        self,
        rate: RateSchedule | None,
        limits: Mapping[str, Limits],
        scheduler: Scheduler,
        *,
        give: Callable[[int, BytesGranted], None],
        on_rate: Callable[[str | None, float | None], None],
        local_time: Callable[[], datetime] = datetime.now,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._scheduler = scheduler
        self._give = give
        self._on_rate = on_rate
        self._local_time = local_time
        self._budgets: ByteBudgets | None = None
        self._timer: asyncio.Handle | None = None
        self.on: dict[type[Message], Callable[[int, Any], None]] = {
            BytesWanted: self._on_wanted,
            BytesGranted: self._on_given_back,
        }
        """What is done with each message of a worker that is about bytes."""
        rates = {registry: one.rate for registry, one in limits.items() if one.rate is not None}
        self._rates = rates
        self._registries: tuple[str | None, ...] = (None, *rates) if rate is not None else tuple(rates)
        self.is_changed = False
        """Whether the rate of all together is another than the workers were started with."""
        self._metered = metered(rate, rates)
        self._bandwidth = Bandwidth(rate, rates, local_time(), self._loop.time())
        if self._bandwidth.is_limited:
            self._apply()

    def _on_wanted(self, worker: int, message: BytesWanted) -> None:
        self._want(worker, message.registry, sending=message.sending)

    def _on_given_back(self, _worker: int, message: BytesGranted) -> None:
        self._bandwidth.give_back(message.registry, message.size, sending=message.sending)

    def forget(self, worker: int) -> None:
        """A worker is gone. What it had not spent is lost: less than a hundredth of a second's worth."""
        self._bandwidth.forget(worker)

    def change(self, rate: RateSchedule | None) -> None:
        """All together may move so much from now on. Where nothing was limited before, whoever moves bytes has to be
        told that they are counted now (`Metering`); what this process itself reads meanwhile ends as it began.
        """
        self.is_changed = True
        self._registries = (None, *self._rates)
        self._metered = (EVERYWHERE,)
        if self._budgets is not None:
            self._budgets.metered = frozenset(self._metered)
        self._bandwidth.change(rate)
        self._bandwidth.retime(self._local_time(), self._loop.time())
        self._apply()
        self._pump()

    def own_budgets(self, driver: CurlDriver) -> ByteBudgets | None:
        """For what this process itself reads; None where nothing is limited."""
        if self._budgets is None and (self._bandwidth.is_limited or self.is_changed):
            self._budgets = ByteBudgets(
                driver,
                metered=self._metered,
                want=lambda registry, sending: self._want(OURSELVES, registry, sending=sending),
                give_back=lambda registry, sending, size: self._bandwidth.give_back(registry, size, sending=sending),
            )
        return self._budgets

    def sample(self) -> None:
        """To be called about twice a second: rates change by the time of day."""
        if self._budgets is not None:
            self._budgets.tidy()
        if self._bandwidth.is_limited and self._bandwidth.retime(self._local_time(), self._loop.time()):
            self._apply()
            self._pump()

    def streams_for(self, registry: str) -> int | None:
        """How many blobs of `registry` at a time the rates in force are good for; None: any number."""
        rates = [rate for name in (None, registry) if (rate := self._bandwidth.rate(name)) is not None]
        return streams_for(min(rates, default=None))

    @property
    def rate(self) -> float | None:
        """What all together may move now, in bytes a second; None: any number."""
        return self._bandwidth.rate(None)

    def rates(self) -> dict[str | None, float]:
        """The rates in force, in bytes a second, by registry; None: of all together."""
        return {name: rate for name in self._registries if (rate := self._bandwidth.rate(name)) is not None}

    def held_to(self) -> float | None:
        """The rate of all together, where somebody waits for it; in bytes a second."""
        return self._bandwidth.rate(None) if self._bandwidth.is_waited_for else None

    def _apply(self) -> None:
        """Tell the rates that are in force, and have no more blobs moved at a time than they are good for."""
        for registry in self._registries:
            rate = self._bandwidth.rate(registry)
            self._tell(registry, rate)
            if registry is None:
                self._scheduler.narrow(streams_for(rate))
            else:
                self._scheduler.queue.narrow(registry, streams_for(rate))

    def _tell(self, registry: str | None, rate: float | None) -> None:
        words = "none" if rate is None else format_rate(rate)
        _log.info("limit of bytes", registry=registry or "all together", rate=words)
        self._on_rate(registry, rate)

    def _want(self, asker: int, registry: str, *, sending: bool) -> None:
        self._bandwidth.want(asker, registry, sending=sending)
        if self._timer is None:
            # Never at once: it may be libcurl itself that is just calling.
            self._timer = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Grant what there is, and come back when there is more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._loop.time()
        for grant in self._bandwidth.grants(now):
            if grant.asker != OURSELVES:
                self._give(grant.asker, BytesGranted(grant.registry, grant.sending, grant.size))
            elif self._budgets is not None:
                self._budgets.put(grant.registry, grant.size, sending=grant.sending)
        wait_s = self._bandwidth.wait_s(now)
        if wait_s < inf and self._timer is None:
            self._timer = self._loop.call_later(max(LEAST_PAUSE_S, wait_s), self._pump)


COUNT_S, COUNTS = 0.5, 4
"""How often, and how often lately, it was counted how many requests were sent."""

LEAST_TOLD_S = 0.5
"""Shorter pauses are over before anybody has read of them."""

_METER_ALL = Metering(EVERYWHERE)
_NO_LIMITS: Mapping[str, Limits] = MappingProxyType({})

_log = get_logger(__name__)


class Pacing:
    """Between the limiter that grants requests and those that wait for them. Times count from `began_at` (loop time);
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
