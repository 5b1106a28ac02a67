"""What workers report of their jobs, with the real scheduler and the real book of running jobs; no worker, no loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from image_syncer.discovery.registry_access import UploadSessions
from image_syncer.dispatch.running_jobs import JobReports, RunningJobs
from image_syncer.dispatch.watchdog import Watchdog
from image_syncer.errors import Origin, UnavailableError, WorkerError
from image_syncer.oci import Repository, digest_of
from image_syncer.scheduling import (
    Arrival,
    BlobLanded,
    BlobNeed,
    BlobOutcome,
    Lease,
    LeaseLimits,
    RetryPolicy,
    Scheduler,
)
from image_syncer.worker.protocol import Beat, FellBehind, JobEnded, SideBroke, TargetEnded, UploadOpened

if TYPE_CHECKING:
    from image_syncer.dispatch.watchdog import Stuck
    from image_syncer.scheduling import Decision, Job
    from image_syncer.telemetry import TransferRecord

WORKER = 1
BLOB = digest_of(b"blob")
SOURCE = Repository("source.example", "app")
NEAR, FAR = Repository("near.example", "app"), Repository("far.example", "app")
MOVED = BlobOutcome(Arrival.MOVED, 1000)
BROKEN = UnavailableError("it fell over", origin=Origin.DESTINATION)


class Lab:
    """A blob of 1,000 bytes on its way to two registries, in one job."""

    def __init__(self) -> None:
        self.now = 0.0
        self.records: list[TransferRecord] = []
        self.mirrored: list[Any] = []
        self.scheduler = Scheduler(LeaseLimits(4), RetryPolicy(tries=3, first_pause_s=2), lambda: 0.5)
        self.watchdog = Watchdog(60.0, on_hopeless=lambda _stuck: False)
        self.running = RunningJobs(
            0.0, self.watchdog, lambda _stuck: True, lambda record, *_: self.records.append(record)
        )
        self.sessions = UploadSessions()
        mirrors: Any = SimpleNamespace(add_counts=self.mirrored.append)
        self.reports = JobReports(self.scheduler, self.running, self.sessions, mirrors, lambda: self.now)
        self.scheduler.join(WORKER)
        needs = [BlobNeed(BLOB, 1000, SOURCE, target, number) for number, target in enumerate((NEAR, FAR))]
        self.job = self.begin(self.scheduler.want(needs))

    def _on_end(self, record: TransferRecord, *_: object) -> None:
        self.records.append(record)

    def begin(self, decisions: list[Decision]) -> Job:
        [lease] = [one for one in decisions if isinstance(one, Lease)]
        self.running.begin(lease.worker, lease.job, self.now)
        return lease.job


def landed(decisions: list[Decision]) -> list[int]:
    return [one.delivery for one in decisions if isinstance(one, BlobLanded)]


def test_a_job_that_ends_lands_its_blob_and_leaves_a_record() -> None:
    lab = Lab()
    lab.now = 3.0
    ended = JobEnded(lab.job.id, (MOVED, MOVED), {"get blob": 1}, source_waited_s=0.5, pauses=2, mirrored={"m": [7, 0]})
    assert landed(lab.reports.on_job_ended(WORKER, ended)) == [0, 1]
    [record] = lab.records
    assert (record.outcomes, record.ended_s, record.source_waited_s, record.pauses) == (("moved", "moved"), 3.0, 0.5, 2)
    assert (lab.reports.moved_bytes, lab.reports.requests, lab.mirrored) == (2000, {"get blob": 1}, [{"m": [7, 0]}])
    assert len(lab.running) == 0


def test_a_target_that_ended_before_its_job_is_counted_once() -> None:
    lab = Lab()
    assert landed(lab.reports.on_target_ended(WORKER, TargetEnded(lab.job.id, 0, MOVED))) == [0]
    assert lab.reports.moved_bytes == 1000
    assert landed(lab.reports.on_job_ended(WORKER, JobEnded(lab.job.id, (MOVED, MOVED)))) == [1]
    assert lab.reports.moved_bytes == 2000


def test_what_held_the_others_back_gets_a_job_of_its_own() -> None:
    lab = Lab()
    lab.reports.on_upload_opened(WORKER, UploadOpened(lab.job.id, 1, "https://far.example/session"))
    again = lab.begin(lab.reports.on_fell_behind(WORKER, FellBehind(lab.job.id, (1,))))
    assert [target.repository for target in again.targets] == [FAR]
    assert lab.sessions.urls == {}
    lab.reports.on_job_ended(WORKER, JobEnded(lab.job.id, (MOVED, BlobOutcome(None, behind=True))))
    assert lab.records[0].outcomes == ("moved", "split off")


def test_a_session_is_known_while_it_stands() -> None:
    lab = Lab()
    for target, place in enumerate(("near", "far")):
        lab.reports.on_upload_opened(WORKER, UploadOpened(lab.job.id, target, f"https://{place}.example/session"))
    assert lab.sessions.known(NEAR, BLOB) == "https://near.example/session"
    stays = BlobOutcome(None, 0, BROKEN, session_stays=True)
    lab.reports.on_job_ended(WORKER, JobEnded(lab.job.id, (MOVED, stays)))
    assert lab.sessions.urls == {(FAR, BLOB): "https://far.example/session"}


def test_no_session_is_noted_for_a_target_that_has_ended() -> None:
    lab = Lab()
    lab.reports.on_target_ended(WORKER, TargetEnded(lab.job.id, 0, MOVED))
    lab.reports.on_upload_opened(WORKER, UploadOpened(lab.job.id, 0, "https://near.example/late"))
    assert lab.sessions.urls == {}


def test_a_side_that_broke_off_is_counted() -> None:
    lab = Lab()
    lab.reports.on_side_broke(WORKER, SideBroke(lab.job.id, None, BROKEN.to_data(), idle=False))
    lab.reports.on_side_broke(WORKER, SideBroke(lab.job.id, 1, BROKEN.to_data(), idle=True))
    lab.reports.on_job_ended(WORKER, JobEnded(lab.job.id, (MOVED, MOVED)))
    assert lab.reports.resumes == {"source": 1, "destination": 1, "while idle": 1}
    assert (lab.records[0].source_resumes, lab.records[0].destination_resumes) == (1, 1)


def test_a_beat_tells_how_far_it_is() -> None:
    lab = Lab()
    lab.reports.on_beat(WORKER, Beat({"get blob": 2}, {str(lab.job.id): 400}, mirrored={"m": [400, 0]}))
    assert (lab.running.bytes_received, lab.reports.requests, lab.mirrored) == (400, {"get blob": 2}, [{"m": [400, 0]}])


def test_what_a_lost_worker_held_is_recorded_and_leased_again() -> None:
    lab = Lab()
    lab.reports.on_target_ended(WORKER, TargetEnded(lab.job.id, 0, MOVED))
    lab.scheduler.join(WORKER + 1)
    again = lab.begin(lab.reports.on_worker_lost(WORKER, WorkerError("it died")))
    assert [target.repository for target in again.targets] == [FAR]
    assert [record.outcomes for record in lab.records] == [("moved", "failed")]
    assert [running.job for running in lab.running] == [again]


def test_reports_of_jobs_that_are_over_change_nothing() -> None:
    lab = Lab()
    lab.reports.on_job_ended(WORKER, JobEnded(lab.job.id, (MOVED, MOVED)))
    assert lab.reports.on_target_ended(WORKER, TargetEnded(lab.job.id, 1, MOVED)) == []
    assert lab.reports.on_fell_behind(WORKER, FellBehind(lab.job.id, (1,))) == []
    lab.reports.on_side_broke(WORKER, SideBroke(lab.job.id, None, BROKEN.to_data(), idle=False))
    lab.reports.on_upload_opened(WORKER, UploadOpened(lab.job.id, 1, "https://far.example/late"))
    assert (lab.reports.moved_bytes, len(lab.records), lab.sessions.urls) == (2000, 1, {})
    assert lab.reports.resumes["source"] == 0


def test_a_job_without_progress_is_found_and_one_that_has_ended_is_not() -> None:
    lab = Lab()
    begun = f"blob {BLOB} from {SOURCE} to {NEAR}, {FAR}"
    found: list[Stuck] = []
    for second in range(200):
        if second == 50:
            lab.reports.on_beat(WORKER, Beat({}, {}, signs={str(lab.job.id): 7}))
        found += [stuck for stuck in lab.watchdog.look(float(second)) if stuck.watched.what == begun]
    assert [(stuck.quiet_s, stuck.strikes) for stuck in found] == [(60.0, 1), (90.0, 2), (120.0, 3)]
    assert lab.watchdog.stuck() == [f"{begun}: worker {WORKER} moves it"]
    lab.reports.on_job_ended(WORKER, JobEnded(lab.job.id, (MOVED, MOVED)))
    assert lab.watchdog.stuck() == []
