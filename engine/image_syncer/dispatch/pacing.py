"""Rate limits of a run: requests and bytes that workers and coordinator may spend, and what is learnt of registries."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from datetime import datetime
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from image_syncer.net import OURSELVES, ByteBudgets, LimiterEvents, LocalRequestLimiter
from image_syncer.scheduling import EVERYWHERE, Bandwidth, metered, streams_for
from image_syncer.scheduling.pacing import LatencyWatch
from image_syncer.telemetry import LimitsLog, get_logger
from image_syncer.units import format_duration, format_rate
from image_syncer.worker.protocol import (
    AllowanceReported,
    BytesGranted,
    BytesWanted,
    Metering,
    Paced,
    Refused,
    RegistryPause,
    RequestsGranted,
    RequestsWanted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import Limits, RateSchedule, Settings
    from image_syncer.dispatch.supervisor import Supervisor
    from image_syncer.net import CurlDriver, Throttle
    from image_syncer.scheduling import Scheduler
    from image_syncer.worker.protocol import Message


LEAST_PAUSE_S = 0.001
"""Between two rounds of grants; no timer of the loop is finer."""
COUNT_S, COUNTS = 0.5, 4
"""How often the requests that were sent are counted, and how many counts are kept."""
LEAST_TOLD_S = 0.5
"""Shorter pauses are not shown: they are over before they can be read."""

_METER_ALL = Metering(EVERYWHERE)
_NO_LIMITS: Mapping[str, Limits] = MappingProxyType({})

_log = get_logger(__name__)


class BandwidthLimiter:
    """Grants bytes to workers and to this process. `give(worker, message)` sends a grant to a worker; rates change by
    `local_time()`; `on_rate(registry, rate)` is called with the first rate and each further one (bytes a second, None:
    no limit), for each registry that has a rate of its own, and with None for the rate of all together.
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
        self._connections = scheduler.connections
        self._give = give
        self._on_rate = on_rate
        self._local_time = local_time
        self._budgets: ByteBudgets | None = None
        self._timer: asyncio.Handle | None = None
        self.on: dict[type[Message], Callable[[int, Any], None]] = {
            BytesWanted: lambda worker, wanted: self._want(worker, wanted.registry, sending=wanted.sending),
            BytesGranted: lambda _worker, rest: self._bandwidth.give_back(rest.registry, rest.sending, rest.size),
        }
        """Handlers of messages from workers about bytes."""
        rates = {registry: one.rate for registry, one in limits.items() if one.rate is not None}
        self._rates = rates
        self._registries: tuple[str | None, ...] = (None, *rates) if rate is not None else tuple(rates)
        self.is_changed = False
        """Whether the rate of all together is another than the workers were started with."""
        self._metered = metered(rate, rates)
        self._bandwidth = Bandwidth(rate, rates, local_time(), self._loop.time())
        if self._bandwidth.is_limited:
            self._apply()

    def forget(self, worker: int) -> None:
        """A worker is gone, and what it had not spent: less than what may move in a hundredth of a second."""
        self._bandwidth.forget(worker)

    def change(self, rate: RateSchedule | None) -> None:
        """Limit all together to `rate` from now on. Workers have to be told that their bytes are counted now
        (`Metering`); what this process itself reads already ends without a limit.
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
                give_back=self._bandwidth.give_back,
            )
        return self._budgets

    def sample(self) -> None:
        """Look for a rate that changes by the time of day; to be called about twice a second."""
        if self._budgets is not None:
            self._budgets.tidy()
        if self._bandwidth.is_limited and self._bandwidth.retime(self._local_time(), self._loop.time()):
            self._apply()
            self._pump()

    def streams_for(self, registry: str) -> int | None:
        """How many blobs of `registry` at a time the rates in force can feed; None: any number."""
        rates = [rate for name in (None, registry) if (rate := self._bandwidth.rate(name)) is not None]
        return streams_for(min(rates, default=None))

    @property
    def rate(self) -> float | None:
        """The rate of all together now, in bytes a second; None: no limit."""
        return self._bandwidth.rate(None)

    def rates(self) -> dict[str | None, float]:
        """The rates in force, in bytes a second, by registry; None: of all together."""
        return {name: rate for name in self._registries if (rate := self._bandwidth.rate(name)) is not None}

    def held_to(self) -> float | None:
        """The rate of all together in bytes a second, where a transfer waits for it."""
        return self._bandwidth.rate(None) if self._bandwidth.is_waited_for else None

    def _apply(self) -> None:
        """Report the rates in force, and lease no more blobs at a time than they can feed."""
        for registry in self._registries:
            rate = self._bandwidth.rate(registry)
            words = "none" if rate is None else format_rate(rate)
            _log.info("limit of bytes", registry=registry or "all together", rate=words)
            self._on_rate(registry, rate)
            if registry is None:
                self._scheduler.narrow(streams_for(rate))
            else:
                self._connections.narrow(registry, streams_for(rate))

    def _want(self, asker: int, registry: str, *, sending: bool) -> None:
        self._bandwidth.want(asker, registry, sending=sending)
        if self._timer is None:
            # Never at once: it may be libcurl itself that is just calling.
            self._timer = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        """Grant what there is, and set a timer for what is missing."""
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


class Pacing:
    """Passes what workers ask, report and are granted to and from the limiters of the coordinator.

    Times count from `began_at` (loop time). `limits` has what the user allows each registry, `requests()` returns how
    many requests all processes have sent so far.
    """

    def __init__(
        self,
        throttle: Throttle,
        supervisor: Supervisor,
        scheduler: Scheduler,
        settings: Settings,
        *,
        began_at: float,
        limits: Mapping[str, Limits] = _NO_LIMITS,
        requests: Callable[[], int] = lambda: 0,
    ) -> None:
        self._throttle = throttle
        self._supervisor = supervisor
        self._connections = scheduler.connections
        self._loop = asyncio.get_running_loop()
        self._began_at = began_at
        self._requests = requests
        self._counts: deque[tuple[float, int]] = deque([(began_at, 0)], maxlen=COUNTS)
        self._latencies: defaultdict[str, LatencyWatch] = defaultdict(LatencyWatch)
        self.log = LimitsLog()
        self._limiter = limiter = LocalRequestLimiter(
            throttle,
            longest_wait_s=settings.longest_wait_s,
            events=LimiterEvents(
                on_given=lambda worker, registry, turns: supervisor.send(worker, RequestsGranted(registry, turns)),
                on_paused=lambda registry, seconds: supervisor.broadcast(RegistryPause(registry, seconds)),
                on_paced=self._on_paced,
                on_refused=self._on_refused,
            ),
            asked=self._asked,
            most={name: most for name, one in limits.items() if (most := one.requests_per_s) is not None},
        )

        self.bytes = BandwidthLimiter(settings.rate, limits, scheduler, give=supervisor.send, on_rate=self._on_rate)
        self.on: dict[type[Message], Callable[[int, Any], None]] = {
            RequestsWanted: lambda worker, wanted: limiter.want(worker, wanted.registry, wanted.turns),
            Refused: lambda _worker, refused: limiter.refused(refused.registry, refused.retry_after_s),
            AllowanceReported: lambda _worker, told: limiter.told(told.registry, told.allowance),
            RegistryPause: self._on_pause,
            **self.bytes.on,
        }
        """Handlers of messages from workers about limits."""

    def _on_pause(self, worker: int, message: RegistryPause) -> None:
        now = self._loop.time()
        before = self._throttle.wait_s(message.registry, now)
        pause = self._throttle.pause(message.registry, message.seconds, now)
        self.log.left_alone(message.registry, pause - before)
        self._supervisor.broadcast(message, but=worker)

    def inform(self, worker: int) -> None:
        """Send a new worker what the others know."""
        now = self._loop.time()
        for registry in self._throttle.watched:
            if wait := self._throttle.wait_s(registry, now):
                self._supervisor.send(worker, RegistryPause(registry, wait))
        for registry in self._limiter.pacers:
            self._supervisor.send(worker, Paced(registry, paced=True))
        if self.bytes.is_changed:
            self._supervisor.send(worker, _METER_ALL)

    def change_rate(self, rate: RateSchedule | None) -> None:
        """Limit the bytes per second of all together from now on."""
        self._supervisor.broadcast(_METER_ALL)
        self.bytes.change(rate)

    def forget(self, worker: int) -> None:
        """A worker is gone: it waits for no grant."""
        self._limiter.forget(worker)
        self.bytes.forget(worker)

    def leave_alone(self, registry: str, seconds: float) -> None:
        """A registry that is not paced asked the coordinator for a pause (503 with Retry-After): tell the workers."""
        self.log.left_alone(registry, seconds)
        self._supervisor.broadcast(RegistryPause(registry, seconds))

    def note_answers(self, answer_s: dict[str, list[float]]) -> None:
        """Lower the concurrency at registries whose answers have become slow; times in seconds, by registry."""
        now = self._loop.time()
        for registry, answers_s in answer_s.items():
            watch = self._latencies[registry]
            if watch.note(answers_s, now) and self._connections.slowed(registry, now):
                _log.info("registry answers slowly", registry=registry, best_s=watch.best_s)

    def sample(self) -> None:
        """Note the limits in force for the report; to be called about twice a second."""
        self._count()
        self.bytes.sample()
        now = self._loop.time() - self._began_at
        for registry, pacer in self._limiter.pacers.items():
            self.log.note_rate(registry, pacer.rate, now)
            self.log.note_refusals(registry, pacer.refusals, pacer.left_alone_s)
            if _is_registry(registry):
                self._connections.pace(registry, pacer.rate)
        for registry, allowed in self._connections.allowed().items():
            self.log.note_connections(registry, allowed, now)

    def slowed(self) -> tuple[str, float] | None:
        """The slowest registry whose rate requests wait for, with that rate in requests a second; None: none."""
        binding = [(pacer.rate, name) for name, pacer in self._limiter.pacers.items() if pacer.is_binding]
        return (min(binding)[1], min(binding)[0]) if binding else None

    def rates(self) -> dict[str, float]:
        """The rates of registries that are paced as a whole, in requests a second."""
        return {name: pacer.rate for name, pacer in self._limiter.pacers.items() if _is_registry(name)}

    def alone_s(self, registry: str) -> float:
        """For how many seconds no request goes to `registry`."""
        now = self._loop.time()
        pacer = self._limiter.pacers.get(registry)
        return max(self._throttle.wait_s(registry, now), pacer.paused_s(now) if pacer is not None else 0.0)

    def throttled(self, registry: str) -> str | None:
        """Which pause or rate holds requests to `registry` back, in words; None: none."""
        if (wait_s := self.alone_s(registry)) >= LEAST_TOLD_S:
            return f"paused for {format_duration(wait_s)}"
        pacer = self._limiter.pacers.get(registry)
        if pacer is not None and pacer.is_binding:
            return f"paced to {pacer.rate:.3g} requests/s"
        return None

    def waiting(self) -> str | None:
        """Which limit the run waits for, in words; None: none."""
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
                self._connections.pace(registry, None)
            self.log.note_rate(registry, None, self._loop.time() - self._began_at)
        self._supervisor.broadcast(Paced(registry, paced))

    def _on_rate(self, registry: str | None, rate: float | None) -> None:
        self.log.note_bytes(registry, rate, max(0.0, self._loop.time() - self._began_at))

    def _on_refused(self, registry: str, rate: float) -> None:
        _log.info("registry refused (429)", registry=registry, requests_per_s=round(rate, 2))
        if _is_registry(registry):
            self._connections.pace(registry, rate)
            self._connections.refused(registry, self._loop.time())
        self.sample()


def _is_registry(bucket: str) -> bool:
    """Whether the bucket limits all requests to a registry, not only those of one kind (`Limit.bucket`)."""
    return " " not in bucket
