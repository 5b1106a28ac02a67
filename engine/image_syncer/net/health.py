"""Registries that are down: who asks them waits here, one probe after the other goes out, and then all go on or fail.

The decisions are those of `planning/breaker.py`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from image_syncer.errors import SyncError, TransportError
from image_syncer.planning import BreakerState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.planning import Breaker, Breakers, Tries

__all__ = ["RegistryHealth"]

MOST_OUTAGES = 5
"""After so many, an operation that never succeeds in between is itself what fails."""
LEAST_PROBE_S = 1.0
"""For the last probe before a registry is given up."""


class RegistryHealth:
    """Carries out what the breakers decide. `probe` asks a registry whether it answers, and raises `SyncError` where it
    does not. `on_outage` is told when a registry that was down is back, or is given up.
    """

    def __init__(
        self,
        breakers: Breakers,
        probe: Callable[[str], Awaitable[None]],
        *,
        on_outage: Callable[[Breaker], None] = lambda _breaker: None,
    ) -> None:
        self.breakers = breakers
        self._probe = probe
        self._on_outage = on_outage
        self._loop = asyncio.get_running_loop()
        self._settled: dict[str, asyncio.Future[None]] = {}
        self._probing: set[asyncio.Task[None]] = set()
        breakers.listen(self._on_change)

    def is_suspect(self, registry: str, error: SyncError, tries: Tries, now: float) -> bool:
        """Whether an operation that has used up its `tries`, the last by `error`, should `wait` before it fails."""
        failed_at = now if tries.failed_at is None else tries.failed_at
        return self.breakers.exhausted(registry, error, failed_at, now)

    async def settled(self, registry: str) -> None:
        """Returns when `registry` is back or given up; at once where neither is awaited."""
        while (settled := self._settled.get(registry)) is not None:
            await asyncio.shield(settled)

    async def wait(self, registry: str, tries: Tries | None, suspect: SyncError | None = None) -> Tries | None:
        """The same, for a request that was tried in vain so far: the tries that count when it goes on.

        Where the registry was down, they are none. Where it was not, `suspect` is raised, by which an operation has
        used up its tries; where it is given up, RegistryDownError.
        """
        await self.settled(registry)
        breaker = self.breakers.of(registry)
        if breaker.state is BreakerState.GIVEN_UP:
            raise breaker.down_error()
        if breaker.probes and (suspect is None or tries is None or tries.outages < MOST_OUTAGES):
            return tries.anew() if tries is not None else None
        if suspect is not None:
            raise suspect
        return tries

    def outages(self) -> list[tuple[str, float]]:
        """The registries that are down now, and for how many seconds."""
        now = self._loop.time()
        return [(registry, now - self.breakers.of(registry).failed_at) for registry in self._settled]

    async def close(self) -> None:
        """Probe no more."""
        for task in list(self._probing):
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)

    def _on_change(self, breaker: Breaker) -> None:
        registry = breaker.registry
        if breaker.state is BreakerState.OPEN:
            settled = self._settled[registry] = self._loop.create_future()
            breaker.since = datetime.now(timezone.utc).isoformat(timespec="seconds")
            task = self._loop.create_task(self._ask(breaker, settled))
            self._probing.add(task)
            task.add_done_callback(self._probing.discard)
            return
        if breaker.probes:
            self._on_outage(breaker)
        self._settled.pop(registry).set_result(None)

    async def _ask(self, breaker: Breaker, settled: asyncio.Future[None]) -> None:
        while True:
            await asyncio.sleep(max(0.0, breaker.probe_at - self._loop.time()))
            if settled.done():  # also where an answer to another request has closed it, and it is open again
                return
            breaker.probed()
            try:
                allowed_s = max(LEAST_PROBE_S, breaker.gives_up_at - self._loop.time())
                await asyncio.wait_for(self._probe(breaker.registry), allowed_s)
            except asyncio.TimeoutError:
                last = breaker.last  # which says more
                error: SyncError = last.copy() if last else TransportError("it does not answer", phase="timeout")
            except SyncError as failure:
                error = failure
            else:
                self.breakers.answered(breaker.registry, self._loop.time(), probe=True)
                return
            if settled.done():
                return
            self.breakers.probe_failed(breaker.registry, error, self._loop.time())
            if settled.done():
                return
