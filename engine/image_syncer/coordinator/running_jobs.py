"""The jobs that workers hold: what is known of each until it ends, and the record that is left of it.

The load of registries and workers: what moves from and to each of them now, and what went wrong there so far.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from image_syncer.errors import Origin, redact
from image_syncer.telemetry import RateMeter, RegistryRow, TransferRecord, TransferRow, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from image_syncer.coordinator.watchdog import Stuck, Watchdog, Watched
    from image_syncer.planning import BlobOutcome, Job

__all__ = ["Load", "RunningJob", "RunningJobs"]


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

    def end_target(self, job: Job, position: int, result: BlobOutcome) -> None:
        """One target of `job` has an outcome."""
        registry = job.targets[position].repository.registry
        self._moved[registry] += max(job.received, result.bytes_moved)
        if result.error is not None:
            self.errors[job.source.registry if result.error.origin is Origin.SOURCE else registry] += 1

    def broke_off(self, job: Job, position: int | None) -> None:
        """A side of `job` broke off and goes on: its source, or the target at that position."""
        self.errors[job.source.registry if position is None else job.targets[position].repository.registry] += 1

    def end(self, running: RunningJob, results: Iterable[BlobOutcome]) -> None:
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


class RunningJob(Struct):
    """One job, leased to `worker` at `since` (seconds of the loop's clock)."""

    worker: int
    job: Job
    since: float
    watched: Watched
    told: dict[int, BlobOutcome] = field(default_factory=dict)
    """Targets, by position, that ended before the others, or were split off."""
    signs: int = 0
    source_resumes: int = 0
    destination_resumes: int = 0


class RunningJobs:
    """All of them. `on_record` gets a record of each that ends; its times count from `run_began_at`. `on_stuck(worker,
    job id, how it is stuck)` gives one up of which the worker tells no progress. `on_end` gets the record too, with the
    job and what became of its targets.
    """

    def __init__(
        self,
        run_began_at: float,
        on_record: Callable[[TransferRecord], None] | None,
        watchdog: Watchdog,
        on_stuck: Callable[[int, int, Stuck], bool],
        on_end: Callable[[TransferRecord, RunningJob, list[BlobOutcome]], None] | None = None,
    ) -> None:
        self._run_began_at = run_began_at
        self._on_record = on_record
        self._watchdog = watchdog
        self._on_stuck = on_stuck
        self._on_end = on_end
        self._jobs: dict[int, RunningJob] = {}
        self.load = Load()
        """What they are for registries and workers."""

    def __iter__(self) -> Iterator[RunningJob]:
        return iter(self._jobs.values())

    @property
    def bytes_received(self) -> int:
        """Bytes of unfinished blobs that have come from their sources."""
        return sum(running.job.received for running in self._jobs.values())

    def __len__(self) -> int:
        return len(self._jobs)

    def begin(self, worker: int, job: Job, now: float) -> None:
        """A worker gets `job`."""
        targets = ", ".join(str(target.repository) for target in job.targets)
        watched = self._watchdog.watch(
            f"blob {job.digest} from {job.source} to {targets}",
            f"worker {worker} moves it",
            lambda stuck: self._on_stuck(worker, job.id, stuck),
        )
        watched.excuse = self._watchdog.turn(*job.registries)
        self.load.begin(job)
        self._jobs[job.id] = RunningJob(worker, job, now, watched)

    def heard(self, signs: Mapping[str, int]) -> None:
        """What a worker says of its jobs, by their ids: numbers that change with every progress."""
        for job_id, number in signs.items():
            if (running := self._jobs.get(int(job_id))) is not None and running.signs != number:
                running.signs = number
                running.watched.sign()

    def get(self, job_id: int) -> RunningJob | None:
        """The job, unless it has ended."""
        return self._jobs.get(job_id)

    def end(self, job_id: int) -> RunningJob | None:
        """The job has ended; None where it had before."""
        running = self._jobs.pop(job_id, None)
        if running is not None:
            running.watched.leave()
        return running

    def slowest(self, most: int, now: float) -> tuple[TransferRow, ...]:
        """Those that have been under way for longest, at most so many."""
        rows = sorted(self._jobs.values(), key=lambda running: running.since)[:most]
        return tuple(
            TransferRow(
                digest=str(row.job.digest),
                source=str(row.job.source),
                destination=str(row.job.targets[0].repository),
                bytes_done=row.job.received,
                size_bytes=row.job.size,
                seconds=now - row.since,
                bytes_per_s=row.job.received / max(now - row.since, 1e-3),
            )
            for row in rows
        )

    def record(self, worker: int, running: RunningJob, results: list[BlobOutcome], now: float, **waits: Any) -> None:
        """Tell what became of a job that has ended; `waits` are further fields of its `TransferRecord`."""
        self.load.end(running, results)
        if self._on_record is None and self._on_end is None:
            return
        job = running.job
        record = TransferRecord(
            digest=str(job.digest),
            size_bytes=job.size,
            source=str(job.source),
            destinations=tuple(str(target.repository) for target in job.targets),
            worker=worker,
            began_s=running.since - self._run_began_at,
            ended_s=now - self._run_began_at,
            bytes_moved=sum(result.bytes_moved for result in results),
            outcomes=tuple(_outcome_of(result) for result in results),
            source_resumes=running.source_resumes,
            destination_resumes=running.destination_resumes,
            **waits,
        )
        if self._on_record is not None:
            self._on_record(record)
        if self._on_end is not None:
            self._on_end(record, running, results)


def _outcome_of(result: BlobOutcome) -> str:
    if result.arrival is not None:
        return result.arrival.value
    return "split off" if result.behind else "failed"
