"""The transfers of a run: where the scheduler's decisions meet the worker processes.

Deliveries come in with the blobs that they need; leases go out to workers; what the workers report goes back through
the scheduler to the deliveries that wait.

Workers ask the coordinator for authorizations, since it alone has the passwords. Each request is a task.

Leases as workers are told them: where the blob is asked for, and how each of its destinations is reached.

The scheduler of a run: from what the user wants, and what the machine and the registries allow.

What every worker of a run is told first.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from image_syncer.coordinator.absent_blobs import AbsentBlobs
from image_syncer.coordinator.guard import give_up_job
from image_syncer.coordinator.job_reports import JobReports
from image_syncer.coordinator.mirror_reads import MirrorReads
from image_syncer.coordinator.pacing import Pacing
from image_syncer.coordinator.running_jobs import RunningJobs
from image_syncer.coordinator.sessions import UploadSessions
from image_syncer.coordinator.supervisor import Supervisor
from image_syncer.errors import SyncError
from image_syncer.planning import (
    MOST_LOSSES,
    BlobFailed,
    BlobLanded,
    BlobSet,
    Decision,
    Lease,
    Scheduler,
    StreamTuner,
    decide_policies,
    metered,
    split_connections,
)
from image_syncer.registry.capabilities import RegistryCapabilities
from image_syncer.telemetry import get_logger
from image_syncer.worker.messages import (
    AuthorizationGiven,
    AuthorizationWanted,
    Beat,
    FellBehind,
    JobEnded,
    Learnt,
    LeaseJob,
    LeaveAlone,
    Message,
    Place,
    Setup,
    SideBroke,
    TargetEnded,
    TargetPlace,
    UploadOpened,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import RateSchedule, RegistryBook, Settings
    from image_syncer.coordinator.delivery import Delivery
    from image_syncer.coordinator.meter import Meter
    from image_syncer.coordinator.running_jobs import RunningJob
    from image_syncer.coordinator.watchdog import Watchdog
    from image_syncer.coordinator.worker_source import WorkerSource
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.planning import BlobNeed, BlobOutcome, Breakers, Job, KnownBlobs, Resources
    from image_syncer.registry import Endpoint
    from image_syncer.telemetry import TransferRecord, TransferRow

__all__ = ["AuthorizationRequests", "Leases", "Transfers", "new_scheduler", "worker_setup"]


def worker_setup(settings: Settings, resources: Resources, registries: RegistryBook, *, tallied: bool) -> Setup:
    """From what the user wants, and what the machine allows."""
    rates = {name: one.rate for name, one in registries.limits().items() if one.rate is not None}
    return Setup(
        window_bytes=resources.window_bytes,
        streams=resources.streams,
        small_blob_bytes=resources.small_bytes,
        small_blobs=resources.small_streams,
        connect_timeout_s=settings.connect_timeout_s,
        stall_timeout_s=settings.stall_timeout_s,
        answer_timeout_s=settings.answer_timeout_s,
        fan_out_lag_s=settings.fan_out_lag_s,
        resume=decide_policies(settings).resume,
        metered=metered(settings.rate, rates),
        tallied=tallied,
    )


def new_scheduler(
    settings: Settings,
    resources: Resources,
    registries: RegistryBook,
    endpoints: EndpointBook,
    capabilities: RegistryCapabilities,
    *,
    known_blobs: KnownBlobs | None,
    breakers: Breakers | None,
) -> Scheduler:
    """Blobs of which `known_blobs` knows are there already. What `capabilities` says of a registry by the time that a
    blob is needed there decides what is mounted.
    """
    return Scheduler(
        streams=resources.streams,
        workers=resources.first_workers,
        most_workers=resources.workers,
        proc=resources.proc,
        retry=decide_policies(settings).blob,
        chance=random.random,
        limit_of=lambda registry: split_connections(registries.host_settings(registry).max_connections)[1],
        small_streams=resources.small_streams,
        small_bytes=resources.small_bytes,
        tuner=StreamTuner(resources.streams),
        blobs=BlobSet(known_blobs, lambda registry: capabilities.mounts_at(endpoints.known(registry))),
        breakers=breakers,
    )


class Leases:
    """Writes them, from what is known at that moment."""

    def __init__(
        self, endpoints: EndpointBook, sessions: UploadSessions, absent: AbsentBlobs, mirrors: MirrorReads
    ) -> None:
        self._endpoints = endpoints
        self._sessions = sessions
        self._absent = absent
        self._mirrors = mirrors

    def write(self, job: Job) -> LeaseJob:
        """The lease of `job`."""
        return LeaseJob(
            job.id,
            str(job.digest),
            job.size,
            Place.of(self._endpoint_of(job.source.registry), job.source),
            tuple(
                TargetPlace(
                    Place.of(self._endpoint_of(target.repository.registry), target.repository),
                    target.mount_from,
                    self._sessions.known(target.repository, job.digest),
                    self._absent.take(target.repository, job.digest),
                )
                for target in job.targets
            ),
            may_split=job.may_split,
            # Whoever tries again after an error asks no mirror, which may have been to blame.
            mirrors=() if any(target.tries for target in job.targets) else self._mirrors.known_places(job.source),
        )

    def _endpoint_of(self, registry: str) -> Endpoint:
        endpoint = self._endpoints.known(registry)
        if endpoint is None:
            raise RuntimeError(f"a blob is leased, and nobody has spoken to {registry} yet")
        return endpoint


class AuthorizationRequests:
    """Those that are under way; each is answered to the worker that asked, if it is still there."""

    def __init__(self, client: RegistryClient, supervisor: Supervisor) -> None:
        self._client = client
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, worker: int, wanted: AuthorizationWanted) -> None:
        """Ask for what `worker` wants."""
        task = self._loop.create_task(self._authorize(worker, wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Nobody waits for an answer any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _authorize(self, worker: int, wanted: AuthorizationWanted) -> None:
        authorizer = self._client.authorizer
        try:
            if wanted.renew:
                given = await authorizer.renew(
                    wanted.endpoint, wanted.repository, wanted.scopes, wanted.rejected, wanted.challenges
                )
            else:
                given = await authorizer.authorize(wanted.endpoint, wanted.repository, wanted.scopes)
        except SyncError as error:
            answer = AuthorizationGiven(wanted.request_id, None, 0.0, error.to_data())
        else:
            answer = AuthorizationGiven(wanted.request_id, given.value, given.usable_s)
        self._supervisor.send(worker, answer)


_log = get_logger(__name__)


class Transfers:
    """Moves blobs for deliveries through worker processes; a `PoolListener`."""

    def __init__(
        self,
        client: RegistryClient,
        endpoints: EndpointBook,
        registries: RegistryBook,
        resources: Resources,
        settings: Settings,
        *,
        watchdog: Watchdog,
        known_blobs: KnownBlobs | None = None,
        sessions: UploadSessions | None = None,
        capabilities: RegistryCapabilities | None = None,
        breakers: Breakers | None = None,
        mirrors: MirrorReads | None = None,
        on_transfer: Callable[[TransferRecord], None] | None = None,
        run_began_at: float = 0.0,
        meter: Meter | None = None,
        workers: WorkerSource | None = None,
    ) -> None:
        """`on_transfer` gets a record of each job that ends; its times count from `run_began_at` (loop time). `meter`
        counts what happens, for observers of the run. `workers` is where they come from.
        """
        self._meter = meter
        self._client = client
        self._endpoints = endpoints
        self.mirrors = mirrors or MirrorReads(client, endpoints, registries)
        self._loop = asyncio.get_running_loop()
        self._capabilities = capabilities or RegistryCapabilities()
        self._scheduler = new_scheduler(
            settings, resources, registries, endpoints, self._capabilities, known_blobs=known_blobs, breakers=breakers
        )
        if breakers is not None:
            # Not at once: it may be the scheduler itself that is just deciding.
            breakers.listen(lambda _breaker: self._loop.call_soon(self._on_timer))
        setup = worker_setup(settings, resources, registries, tallied=meter is not None)
        self._supervisor = Supervisor(resources.workers, setup, self, silence_s=settings.silence_s, source=workers)
        self._sessions = sessions or UploadSessions()
        self.absent = AbsentBlobs()
        self._leases = Leases(endpoints, self._sessions, self.absent, self.mirrors)
        self.pacing = Pacing(
            client.throttle,
            self._supervisor,
            self._scheduler,
            longest_wait_s=settings.longest_wait_s,
            began_at=run_began_at,
            requests=lambda: self.reports.requests.total() + client.transport.requests.total(),
            limits=registries.limits(),
            rate=settings.rate,
        )
        client.transport.budgets = self.pacing.bytes.own_budgets(client.transport.driver)
        self._deliveries: dict[int, Delivery] = {}
        self._needs: list[BlobNeed] = []
        self._running = RunningJobs(
            run_began_at,
            on_transfer,
            watchdog,
            give_up_job(self._supervisor),
            None if meter is None else self._tell_transfer,
        )
        self.reports = JobReports(self._scheduler, self._running, self._sessions, self.mirrors, self._loop.time)
        self._authorizations = AuthorizationRequests(client, self._supervisor)
        self._on: dict[type[Message], Callable[[int, Any], None]] = {
            Beat: self._on_beat,
            JobEnded: self._on_job_ended,
            FellBehind: self._on_fell_behind,
            TargetEnded: self._on_target_ended,
            UploadOpened: self._on_news,
            SideBroke: self._on_news,
            Learnt: self._on_learnt,
            AuthorizationWanted: self._authorizations.begin,
            **self.pacing.on,
        }
        """What is done with each message of a worker; those of its life are the supervisor's."""
        self._timer: asyncio.TimerHandle | None = None
        self._exhausted: SyncError | None = None
        self._started = False

    @property
    def scheduler(self) -> Scheduler:
        """What is wanted, and who moves it."""
        return self._scheduler

    @property
    def bytes_in_flight(self) -> int:
        """Bytes of unfinished blobs that have come from their sources."""
        return self._running.bytes_received

    @property
    def deliveries(self) -> int:
        """Images on their way to a destination: their blobs are wanted, or their manifests are being put."""
        return len(self._deliveries)

    def start(self) -> None:
        """Start the workers, if that was not done before: a run in which nothing changed needs none."""
        if not self._started:
            self._started = True
            self._supervisor.start()
            self._supervisor.grow(self._scheduler.workers_wanted)

    async def stop(self, grace_s: float) -> None:
        """Lease nothing more, and end the workers."""
        self._scheduler.stop()
        if self._timer is not None:
            self._timer.cancel()
        await self._supervisor.stop(grace_s)
        await self._authorizations.stop()

    async def cancel_uploads(self) -> None:
        """Give up what workers that died have left open and nobody went on with."""
        await self._sessions.cancel_left(self._client, self._endpoints)

    def hold(self, *, held: bool) -> None:
        """Begin no further blobs while they are held; those under way end."""
        self._carry_out(self._scheduler.hold(held=held))

    def change_rate(self, rate: RateSchedule | None) -> None:
        """All together may move so many bytes a second from now on; None: any number."""
        self.pacing.change_rate(rate)
        self._client.transport.budgets = self.pacing.bytes.own_budgets(self._client.transport.driver)

    def bind_streams(self, most: int) -> None:
        """A worker may stream so many blobs at a time from now on, within what there was room for at the start."""
        self._carry_out(self._scheduler.bind_streams(most, self._loop.time()))

    def kill(self) -> None:
        """End the workers at once."""
        self._supervisor.kill_all()

    def deliver(self, delivery: Delivery, needs: list[BlobNeed]) -> None:
        """Bring what `delivery` needs to its destination; `delivery.settled()` tells when it is there."""
        if self._exhausted is not None:
            delivery.on_failed(self._exhausted.copy())
            return
        self._deliveries[delivery.id] = delivery
        if not self._needs:
            # The image's other destinations come in this turn of the loop too, and share the downloads.
            self._loop.call_soon(self._want)
        self._needs += needs

    def release(self, delivery: Delivery) -> None:
        """`delivery` waits no more; blobs that nobody else wants need not be moved."""
        if self._deliveries.pop(delivery.id, None) is not None:
            self._scheduler.drop(delivery.id)

    def tell_measures(self) -> None:
        """To be called as often as observers are to be told what was counted."""
        if self._meter is not None:
            self._meter.tell(self._supervisor, self._scheduler, self.pacing, self.reports.resumes, len(self._running))

    def leave_alone(self, registry: str, seconds: float) -> None:
        """A registry asked the coordinator for a pause: the workers keep it too."""
        self.pacing.left_alone(registry, seconds)
        self._supervisor.broadcast(LeaveAlone(registry, seconds))

    @property
    def running(self) -> RunningJobs:
        """The jobs that workers hold, and the load that they are."""
        return self._running

    @property
    def restarts(self) -> dict[int, int]:
        """The workers that there are, by number, and how many were there in the place of each before."""
        return self._supervisor.restarts

    def slowest(self, most: int) -> tuple[TransferRow, ...]:
        """The transfers that have been under way for longest."""
        return self._running.slowest(most, self._loop.time())

    def on_worker_ready(self, worker: int) -> None:
        """See `PoolListener`."""
        self.pacing.welcome(worker)
        for fact in self._capabilities.all():
            self._supervisor.send(worker, Learnt(*fact))
        self._carry_out(self._scheduler.join(worker))

    def on_worker_lost(self, worker: int, error: SyncError) -> None:
        """See `PoolListener`."""
        self.pacing.forget(worker)
        quarantine = self._scheduler.quarantine
        before = len(quarantine)
        self._carry_out(self.reports.on_worker_lost(worker, error))
        if found := len(quarantine) - before:
            _log.warning("blobs that end their workers are left out", blobs=found, worker=worker)
            self._supervisor.forgive(found * MOST_LOSSES)

    def on_worker_message(self, worker: int, message: Message) -> None:
        """See `PoolListener`."""
        self._on[type(message)](worker, message)  # a message for a worker is an internal error

    def _on_beat(self, worker: int, message: Beat) -> None:
        self.pacing.note_answers(message.answer_s)
        if self._meter is not None:
            self._meter.on_beat(message, self._running)
        self._carry_out(self.reports.on_beat(worker, message))

    def _on_job_ended(self, worker: int, message: JobEnded) -> None:
        if self._meter is not None:
            self._meter.on_job_ended(message)
        self._carry_out(self.reports.on_job_ended(worker, message))

    def _on_fell_behind(self, worker: int, message: FellBehind) -> None:
        self._carry_out(self.reports.on_fell_behind(worker, message))

    def _on_target_ended(self, worker: int, message: TargetEnded) -> None:
        self._carry_out(self.reports.on_target_ended(worker, message))

    def _on_news(self, _worker: int, message: UploadOpened | SideBroke) -> None:
        self.reports.on_news(message)

    def on_pool_exhausted(self, error: SyncError) -> None:
        """See `PoolListener`."""
        self._exhausted = error
        for delivery in list(self._deliveries.values()):
            delivery.on_failed(error.copy())

    def _want(self) -> None:
        needs, self._needs = self._needs, []
        self._carry_out(self._scheduler.want(needs))

    def _on_learnt(self, worker: int, message: Learnt) -> None:
        if self._capabilities.note(message.registry, message.fact, message.value):
            _log.info("learnt", registry=message.registry, fact=message.fact, value=message.value)
            self._supervisor.broadcast(message, but=worker)

    def _tell_transfer(self, record: TransferRecord, running: RunningJob, results: list[BlobOutcome]) -> None:
        if self._meter is not None:
            self._meter.on_transfer(record, running, results, self._deliveries)

    def _carry_out(self, decisions: list[Decision]) -> None:
        if self._started:
            self._supervisor.grow(self._scheduler.workers_wanted)
        for decision in decisions:
            if isinstance(decision, Lease):
                self._running.begin(decision.worker, decision.job, self._loop.time())
                if self._meter is not None:
                    self._meter.on_lease(decision.job, self._deliveries)
                self._supervisor.send(decision.worker, self._leases.write(decision.job))
            elif isinstance(decision, BlobLanded):
                if (delivery := self._deliveries.get(decision.delivery)) is not None:
                    delivery.on_landed(decision)
            elif isinstance(decision, BlobFailed) and (delivery := self._deliveries.get(decision.delivery)) is not None:
                delivery.on_failed(decision.error.copy().located(digest=str(decision.digest)))
        self._set_timer()

    def _set_timer(self) -> None:
        wake_at = self._scheduler.wake_at
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_at is not None:
            self._timer = self._loop.call_at(wake_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._carry_out(self._scheduler.tick(self._loop.time()))
