"""The desk that hands out allowances of bytes: the buckets of a run (`planning/bandwidth.py`), on the loop."""

from __future__ import annotations

import asyncio
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any

from image_syncer.net import OURSELVES, ByteBudgets
from image_syncer.planning import EVERYWHERE, Bandwidth, metered, streams_for
from image_syncer.telemetry import get_logger
from image_syncer.units import format_rate
from image_syncer.worker.pacing_messages import BytesGranted, BytesWanted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import Limits, RateSchedule
    from image_syncer.net import CurlDriver
    from image_syncer.planning import Scheduler
    from image_syncer.worker.messages import Message

__all__ = ["BandwidthLimiter"]

LEAST_PAUSE_S = 0.001
"""Between two rounds of grants; no timer of the loop is finer."""

_log = get_logger(__name__)


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
