"""The jobs that workers hold: what is known of each until it ends, and the record that is left of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from image_syncer.coordinator.load import Load
from image_syncer.telemetry import TransferRecord, TransferRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from image_syncer.coordinator.watchdog import Stuck, Watchdog, Watched
    from image_syncer.planning import Job, TargetResult

__all__ = ["RunningJob", "RunningJobs"]


class RunningJob(Struct):
    """One job, leased to `worker` at `since` (seconds of the loop's clock)."""

    worker: int
    job: Job
    since: float
    watched: Watched
    told: dict[int, TargetResult] = field(default_factory=dict)
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
        on_end: Callable[[TransferRecord, RunningJob, list[TargetResult]], None] | None = None,
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

    def record(self, worker: int, running: RunningJob, results: list[TargetResult], now: float, **waits: Any) -> None:
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


def _outcome_of(result: TargetResult) -> str:
    if result.arrival is not None:
        return result.arrival.value
    return "split off" if result.behind else "failed"
