"""Reports of jobs: what workers say of the blobs that they move is noted, counted, and told to the scheduler."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.resumes import Resumes
from image_syncer.planning import BlobOutcome
from image_syncer.telemetry import get_logger
from image_syncer.worker.messages import SideBroke

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.coordinator.mirror_reads import MirrorReads
    from image_syncer.coordinator.running_jobs import RunningJob, RunningJobs
    from image_syncer.coordinator.sessions import UploadSessions
    from image_syncer.errors import SyncError
    from image_syncer.planning import Decision, Scheduler
    from image_syncer.worker.messages import Beat, FellBehind, JobEnded, TargetEnded, UploadOpened

__all__ = ["JobReports"]

_log = get_logger(__name__)


class JobReports:
    """Takes them for the jobs in `running`, which workers hold; `clock` tells the time in seconds. Every method that
    returns decisions returns those of `scheduler` that follow.

    A target may end before its job does; what the job says of it then is not counted again.
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
        self.resumes = Resumes()
        self.requests: Counter[str] = Counter()
        """Of the workers, by kind."""
        self.moved_bytes = 0
        """Of blobs that have ended, over the wire."""

    def on_beat(self, worker: int, beat: Beat) -> list[Decision]:
        """How far `worker` is."""
        self.requests.update(beat.requests)
        self._mirrors.add_counts(beat.mirrored)
        self._running.heard(beat.signs)
        self._scheduler.progress(worker, {int(job): received for job, received in beat.received.items()})
        return self._scheduler.sample(self._clock())

    def on_fell_behind(self, worker: int, message: FellBehind) -> list[Decision]:
        """These targets get the blob in a job of their own."""
        _log.info("destinations split off", worker=worker, job=message.job_id, targets=message.targets)
        if (running := self._running.get(message.job_id)) is not None:
            for target in message.targets:
                self._end_session(running, target)
                running.told[target] = behind = BlobOutcome(None, behind=True)
                self._running.load.end_target(running.job, target, behind)
        return self._scheduler.split(worker, message.job_id, message.targets)

    def on_news(self, message: UploadOpened | SideBroke) -> None:
        """What happened to a job that goes on."""
        running = self._running.get(message.job_id)
        if running is None:
            return
        job, target = running.job, message.target
        if isinstance(message, SideBroke):
            running.source_resumes += target is None
            running.destination_resumes += target is not None
            self._running.load.broke_off(job, target)
            self.resumes.add(message)
            self._running.load.tell(f"blob {job.digest} broke off and goes on: {message.error.get('message', '')}")
            _log.info("goes on", digest=str(job.digest), idle=message.idle, **_loggable(message.error))
        elif target not in running.told:
            self._sessions.note(job.targets[message.target].repository, job.digest, message.url)

    def on_target_ended(self, worker: int, message: TargetEnded) -> list[Decision]:
        """One target has an outcome, while others of its job have none yet."""
        running = self._running.get(message.job_id)
        if running is None:
            return []
        target, outcome = message.target, message.outcome
        if not outcome.session_stays:
            self._end_session(running, target)
        running.told[target] = outcome
        self._running.load.end_target(running.job, target, outcome)
        self.moved_bytes += outcome.bytes_moved
        return self._scheduler.end_target(worker, message.job_id, target, outcome, self._clock())

    def on_job_ended(self, worker: int, message: JobEnded) -> list[Decision]:
        """Every target has an outcome."""
        self.requests.update(message.requests)
        self._mirrors.add_counts(message.mirrored)
        running = self._running.end(message.job_id)
        outcomes = list(message.outcomes)
        told = running.told if running is not None else {}
        self.moved_bytes += sum(outcome.bytes_moved for at, outcome in enumerate(outcomes) if at not in told)
        now = self._clock()
        if running is not None:
            self._tell_failures(running, outcomes)
            for target, outcome in enumerate(outcomes):
                if not outcome.session_stays:
                    self._end_session(running, target)
            self._running.record(
                worker,
                running,
                outcomes,
                now,
                source_waited_s=message.source_waited_s,
                destination_waited_s=message.destination_waited_s,
                pauses=message.pauses,
            )
        return self._scheduler.end(worker, message.job_id, outcomes, now)

    def on_worker_lost(self, worker: int, error: SyncError) -> list[Decision]:
        """`worker` is gone, and will report nothing more of what it held."""
        self._running.load.tell(str(error))
        for job in self._scheduler.jobs_of(worker):
            if (running := self._running.end(job.id)) is not None:
                lost = BlobOutcome(None, error=error)
                outcomes = [running.told.get(at, lost) for at in range(len(job.targets))]
                self._running.record(worker, running, outcomes, self._clock())
        return self._scheduler.lose(worker, error)

    def _tell_failures(self, running: RunningJob, outcomes: list[BlobOutcome]) -> None:
        for outcome in outcomes:
            if outcome.error is not None and not outcome.behind:
                # The images that need it say so at the end: on a terminal this would only repeat it.
                self._running.load.tell(f"blob {running.job.digest} not moved: {outcome.error}")
                _log.info("blob not moved", digest=str(running.job.digest), **_loggable(outcome.error.to_data()))

    def _end_session(self, running: RunningJob, target: int) -> None:
        """The worker has closed the upload session of this target, or given it up."""
        if target not in running.told:
            self._sessions.drop(running.job.targets[target].repository, running.job.digest)


def _loggable(error: dict[str, Any]) -> dict[str, Any]:
    """An error as fields of a log line, which has the digest for itself."""
    return {name: value for name, value in error.items() if name != "digest"}
