"""What is left of a run at one moment, as counters: for the model that says how long it takes. Nothing here looks at
more than what is under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.coordinator.rules import OPEN_IMAGES
from image_syncer.planning.remaining import Flow, Remaining
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.registry_access import RegistryAccess
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.planning.work_count import Way

__all__ = ["remaining_of"]

LEAST_ALONE_S = 0.5
"""Shorter pauses are over before they matter."""


def remaining_of(
    ledger: Ledger,
    transfers: Transfers,
    access: RegistryAccess,
    *,
    rules: tuple[int, int],
    held: str | None,
) -> Remaining:
    """`rules` are those that are resolved to images, and those that are not; `held` is
    that of a `Snapshot`.
    """
    scheduler, pacing = transfers.scheduler, transfers.pacing
    small_bytes = scheduler.work.small_bytes or 0
    flows: dict[Way, Flow] = {}
    largest, streams = float(scheduler.queue.largest_streamed), 0
    for running in transfers.running:
        job, is_streamed = running.job, False
        for position, target in enumerate(job.targets):
            if position in running.told:
                continue
            flow = flows.setdefault((job.source.registry, target.repository.registry), Flow())
            if target.booked_bytes <= small_bytes:
                flow.small += 1
            else:
                is_streamed = True
                flow.streamed += 1
                flow.received += min(job.received, target.booked_bytes)
        if is_streamed:
            streams += 1
            largest = max(largest, job.left)
    rates = pacing.bytes.rates()
    return Remaining(
        images=ledger.planned,
        ended=ledger.totals.images,
        copied=ledger.totals.outcomes.get(Outcome.COPIED, 0),
        open=transfers.deliveries,
        waiting=scheduler.waiting_deliveries,
        window=OPEN_IMAGES,
        rules=rules[0],
        rules_left=rules[1],
        ways=scheduler.work.ways,
        flows=flows,
        largest=largest,
        streams=streams,
        rate=rates.pop(None, None),
        rates={name: rate for name, rate in rates.items() if name is not None},
        alone=dict(_alone(transfers, access)),
        held=held,
    )


def _alone(transfers: Transfers, access: RegistryAccess) -> Iterator[tuple[str, float]]:
    """How long registries are asked for nothing, and those that are down."""
    registries = dict.fromkeys(name for way in transfers.scheduler.work.ways for name in way)
    for registry in registries:
        if (seconds := transfers.pacing.alone_s(registry)) >= LEAST_ALONE_S:
            yield registry, seconds
    for registry, _ in access.health.outages():
        yield registry, float("inf")
