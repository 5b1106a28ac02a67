"""The transfers of a run: the scheduler's decisions, carried out by worker processes.

Deliveries come in with the blobs that they need; leases go out to workers; what workers report of them
(`JobReports`) goes through the scheduler back to the deliveries that wait.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from image_syncer.dispatch.pacing import Pacing
from image_syncer.dispatch.running_jobs import JobReports, RunningJob, RunningJobs
from image_syncer.dispatch.supervisor import Supervisor
from image_syncer.dispatch.watchdog import stalled
from image_syncer.errors import SyncError
from image_syncer.scheduling import (
    MOST_LOSSES,
    Arrival,
    BlobFailed,
    BlobLanded,
    BlobSet,
    ConnectionLimits,
    Decision,
    Lease,
    Scheduler,
    StreamTuner,
    decide_policies,
    metered,
    split_connections,
)
from image_syncer.telemetry import get_logger
from image_syncer.values import Value
from image_syncer.worker.protocol import (
    AbandonJob,
    AuthorizationGiven,
    AuthorizationWanted,
    Beat,
    Learnt,
    LeaseJob,
    Message,
    Place,
    Setup,
    TargetPlace,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import RateSchedule, RegistryBook, Settings
    from image_syncer.discovery.manifest_reads import MirrorReads
    from image_syncer.discovery.registry_access import UploadSessions
    from image_syncer.dispatch.meter import Meter
    from image_syncer.dispatch.supervisor import WorkerSource
    from image_syncer.dispatch.watchdog import Stuck, Watchdog
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry.capabilities import RegistryCapabilities
    from image_syncer.scheduling import BlobNeed, BlobOutcome, Breakers, Job, KnownBlobs, Resources
    from image_syncer.telemetry import TransferRecord


class Delivery:
    """The blobs of one image that a destination needs, until all of them are there."""

    def __init__(self, identity: int, missing: set[Digest], image: tuple[str, str] = ("", "")) -> None:
        self.image = image
        """Its source and its destination, by name."""
        self._how: dict[Digest, Arrival] = {}
        self.bytes_moved = 0
        self.tries = 1
        self.begin(identity, missing)

    def begin(self, identity: int, missing: set[Digest]) -> None:
        """Wait for the blobs `missing`, under a new `identity`. May be called again, where blobs that should have been
        there were not.
        """
        self.id = identity
        self._missing = missing
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not missing:
            self._settled.set_result(None)

    async def settled(self) -> None:
        """Returns when every blob is at the destination; raises the `SyncError` of the first that cannot be."""
        await self._settled

    def on_landed(self, landed: BlobLanded) -> None:
        """A blob is there."""
        if landed.digest not in self._missing:
            return
        self._missing.discard(landed.digest)
        # A blob that was sent, and is needed again, is present now; it counts as sent.
        if self._how.get(landed.digest, Arrival.PRESENT) is Arrival.PRESENT:
            self._how[landed.digest] = landed.arrival
        self.bytes_moved += landed.bytes_moved
        self.tries = max(self.tries, landed.tries)
        if not self._missing and not self._settled.done():
            self._settled.set_result(None)

    def on_failed(self, error: SyncError) -> None:
        """A blob cannot be brought there."""
        if not self._settled.done():
            self._settled.set_exception(error)

    def facts(self) -> dict[str, Any]:
        """What was moved, for the report."""
        arrivals = Counter(self._how.values())
        return {
            "bytes_moved": self.bytes_moved,
            "blobs_moved": arrivals[Arrival.MOVED],
            "blobs_mounted": arrivals[Arrival.MOUNTED],
            "blobs_present": arrivals[Arrival.PRESENT],
        }


MOST_ABSENT = 50_000
"""More than the blobs of all images under way have, as a rule; beyond, all are forgotten, which costs some requests."""

KILLED_AT = 2
"""The strike at which a worker is killed for a job that it does not give up."""

_log = get_logger(__name__)


class TransferContext(Value, frozen=True):
    """What the transfers of a run work with. Times in records count from `began_at` (loop time)."""

    client: RegistryClient
    endpoints: EndpointBook
    registries: RegistryBook
    resources: Resources
    settings: Settings
    watchdog: Watchdog
    known_blobs: KnownBlobs
    sessions: UploadSessions
    capabilities: RegistryCapabilities
    breakers: Breakers
    mirrors: MirrorReads
    began_at: float


class AbsentBlobs:
    """Blobs that a registry has just said it lacks. The first lease of each says so, and its worker need not ask; a
    second try asks.
    """

    def __init__(self) -> None:
        self.blobs: set[tuple[Repository, Digest]] = set()

    def add(self, repository: Repository, digest: Digest) -> None:
        """`repository` does not have the blob."""
        if len(self.blobs) >= MOST_ABSENT:
            self.blobs.clear()
        self.blobs.add((repository, digest))

    def take(self, repository: Repository, digest: Digest) -> bool:
        """Whether `repository` lacks the blob; True only once."""
        key = repository, digest
        if key not in self.blobs:
            return False
        self.blobs.remove(key)
        return True


def worker_setup(context: TransferContext, *, tallied: bool) -> Setup:
    """The first message to every worker."""
    settings, resources = context.settings, context.resources
    rates = {name: one.rate for name, one in context.registries.limits().items() if one.rate is not None}
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


def new_scheduler(context: TransferContext) -> Scheduler:
    """The scheduler of a run. The capabilities of a registry decide what is mounted, as they are known when a blob is
    needed there.
    """
    resources, endpoints = context.resources, context.endpoints
    return Scheduler(
        resources.lease_limits,
        decide_policies(context.settings).blob,
        random.random,
        connections=ConnectionLimits(
            lambda registry: split_connections(context.registries.host_settings(registry).max_connections)[1]
        ),
        tuner=StreamTuner(resources.streams),
        blobs=BlobSet(context.known_blobs, lambda registry: context.capabilities.mounts_at(endpoints.known(registry))),
        breakers=context.breakers,
    )


class AuthorizationRequests:
    """Answers workers that ask what to send to a registry: only the coordinator has the passwords. Each request is a
    task.
    """

    def __init__(self, client: RegistryClient, supervisor: Supervisor) -> None:
        self._authorizer = client.authorizer
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, worker: int, wanted: AuthorizationWanted) -> None:
        """Ask for what `worker` wants."""
        task = self._loop.create_task(self._authorize(worker, wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel the requests under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _authorize(self, worker: int, wanted: AuthorizationWanted) -> None:
        place = wanted.endpoint, wanted.repository, wanted.scopes
        try:
            if wanted.renew:
                given = await self._authorizer.renew(*place, wanted.rejected, wanted.challenges)
            else:
                given = await self._authorizer.authorize(*place)
        except SyncError as error:
            answer = AuthorizationGiven(wanted.request_id, None, 0.0, error.to_data())
        else:
            answer = AuthorizationGiven(wanted.request_id, given.value, given.usable_s)
        self._supervisor.send(worker, answer)


class Transfers:
    """Moves blobs for deliveries through worker processes; a `PoolListener`.

    `on_transfer` gets a record of each job that ends, `meter` counts for observers of the run, `workers` makes the
    worker processes.
    """

    def __init__(
        self,
        context: TransferContext,
        *,
        on_transfer: Callable[[TransferRecord], None] | None = None,
        meter: Meter | None = None,
        workers: WorkerSource | None = None,
    ) -> None:
        settings, transport = context.settings, context.client.transport
        self._context = context
        self._endpoints, self._sessions = context.endpoints, context.sessions
        self._meter = meter
        self._loop = asyncio.get_running_loop()
        self.mirrors = context.mirrors
        self.absent = AbsentBlobs()
        self.scheduler = new_scheduler(context)
        # Not at once: the caller may be the scheduler itself.
        context.breakers.listen(lambda _breaker: self._loop.call_soon(self._on_timer))
        setup = worker_setup(context, tallied=meter is not None)
        count = context.resources.workers
        self._supervisor = Supervisor(count, setup, self, silence_s=settings.silence_s, source=workers)
        self._links = self._supervisor.links
        self.pacing = Pacing(
            context.client.throttle,
            self._supervisor,
            self.scheduler,
            settings,
            began_at=context.began_at,
            limits=context.registries.limits(),
            requests=lambda: self.reports.requests.total() + transport.requests.total(),
        )
        transport.budgets = self.pacing.bytes.own_budgets(transport.driver)
        self._deliveries: dict[int, Delivery] = {}
        self._needs: list[BlobNeed] = []
        self._on_transfer = on_transfer
        on_end = None if meter is None and on_transfer is None else self._on_job_ended
        self.running = RunningJobs(context.began_at, context.watchdog, self._on_stuck, on_end)
        self.reports = JobReports(self.scheduler, self.running, context.sessions, context.mirrors, self._loop.time)
        self._authorizations = AuthorizationRequests(context.client, self._supervisor)
        self._on: dict[type[Message], Callable[[int, Any], None]] = {
            Beat: self._on_beat,
            Learnt: self._on_learnt,
            AuthorizationWanted: self._authorizations.begin,
            **self.pacing.on,
        }
        """Handlers of messages from workers; `reports.on` and the supervisor have the others."""
        self._timer: asyncio.TimerHandle | None = None
        self._exhausted: SyncError | None = None
        self._started = False

    @property
    def deliveries(self) -> int:
        """How many images wait for blobs, or for their manifests to be put."""
        return len(self._deliveries)

    def start(self) -> None:
        """Start the workers, unless they are started: a run in which nothing changed needs none."""
        if not self._started:
            self._started = True
            self._supervisor.start()
            self._supervisor.grow(self.scheduler.workers_wanted)

    async def stop(self, grace_s: float) -> None:
        """Lease nothing more, and end the workers."""
        self.scheduler.stop()
        if self._timer is not None:
            self._timer.cancel()
        await self._supervisor.stop(grace_s)
        await self._authorizations.stop()

    async def cancel_uploads(self) -> None:
        """Cancel the upload sessions that lost workers have left open."""
        await self._context.sessions.cancel_left(self._context.client, self._context.endpoints)

    def hold(self, *, held: bool) -> None:
        """Lease no blobs while `held`; those under way continue."""
        self._carry_out(self.scheduler.hold(held=held))

    def change_rate(self, rate: RateSchedule | None) -> None:
        """Limit the bytes per second of all together from now on; None: no limit."""
        self.pacing.change_rate(rate)
        transport = self._context.client.transport
        transport.budgets = self.pacing.bytes.own_budgets(transport.driver)

    def bind_streams(self, most: int) -> None:
        """Let a worker stream at most so many blobs at a time, within what there was room for at the start."""
        self._carry_out(self.scheduler.bind_streams(most, self._loop.time()))

    def kill(self) -> None:
        """End the workers at once."""
        self._supervisor.kill_all()

    def deliver(self, delivery: Delivery, needs: list[BlobNeed]) -> None:
        """Bring what `delivery` needs to its destination; `delivery.settled()` returns when all of it is there."""
        if self._exhausted is not None:
            delivery.on_failed(self._exhausted.changed())
            return
        self._deliveries[delivery.id] = delivery
        if not self._needs:
            # The image's other destinations come in this turn of the loop too, and share the downloads.
            self._loop.call_soon(self._want)
        self._needs += needs

    def release(self, delivery: Delivery) -> None:
        """`delivery` waits no more; blobs that no other delivery needs are not moved."""
        if self._deliveries.pop(delivery.id, None) is not None:
            self.scheduler.drop(delivery.id)

    def tell_measures(self) -> None:
        """Report the counts to observers."""
        if self._meter is not None:
            self._meter.tell(self._supervisor, self.scheduler, self.pacing, self.reports.resumes, len(self.running))

    @property
    def restarts(self) -> dict[int, int]:
        """The running workers by number, and how often each was replaced."""
        return self._supervisor.restarts

    def on_worker_ready(self, worker: int) -> None:
        """See `PoolListener`."""
        self.pacing.inform(worker)
        for fact in self._context.capabilities.all():
            self._supervisor.send(worker, Learnt(*fact))
        self._carry_out(self.scheduler.join(worker))

    def on_worker_lost(self, worker: int, error: SyncError) -> None:
        """See `PoolListener`."""
        self.pacing.forget(worker)
        quarantined = self.scheduler.quarantine.blobs
        before = len(quarantined)
        self._carry_out(self.reports.on_worker_lost(worker, error))
        if found := len(quarantined) - before:
            _log.warning("blobs that end their workers are left out", blobs=found, worker=worker)
            self._supervisor.forgive(found * MOST_LOSSES)

    def on_worker_message(self, worker: int, message: Message) -> None:
        """See `PoolListener`."""
        if self._meter is not None:
            self._meter.on_message(message, self.running)
        report = self.reports.on.get(type(message))
        if report is not None:
            self._carry_out(report(worker, message))
        else:
            self._on[type(message)](worker, message)  # a message for a worker is an internal error

    def _on_beat(self, worker: int, message: Beat) -> None:
        self.pacing.note_answers(message.answer_s)
        self._carry_out(self.reports.on_beat(worker, message))

    def on_pool_exhausted(self, error: SyncError) -> None:
        """See `PoolListener`."""
        self._exhausted = error
        for delivery in list(self._deliveries.values()):
            delivery.on_failed(error.changed())

    def _want(self) -> None:
        needs, self._needs = self._needs, []
        self._carry_out(self.scheduler.want(needs))

    def _on_learnt(self, worker: int, message: Learnt) -> None:
        if self._context.capabilities.note(message.registry, message.fact, message.value):
            _log.info("learnt", registry=message.registry, fact=message.fact, value=message.value)
            self._supervisor.broadcast(message, but=worker)

    def _on_job_ended(self, record: TransferRecord, running: RunningJob, results: list[BlobOutcome]) -> None:
        if self._on_transfer is not None:
            self._on_transfer(record)
        if self._meter is not None:
            self._meter.on_transfer(record, running, results, self._images_of(running.job))

    def _images_of(self, job: Job) -> set[tuple[str, str]]:
        waiting = (self._deliveries.get(number) for target in job.targets for number in target.deliveries)
        return {delivery.image for delivery in waiting if delivery is not None}

    def _on_stuck(self, stuck: Stuck) -> bool:
        """A job is stuck: ask its worker to give it up, and kill a worker that does not."""
        running, error = stuck.watched, stalled(stuck)
        assert isinstance(running, RunningJob)
        if stuck.strikes == 1:
            self._supervisor.send(running.worker, AbandonJob(running.job.id, error.to_data()))
            return True
        return stuck.strikes == KILLED_AT and self._supervisor.kill(running.worker, error.message)

    def _carry_out(self, decisions: list[Decision]) -> None:
        if self._started and self._supervisor.count < self.scheduler.workers_wanted:
            self._supervisor.grow(self.scheduler.workers_wanted)
        for decision in decisions:
            if isinstance(decision, Lease):
                worker, job = decision.worker, decision.job
                self.running.begin(worker, job, self._loop.time())
                if self._meter is not None:
                    self._meter.on_lease(job, self._images_of(job))
                if (link := self._links.get(worker)) is not None:
                    link.send(self._lease_of(job))
            elif isinstance(decision, BlobLanded):
                if (delivery := self._deliveries.get(decision.delivery)) is not None:
                    delivery.on_landed(decision)
            elif isinstance(decision, BlobFailed) and (delivery := self._deliveries.get(decision.delivery)) is not None:
                # Each delivery raises an error of its own: a shared one would keep the frames of all in its traceback.
                delivery.on_failed(decision.error.changed().located(digest=str(decision.digest)))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (wake_at := self.scheduler.wake_at) is not None:
            self._timer = self._loop.call_at(wake_at, self._on_timer)

    def _lease_of(self, job: Job) -> LeaseJob:
        """The message that leases `job`. A second try asks no mirror, which may have caused the first error.

        A blob is leased when the endpoints of its registries are known; else it is an internal error.
        """
        endpoints, sessions, absent, mirrors = self._endpoints, self._sessions, self.absent, self.mirrors
        targets, is_first_try = [], True
        for target in job.targets:
            repository = target.repository
            session = sessions.known(repository, job.digest) if sessions.urls else None
            is_absent = bool(absent.blobs) and absent.take(repository, job.digest)
            place = Place(endpoints.data[repository.registry], repository)
            targets.append(TargetPlace(place, target.mount_from, session, is_absent))
            is_first_try = is_first_try and target.tries is None
        source = Place(endpoints.data[job.source.registry], job.source)
        asked = mirrors.known_places(job.source) if mirrors.spoken and is_first_try else ()
        return LeaseJob(job.id, job.digest, job.size, source, tuple(targets), job.may_split, asked)

    def _on_timer(self) -> None:
        self._timer = None
        self._carry_out(self.scheduler.tick(self._loop.time()))
