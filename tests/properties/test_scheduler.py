"""The scheduler under every order of events: nothing is lost, told twice, leased beyond a limit, or left over."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.errors import Origin, RateLimitedError, SyncError, UnavailableError, WorkerError
from image_syncer.oci import Digest, Repository, digest_of
from image_syncer.scheduling import (
    Arrival,
    BlobFailed,
    BlobLanded,
    BlobNeed,
    BlobOutcome,
    BlobSet,
    BlobTarget,
    ConnectionLimits,
    Decision,
    Job,
    Lease,
    LeaseLimits,
    RetryPolicy,
    Scheduler,
    StreamTuner,
)
from image_syncer.scheduling.blob_set import MOST_DEATHS, MOST_LOSSES
from image_syncer.scheduling.job_queue import JobQueue

if TYPE_CHECKING:
    from collections.abc import Iterable

REGISTRIES = ["a.example", "b.example", "c.example"]
REPOSITORIES = [Repository(registry, name) for registry in REGISTRIES for name in ("one", "two")]
DIGESTS = {digest_of(bytes([number])): 10**number for number in range(4)}
SMALL_BYTES = 50
ENDINGS = ["moved", "moved", "mounted", "present", "destination", "busy", "destination for good"]
STEPS_TO_THE_END = 2000

limits = st.one_of(st.none(), st.integers(1, 3))


@dataclass
class Delivery:
    source: Repository
    target: Repository
    missing: dict[Digest, int] = field(default_factory=dict)
    dropped: bool = False


def counts(jobs: Iterable[Job]) -> list[int]:
    """How many are streamed, and small."""
    small = [job.small for job in jobs]
    return [small.count(False), small.count(True)]


def waiting_in(queue: JobQueue) -> list[Job]:
    jobs = set(queue.alone)
    for lane in queue._lanes.values():
        jobs.update([job for *_, job in lane._streamed], lane._mounts, lane._small)
    return [job for job in jobs if job.waits]


class SchedulerMachine(RuleBasedStateMachine):
    """Carries out what the scheduler decides, and keeps its own books."""

    most_in_memory = 10**6
    """Of the blobs that have landed; the others are in a file."""

    @initialize(
        streams=st.integers(1, 3),
        proc=limits,
        tries=st.integers(1, 3),
        most=st.fixed_dictionaries(dict.fromkeys(REGISTRIES, limits)),
        workers=st.integers(0, 3),
        expected=st.integers(1, 3),
        small_streams=st.integers(0, 3),
        tuned=st.booleans(),
    )
    def make(
        self,
        streams: int,
        proc: int | None,
        tries: int,
        most: dict[str, int | None],
        workers: int,
        expected: int,
        small_streams: int,
        tuned: bool,
    ) -> None:
        self.streams, self.proc, self.tries, self.most, self.expected = streams, proc, tries, most, expected
        self.small_streams = small_streams
        self.tuner = StreamTuner(streams, start=2) if tuned else None
        self.known_blobs = BoundedKnownBlobs(self.most_in_memory)
        self.scheduler = Scheduler(
            LeaseLimits(streams, workers=expected, proc=proc, small_streams=small_streams, small_bytes=SMALL_BYTES),
            RetryPolicy(tries=tries, first_pause_s=1, factor=2),
            lambda: 0.5,
            connections=ConnectionLimits(most.__getitem__),
            tuner=self.tuner,
            blobs=BlobSet(self.known_blobs),
        )
        self.now = 0.0
        self.deliveries: dict[int, Delivery] = {}
        self.held: dict[int, dict[int, Job]] = {}
        self.homes: set[tuple[Repository, Digest]] = set()
        self.losses: Counter[int] = Counter()
        self.targets: dict[int, BlobTarget] = {}  # kept, so that no two have the same id()
        for _ in range(workers):
            self.a_worker_is_ready()

    # What the scheduler decides

    def carry_out(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Lease):
                self.lease(decision.worker, decision.job)
            elif isinstance(decision, BlobLanded):
                delivery = self.told(decision)
                assert (delivery.target, decision.digest) in self.homes
            else:
                self.failed(decision)

    def told(self, decision: BlobLanded | BlobFailed) -> Delivery:
        """Everything is told once, and nothing to a delivery that was dropped."""
        delivery = self.deliveries[decision.delivery]
        assert not delivery.dropped
        assert decision.digest in delivery.missing
        if isinstance(decision, BlobLanded):
            del delivery.missing[decision.digest]
        return delivery

    def failed(self, decision: BlobFailed) -> None:
        delivery = self.told(decision)
        error = decision.error
        size = delivery.missing.pop(decision.digest)
        if error.origin is Origin.SOURCE:
            assert (error.repository, error.reference) == (str(delivery.source), str(size)), "that of another source"
        elif error.origin is Origin.DESTINATION:
            assert error.repository == str(delivery.target), "that of another destination"
        else:
            assert isinstance(error, WorkerError)
        if error.retryable:
            assert error.tries == self.tries
        event(f"failed: {error.origin}")

    def lease(self, worker: int, job: Job) -> None:
        jobs = self.held[worker]
        assert job.id not in jobs
        kind = [other for other in jobs.values() if other.small == job.small]
        assert len(kind) < (self.small_streams if job.small else self.scheduler.stats().streams)
        assert 1 <= self.scheduler.stats().streams <= self.streams
        # A mount is small until its registry did not mount one.
        mounts = job.targets[0].mounts and job.weight == 0
        assert job.small == (self.small_streams > 0 and (mounts or 0 <= job.size <= SMALL_BYTES))
        assert job.weight == (0 if mounts else max(job.size, 1))
        assert job.targets
        assert not any(other.alone for other in jobs.values())
        assert not (job.alone and jobs)
        registries = [target.repository.registry for target in job.targets]
        assert len(set(registries)) == len(registries)
        moving = {(one.repository.registry, one.digest) for _, other in self.all_held() for one in other.targets}
        for target in job.targets:
            self.targets[id(target)] = target
            assert (target.digest, target.size, target.source) == (job.digest, job.size, job.source)
            assert any(not self.deliveries[delivery].dropped for delivery in target.deliveries), "nobody wants it"
            known = self.homes_at(target)
            assert (target.repository.registry, target.digest) not in moving or known, "moved twice"
            from_source = not known and target.source.registry == target.repository.registry
            assert target.mounts == (bool(known) or from_source)
            assert not target.mounts or target.mount_from in (known or {target.source.name})
            assert target.repository.name not in known
        jobs[job.id] = job
        event(f"leased {'small' if job.small else 'streamed'}")
        event(f"leased with {len(job.targets)} targets")

    def homes_at(self, target: BlobTarget) -> set[str]:
        registry = target.repository.registry
        return {home.name for home, digest in self.homes if (home.registry, digest) == (registry, target.digest)}

    # What happens

    @rule(data=st.data(), images=st.integers(1, 4))
    def images_are_planned(self, data: st.DataObject, images: int) -> None:
        for _ in range(images):
            source, *targets = data.draw(st.permutations(REPOSITORIES))[: 1 + data.draw(st.integers(1, 3))]
            digests = data.draw(st.lists(st.sampled_from(list(DIGESTS)), min_size=1, max_size=3, unique=True))
            # Now and then a manifest has no sizes, or wrong ones.
            sizes = {digest: data.draw(st.sampled_from([DIGESTS[digest]] * 4 + [-1, 7])) for digest in digests}
            for target in targets:
                number = len(self.deliveries)
                self.deliveries[number] = Delivery(source, target, dict(sizes))
                needs = [BlobNeed(digest, size, source, target, number) for digest, size in sizes.items()]
                self.carry_out(self.scheduler.want(needs))

    @precondition(lambda self: self.deliveries)
    @rule(data=st.data())
    def a_delivery_is_dropped(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(list(self.deliveries)))
        self.deliveries[number].dropped = True
        self.scheduler.drop(number)

    @precondition(lambda self: len(self.held) < 4)
    @rule()
    def a_worker_is_ready(self) -> None:
        number = self.losses["workers"] = self.losses["workers"] + 1
        self.held[number] = {}
        self.carry_out(self.scheduler.join(number))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_worker_is_lost(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(list(self.held)))
        for job in self.held.pop(worker).values():
            for target in [one for at, one in enumerate(job.targets) if at not in job.settled]:
                self.losses[id(target)] += 1
                assert self.losses[id(target)] == target.deaths + 1 <= MOST_DEATHS
                assert target.losses < MOST_LOSSES
        self.carry_out(self.scheduler.lose(worker, WorkerError("gone")))

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), jobs=st.integers(1, 4))
    def jobs_end(self, data: st.DataObject, jobs: int) -> None:
        worker = data.draw(st.sampled_from([worker for worker, held in self.held.items() if held]))
        ended = []
        for job in data.draw(st.permutations(list(self.held[worker].values())))[:jobs]:
            source_ends = data.draw(st.sampled_from([None, None, None, "source", "source for good"]))
            results = [
                self.result_of(job, target, source_ends or data.draw(st.sampled_from(ENDINGS)))
                for target in job.targets
            ]
            ended.append((job, results))
        self.end(worker, ended)

    @rule(seconds=st.sampled_from([0.4, 1.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.carry_out(self.scheduler.tick(self.now))

    @rule(data=st.data(), seconds=st.sampled_from([0.1, 0.5]))
    def workers_give_signs_of_life(self, data: st.DataObject, seconds: float) -> None:
        self.now += seconds
        for worker, jobs in self.held.items():
            self.scheduler.progress(worker, {job: data.draw(st.integers(0, 2000)) for job in [*jobs, 10**6]})
        self.carry_out(self.scheduler.sample(self.now))

    def result_of(self, job: Job, target: BlobTarget, ending: str) -> BlobOutcome:
        if ending in ("moved", "mounted", "present"):
            self.homes.add((target.repository, target.digest))
            return BlobOutcome(Arrival(ending), bytes_moved=5 if ending == "moved" else 0)
        origin, place = Origin.DESTINATION, target.repository
        if ending == "busy":
            return BlobOutcome(
                None,
                error=UnavailableError(
                    "busy", status=503, origin=origin, repository=str(place), reference=str(target.size)
                ),
            )
        if ending.startswith("source"):
            origin, place = Origin.SOURCE, job.source
        kind, fields = SyncError, {"retryable": not ending.endswith("for good")}
        if fields["retryable"] and target.size == 7:
            kind, fields = RateLimitedError, {"retry_after_s": 50.0}
        return BlobOutcome(
            None, error=kind("broke", origin=origin, repository=str(place), reference=str(target.size), **fields)
        )

    def all_held(self) -> list[tuple[int, Job]]:
        return [(worker, job) for worker, jobs in self.held.items() for job in jobs.values()]

    def end(self, worker: int, ended: list[tuple[Job, list[BlobOutcome]]]) -> None:
        for job, results in ended:
            del self.held[worker][job.id]
            decisions = self.scheduler.end(worker, job.id, results, self.now)
            booked = sum(decision.bytes_moved for decision in decisions if isinstance(decision, BlobLanded))
            assert booked <= sum(result.bytes_moved for result in results)
            self.carry_out(decisions)

    # What always holds

    @invariant()
    def books_agree(self) -> None:
        scheduler = self.scheduler
        assert scheduler.stats().in_flight == sum(map(len, self.held.values()))
        assert self.proc is None or scheduler.stats().in_flight <= self.proc
        slots, queue = scheduler._slots, scheduler._queue
        for worker, jobs in self.held.items():
            assert scheduler.jobs_of(worker) == list(jobs.values())
            assert slots.workers[worker].bytes_left == sum(job.left for job in jobs.values())
            assert slots.workers[worker].held == counts(jobs.values())
        assert slots.bytes_left == sum(job.left for _, job in self.all_held())
        assert slots.held == counts(job for _, job in self.all_held())
        waiting = waiting_in(queue)
        assert [queue.streamed, queue.small] == counts(job for job in waiting if not job.alone)
        assert queue.streamed_bytes == sum(job.weight for job in waiting if not (job.alone or job.small))
        assert scheduler.stats().landed_blobs <= scheduler.stats().wanted_blobs
        assert scheduler.stats().landed_bytes <= scheduler.stats().wanted_bytes
        awaited = {
            number: len(delivery.missing)
            for number, delivery in self.deliveries.items()
            if delivery.missing and not delivery.dropped
        }
        assert scheduler._awaited == awaited

    @invariant()
    def no_registry_has_more_connections_than_it_may(self) -> None:
        lanes = [job.registries for _, job in self.all_held()]
        for registry, most in self.most.items():
            users = [lane.count(registry) for lane in lanes if registry in lane]
            # One that is both source and destination needs two, even where only one is allowed.
            assert most is None or sum(users) <= most or users == [2]

    @invariant()
    def no_job_waits_that_could_be_leased(self) -> None:
        queue, slots = self.scheduler._queue, self.scheduler._slots
        if self.proc is not None and self.scheduler.stats().in_flight >= self.proc:
            return
        most = [self.scheduler.stats().streams, self.small_streams]
        if len(self.held) < self.expected:
            waiting = (queue.streamed, queue.small)
            parts = [math.ceil((held + more) / self.expected) for held, more in zip(slots.held, waiting, strict=True)]
            most = [min(one, part) for one, part in zip(most, parts, strict=True)]
        open_workers = [
            (worker, jobs) for worker, jobs in self.held.items() if not any(job.alone for job in jobs.values())
        ]
        known = slots.bytes_left + queue.streamed_bytes
        for job in waiting_in(queue):
            assert job.lane is not None
            if not job.lane.has_room(small=job.small):
                continue
            for worker, jobs in open_workers:
                # With more than its part it is left alone with that, as long as there is another.
                giant = not job.small and slots.workers[worker].bytes_left * len(self.held) > known
                assert giant or (job.alone and jobs) or counts(jobs.values())[job.small] >= most[job.small]

    @invariant()
    def no_worker_is_idle_while_a_job_waits_for_a_worker(self) -> None:
        """Nothing starves: a job that waits does so for one that is under way, or for a registry's connection."""
        if self.scheduler.stats().in_flight == 0 and self.held:
            assert not any(
                job.lane is not None and job.lane.has_room(small=job.small) for job in waiting_in(self.scheduler._queue)
            )

    def teardown(self) -> None:
        """However it went, it can be brought to an end; then nothing is left over."""
        if not hasattr(self, "scheduler"):
            return
        if not self.held:
            self.a_worker_is_ready()
        for _ in range(STEPS_TO_THE_END):
            if held := self.all_held():
                worker, job = held[0]
                self.end(worker, [(job, [self.result_of(job, target, "moved") for target in job.targets])])
            elif (wake_at := self.scheduler.wake_at) is not None:
                self.now = max(self.now, wake_at)
                self.carry_out(self.scheduler.tick(self.now))
            else:
                break
            self.books_agree()
        assert [delivery for delivery in self.deliveries.values() if delivery.missing and not delivery.dropped] == []
        scheduler, queue = self.scheduler, self.scheduler._queue
        stats = scheduler.stats()
        assert stats.in_flight == 0
        assert (stats.landed_blobs, stats.landed_bytes) == (stats.wanted_blobs, stats.wanted_bytes)
        assert len(scheduler._retries) == 0
        assert scheduler._awaited == {}
        assert queue.pop_alone() is queue.pop(small=False) is queue.pop(small=True) is None  # forgets what is stale
        assert (len(queue), queue._joinable, queue._busy, queue.alone) == (0, {}, ({}, {}), [])
        assert [host.held for host in scheduler.connections._hosts.values() if any(host.held)] == []
        assert len(scheduler._blobs) == 0
        self.known_blobs.close()


class SpillingSchedulerMachine(SchedulerMachine):
    """The same, where there is room for two blobs in memory."""

    most_in_memory = 2


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(stateful_step_count=30)
TestSchedulerWithAFile = SpillingSchedulerMachine.TestCase
TestSchedulerWithAFile.settings = settings(stateful_step_count=30)
