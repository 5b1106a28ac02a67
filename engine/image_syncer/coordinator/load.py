"""The load of registries and workers: what moves from and to each of them now, and what went wrong there so far."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from datetime import datetime
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, redact
from image_syncer.telemetry import RateMeter, RegistryRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from image_syncer.coordinator.running_jobs import RunningJob
    from image_syncer.planning import Job, TargetResult

__all__ = ["Load"]

MOST_TROUBLES = 50
"""That are kept to be looked at while the run goes on; the report and the logs have all."""

_SIDES = {(True, False): "source", (False, True): "destination", (True, True): "both"}


class Load:
    """Counts what jobs bring. A blob that goes to several destinations comes once from its source."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        """Tries of blobs that failed or broke off, by the registry that it was for."""
        self.troubles: deque[tuple[str, str]] = deque(maxlen=MOST_TROUBLES)
        """The last things that went wrong: when (ISO 8601, local time with its offset), and what."""
        self._moved: Counter[str] = Counter()
        self._moved_by: Counter[int] = Counter()
        self._sides: dict[str, str] = {}
        self._meters: defaultdict[str | int, RateMeter] = defaultdict(RateMeter)

    def begin(self, job: Job) -> None:
        """A worker gets `job`."""
        self._note_side(job.source.registry, 0)
        for target in job.targets:
            self._note_side(target.repository.registry, 1)

    def tell(self, text: str) -> None:
        """Something went wrong, in words; the first line counts."""
        at = datetime.now().astimezone().isoformat(timespec="seconds")
        self.troubles.append((at, redact(text.partition("\n")[0])))

    def end_target(self, job: Job, position: int, result: TargetResult) -> None:
        """One target of `job` has an outcome."""
        registry = job.targets[position].repository.registry
        self._moved[registry] += max(job.received, result.bytes_moved)
        if result.error is not None:
            self.errors[job.source.registry if result.error.origin is Origin.SOURCE else registry] += 1

    def broke_off(self, job: Job, position: int | None) -> None:
        """A side of `job` broke off and goes on: its source, or the target at that position."""
        self.errors[job.source.registry if position is None else job.targets[position].repository.registry] += 1

    def end(self, running: RunningJob, results: Iterable[TargetResult]) -> None:
        """A job has ended, or its worker has; what was told of targets before counts no more."""
        job, most = running.job, running.job.received
        for position, result in enumerate(results):
            most = max(most, result.bytes_moved)
            if position not in running.told:
                self.end_target(job, position, result)
        self._moved[job.source.registry] += most
        self._moved_by[running.worker] += most

    def registries(
        self,
        running: Iterable[RunningJob],
        now: float,
        *,
        connections: Mapping[str, int | None],
        requests_per_s: Mapping[str, float],
        throttled: Callable[[str], str | None],
        down: Iterable[str],
    ) -> tuple[RegistryRow, ...]:
        """A row for each registry that blobs concern, sources first. Limits are those in force at `now`."""
        moved, in_flight = Counter(self._moved), Counter[str]()
        for one in running:
            job = one.job
            moved[job.source.registry] += job.received
            in_flight[job.source.registry] += 1
            for position, target in enumerate(job.targets):
                if position not in one.told:
                    moved[target.repository.registry] += job.received
                    in_flight[target.repository.registry] += 1
        return tuple(
            RegistryRow(
                name=name,
                side=self._sides.get(name, ""),
                bytes_per_s=self._rate(name, moved[name], now),
                in_flight=in_flight[name],
                connections=connections.get(name),
                requests_per_s=requests_per_s.get(name),
                errors=self.errors[name],
                throttled=throttled(name),
            )
            for name in dict.fromkeys((*self._sides, *down))
        )

    def workers(
        self,
        running: Iterable[RunningJob],
        now: float,
        *,
        held: Mapping[int, tuple[int, int]],
        restarts: Mapping[int, int],
    ) -> tuple[WorkerRow, ...]:
        """A row for each worker in `restarts`; `held` are their streamed and small jobs."""
        moved = Counter(self._moved_by)
        for one in running:
            moved[one.worker] += one.job.received
        for gone in [worker for worker in self._moved_by if worker not in restarts]:
            del self._moved_by[gone]
            self._meters.pop(gone, None)
        return tuple(
            WorkerRow(number, self._rate(number, moved[number], now), *held.get(number, (0, 0)), restarts=again)
            for number, again in restarts.items()
        )

    def _note_side(self, registry: str, side: int) -> None:
        known = self._sides.get(registry)
        is_source = side == 0 or known in ("source", "both")
        is_destination = side == 1 or known in ("destination", "both")
        self._sides[registry] = _SIDES[is_source, is_destination]

    def _rate(self, key: str | int, total: int, now: float) -> float:
        meter = self._meters[key]
        meter.update(now, total)
        return meter.bytes_per_s(now)
