"""The jobs that workers hold: what is known of each, what workers report of it, and the load that all of them are."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from datetime import datetime
from typing import TYPE_CHECKING, Any

from image_syncer.dispatch.watchdog import Watched
from image_syncer.errors import Origin, redact
from image_syncer.scheduling import BlobOutcome
from image_syncer.telemetry import RateMeter, RegistryRow, TransferRecord, TransferRow, WorkerRow, get_logger
from image_syncer.worker.protocol import FellBehind, JobEnded, SideBroke, TargetEnded, UploadOpened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from image_syncer.discovery.manifest_reads import MirrorReads
    from image_syncer.discovery.registry_access import UploadSessions
    from image_syncer.dispatch.watchdog import Stuck, Watchdog
    from image_syncer.errors import SyncError
    from image_syncer.scheduling import Decision, Job, Scheduler
    from image_syncer.worker.protocol import Beat, Message


MOST_TROUBLES = 50
"""That are kept to be looked at during the run; the report and the logs have all."""

_log = get_logger(__name__)


class RunningJob(Watched):
    """One job, leased to `worker` at `since` (seconds of the loop's clock)."""

    __slots__ = ("destination_resumes", "ended_targets", "job", "number", "since", "source_resumes", "worker")

    def __init__(
        self, watchdog: Watchdog, worker: int, job: Job, since: float, on_stuck: Callable[[Stuck], bool]
    ) -> None:
        super().__init__(watchdog, "", f"worker {worker} moves it", on_stuck)
        self.worker = worker
        self.job = job
        self.since = since
        self.ended_targets: dict[int, BlobOutcome] = {}
        """Targets, by position, that ended before the others, or were split off."""
        self.number = 0
        """The last one of its worker, which changes with every progress."""
        self.source_resumes = self.destination_resumes = 0

    @property
    def what(self) -> str:
        """See `Watched`."""
        targets = ", ".join(str(target.repository) for target in self.job.targets)
        return f"blob {self.job.digest} from {self.job.source} to {targets}"


class RunningJobs:
    """All running jobs, a `WatchedGroup`. `on_stuck` gives up a job without progress. `on_end` gets a record of each
    that ends, with times that count from `run_began_at`, the job, and the outcomes of its targets.
    """

    def __init__(
        self,
        run_began_at: float,
        watchdog: Watchdog,
        on_stuck: Callable[[Stuck], bool],
        on_end: Callable[[TransferRecord, RunningJob, list[BlobOutcome]], None] | None = None,
    ) -> None:
        self._run_began_at = run_began_at
        self._watchdog = watchdog
        self._on_stuck = on_stuck
        self._on_end = on_end
        self._excuses: dict[tuple[str, ...], Callable[[float], bool]] = {}
        """By the registries of a job."""
        self.by_id: dict[int, RunningJob] = {}
        self.changes = 0
        """How many began or ended."""
        self.load = Load()
        """The load of registries and workers."""
        watchdog.include(self)

    def __iter__(self) -> Iterator[RunningJob]:
        return iter(self.by_id.values())

    @property
    def bytes_received(self) -> int:
        """Bytes of unfinished blobs that have come from their sources."""
        return sum(running.job.received for running in self)

    def __len__(self) -> int:
        return len(self.by_id)

    def begin(self, worker: int, job: Job, now: float) -> None:
        """A worker gets `job`."""
        running = self.by_id[job.id] = RunningJob(self._watchdog, worker, job, now, self._on_stuck)
        self.changes += 1
        registries = job.registries
        excuse = self._excuses.get(registries)
        if excuse is None:  # the first from and to these
            excuse = self._excuses[registries] = self._watchdog.turn(*registries)
            self.load.begin(registries)
        running.excuse = excuse

    def note_signs(self, signs: Mapping[str, int]) -> None:
        """Note a worker's numbers by job, which change with every progress."""
        for job_id, number in signs.items():
            if (running := self.by_id.get(int(job_id))) is not None and running.number != number:
                running.number = number
                running.sign()

    def end(self, running: RunningJob, results: list[BlobOutcome], now: float, message: JobEnded | None = None) -> None:
        """A job has ended, with an outcome for each target and the `message` of its worker; without one, the worker is
        lost.
        """
        del self.by_id[running.job.id]
        self.changes += 1
        self.load.end(running, results)
        if self._on_end is not None:
            self._on_end(self._record(running, results, now, message), running, results)

    def slowest(self, most: int, now: float) -> tuple[TransferRow, ...]:
        """The `most` jobs that have been under way for longest."""
        rows = sorted(self, key=lambda running: running.since)[:most]
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

    def _record(
        self, running: RunningJob, results: list[BlobOutcome], now: float, message: JobEnded | None
    ) -> TransferRecord:
        job = running.job
        waits: dict[str, Any] = {}
        if message is not None:
            waits = {name: getattr(message, name) for name in ("source_waited_s", "destination_waited_s", "pauses")}
        return TransferRecord(
            digest=str(job.digest),
            size_bytes=job.size,
            source=str(job.source),
            destinations=tuple(str(target.repository) for target in job.targets),
            worker=running.worker,
            began_s=running.since - self._run_began_at,
            ended_s=now - self._run_began_at,
            bytes_moved=sum(result.bytes_moved for result in results),
            outcomes=tuple(_outcome_of(result) for result in results),
            source_resumes=running.source_resumes,
            destination_resumes=running.destination_resumes,
            **waits,
        )


class Load:
    """The load of registries and workers: bytes per second, jobs in flight, and errors. A blob that goes to several
    destinations counts once at its source.
    """

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        """Tries of blobs that failed or broke off, by registry."""
        self.troubles: deque[tuple[str, str]] = deque(maxlen=MOST_TROUBLES)
        """The last things that went wrong: when (ISO 8601, local time with its offset), and what."""
        self._moved: Counter[str] = Counter()
        self._moved_by: Counter[int] = Counter()
        self._sides: dict[str, str] = {}
        self._meters: defaultdict[str | int, RateMeter] = defaultdict(RateMeter)

    def begin(self, registries: Iterable[str]) -> None:
        """Jobs from the first of `registries` to the others begin."""
        for position, registry in enumerate(registries):
            side = "destination" if position else "source"
            if self._sides.setdefault(registry, side) != side:
                self._sides[registry] = "both"

    def tell(self, text: str) -> None:
        """Something went wrong, in words; the first line is kept."""
        at = datetime.now().astimezone().isoformat(timespec="seconds")
        self.troubles.append((at, redact(text.partition("\n")[0])))

    def end_target(self, job: Job, position: int, result: BlobOutcome) -> None:
        """One target of `job` has an outcome."""
        registry = job.targets[position].repository.registry
        self._moved[registry] += max(job.received, result.bytes_moved)
        if result.error is not None:
            self.note_error(job, None if result.error.origin is Origin.SOURCE else position)

    def note_error(self, job: Job, position: int | None) -> None:
        """A side of `job` failed or broke off: its source, or the target at that position."""
        self.errors[job.source.registry if position is None else job.targets[position].repository.registry] += 1

    def end(self, running: RunningJob, results: Iterable[BlobOutcome]) -> None:
        """A job has ended, or its worker has; targets that ended before are not counted again."""
        job, moved, most = running.job, self._moved, running.job.received
        for position, result in enumerate(results):
            most = max(most, result.bytes_moved)
            if position in running.ended_targets:
                continue
            moved[job.targets[position].repository.registry] += max(job.received, result.bytes_moved)
            if result.error is not None:
                self.note_error(job, None if result.error.origin is Origin.SOURCE else position)
        moved[job.source.registry] += most
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
                if position not in one.ended_targets:
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

    def _rate(self, key: str | int, total: int, now: float) -> float:
        meter = self._meters[key]
        meter.update(now, total)
        return meter.bytes_per_s(now)


class JobReports:
    """Handles messages about the jobs in `running`; `clock` gives seconds. `on` has the handler of each kind of
    message, which returns the decisions of `scheduler` that follow.

    A target may end before its job does; the end of the job does not count it again.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        running: RunningJobs,
        sessions: UploadSessions,
        mirrors: MirrorReads,
        clock: Callable[[], float],
    ) -> None:
        self._scheduler = scheduler
        self._running = running
        self._sessions = sessions
        self._mirrors = mirrors
        self._clock = clock
        self.on: dict[type[Message], Callable[[int, Any], list[Decision]]] = {
            FellBehind: self.on_fell_behind,
            UploadOpened: self.on_upload_opened,
            SideBroke: self.on_side_broke,
            TargetEnded: self.on_target_ended,
            JobEnded: self.on_job_ended,
        }
        self.resumes = {"source": 0, "destination": 0, "while idle": 0}
        """How often a side of a transfer broke off and was resumed, by side; and how often a side of either kind was
        idle because it waited for the other.
        """
        self.requests: Counter[str] = Counter()
        """Of the workers, by kind."""
        self.moved_bytes = 0
        """Of blobs that have ended, over the wire."""

    def on_beat(self, worker: int, beat: Beat) -> list[Decision]:
        """How far `worker` is."""
        self.requests.update(beat.requests)
        self._mirrors.add_counts(beat.mirrored)
        self._running.note_signs(beat.signs)
        self._scheduler.progress(worker, {int(job): received for job, received in beat.received.items()})
        return self._scheduler.sample(self._clock())

    def on_fell_behind(self, worker: int, message: FellBehind) -> list[Decision]:
        """Some targets get the blob in a job of their own."""
        _log.info("destinations split off", worker=worker, job=message.job_id, targets=message.targets)
        if (running := self._running.by_id.get(message.job_id)) is not None:
            for target in message.targets:
                self._end_session(running, target)
                running.ended_targets[target] = behind = BlobOutcome(None, behind=True)
                self._running.load.end_target(running.job, target, behind)
        return self._scheduler.split(worker, message.job_id, message.targets)

    def on_upload_opened(self, _worker: int, message: UploadOpened) -> list[Decision]:
        """A target has an upload session."""
        running = self._running.by_id.get(message.job_id)
        if running is not None and message.target not in running.ended_targets:
            job = running.job
            self._sessions.note(job.targets[message.target].repository, job.digest, message.url)
        return []

    def on_side_broke(self, _worker: int, message: SideBroke) -> list[Decision]:
        """One side of a job broke off, and is resumed."""
        running = self._running.by_id.get(message.job_id)
        if running is not None:
            job, load = running.job, self._running.load
            running.source_resumes += message.target is None
            running.destination_resumes += message.target is not None
            load.note_error(job, message.target)
            self.resumes["source" if message.target is None else "destination"] += 1
            self.resumes["while idle"] += message.idle
            load.tell(f"blob {job.digest} broke off and continues: {message.error.get('message', '')}")
            _log.info("goes on", digest=str(job.digest), idle=message.idle, **_loggable(message.error))
        return []

    def on_target_ended(self, worker: int, message: TargetEnded) -> list[Decision]:
        """One target has an outcome, while others of its job have none yet."""
        running = self._running.by_id.get(message.job_id)
        if running is None:
            return []
        target, outcome = message.target, message.outcome
        if not outcome.session_stays:
            self._end_session(running, target)
        running.ended_targets[target] = outcome
        self._running.load.end_target(running.job, target, outcome)
        self.moved_bytes += outcome.bytes_moved
        return self._scheduler.end_target(worker, message.job_id, target, outcome, self._clock())

    def on_job_ended(self, worker: int, message: JobEnded) -> list[Decision]:
        """Every target has an outcome."""
        for kind, count in message.requests.items():
            self.requests[kind] += count
        if message.mirrored:
            self._mirrors.add_counts(message.mirrored)
        running = self._running.by_id.get(message.job_id)
        outcomes, now = list(message.outcomes), self._clock()
        for target, outcome in enumerate(outcomes):
            if running is None or target not in running.ended_targets:
                self.moved_bytes += outcome.bytes_moved
            if running is None:
                continue
            if outcome.error is not None and not outcome.behind:
                # The images that need it say so at the end: on a terminal this would only repeat it.
                self._running.load.tell(f"blob {running.job.digest} not moved: {outcome.error}")
                _log.info("blob not moved", digest=str(running.job.digest), **_loggable(outcome.error.to_data()))
            if self._sessions.urls and not outcome.session_stays:
                self._end_session(running, target)
        if running is not None:
            self._running.end(running, outcomes, now, message)
        return self._scheduler.end(worker, message.job_id, outcomes, now)

    def on_worker_lost(self, worker: int, error: SyncError) -> list[Decision]:
        """`worker` is gone, with the jobs that it held."""
        self._running.load.tell(str(error))
        for job in self._scheduler.jobs_of(worker):
            if (running := self._running.by_id.get(job.id)) is not None:
                lost = BlobOutcome(None, error=error)
                outcomes = [running.ended_targets.get(at, lost) for at in range(len(job.targets))]
                self._running.end(running, outcomes, self._clock())
        return self._scheduler.lose(worker, error)

    def _end_session(self, running: RunningJob, target: int) -> None:
        """The worker has closed the upload session of this target, or given it up."""
        if target not in running.ended_targets:
            self._sessions.drop(running.job.targets[target].repository, running.job.digest)


def _outcome_of(result: BlobOutcome) -> str:
    if result.arrival is not None:
        return result.arrival.value
    return "split off" if result.behind else "failed"


def _loggable(error: dict[str, Any]) -> dict[str, Any]:
    """The fields of an error for a log line, without the digest, which the line has already."""
    return {name: value for name, value in error.items() if name != "digest"}
