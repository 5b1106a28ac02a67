"""The meter of a run: counts requests, bytes and transfers for observers; a run without observers has none."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from image_syncer.net import RequestTally
from image_syncer.telemetry.observing import Measures
from image_syncer.worker.protocol import Beat, JobEnded

if TYPE_CHECKING:
    from image_syncer.dispatch.pacing import Pacing
    from image_syncer.dispatch.running_jobs import RunningJob, RunningJobs
    from image_syncer.dispatch.supervisor import Supervisor
    from image_syncer.net import RegistryClient
    from image_syncer.scheduling import BlobOutcome, Job, Scheduler
    from image_syncer.telemetry import TransferRecord
    from image_syncer.telemetry.observing import Observed
    from image_syncer.worker.protocol import Message


SOURCE, DESTINATION = "source", "destination"


class Meter:
    """Reports its counts to `observed`, and each transfer that ends; `client` is that of the coordinator.

    Bytes of blobs under way count as workers report them, for the source and for each destination. Bytes that are
    repeated because a side broke off count once.
    """

    def __init__(self, observed: Observed, client: RegistryClient) -> None:
        self._observed = observed
        self._retries = client.retries
        self._requests = client.transport.tally = RequestTally()
        self._moved: Counter[tuple[str, str]] = Counter()
        self._transfers: Counter[str] = Counter()
        self._waited_s = {SOURCE: 0.0, DESTINATION: 0.0}
        self._pauses = 0
        self._passing: dict[int, _Passing] = {}
        self._images: dict[int, set[tuple[str, str]]] = {}

    def on_lease(self, job: Job, images: set[tuple[str, str]]) -> None:
        """A worker gets `job`, for which `images` wait: each by its source and its destination."""
        self._images[job.id] = images

    def on_message(self, message: Message, running: RunningJobs) -> None:
        """A worker has sent `message`."""
        if isinstance(message, Beat):
            self.on_beat(message, running)
        elif isinstance(message, JobEnded):
            self._requests.add(message.tally)

    def on_beat(self, beat: Beat, running: RunningJobs) -> None:
        """A worker reports its progress."""
        self._requests.add(beat.tally)
        for number, received in beat.received.items():
            if (one := running.by_id.get(int(number))) is not None:
                self._pass(one, received, beat.sent.get(number, []))

    def on_transfer(
        self,
        record: TransferRecord,
        running: RunningJob,
        results: list[BlobOutcome],
        images: set[tuple[str, str]],
    ) -> None:
        """A job has ended, for which `images` wait."""
        job = running.job
        self._count(
            running, max((result.bytes_moved for result in results), default=0), [r.bytes_moved for r in results]
        )
        del self._passing[job.id]
        self._transfers.update(record.outcomes)
        self._waited_s[SOURCE] += record.source_waited_s
        self._waited_s[DESTINATION] += record.destination_waited_s
        self._pauses += record.pauses
        waited = frozenset(self._images.pop(job.id, set()) | images)
        self._observed.tell(lambda one: one.on_transfer(record, waited))

    def tell(
        self, supervisor: Supervisor, scheduler: Scheduler, pacing: Pacing, breaks: dict[str, int], in_flight: int
    ) -> None:
        """Report the counts, and the current state of the run; `breaks` are those of `JobReports.resumes`."""
        scheduling = scheduler.stats()
        measures = Measures(
            requests=tuple(self._requests.rows()),
            moved=dict(self._moved),
            retries=dict(self._retries),
            breaks=dict(breaks),
            transfers=dict(self._transfers),
            waited_s=dict(self._waited_s),
            pauses=self._pauses,
            replaced_workers=supervisor.replaced,
            pids=supervisor.pids,
            in_flight=in_flight,
            in_rings=sum(passing.waiting for passing in self._passing.values()),
            streams=scheduling.streams,
            requests_allowed=pacing.rates(),
            connections_allowed={name: most for name, most in scheduling.connections.items() if most is not None},
            bytes_allowed=pacing.bytes.rates(),
        )
        self._observed.tell(lambda one: one.on_measures(measures))

    def _pass(self, running: RunningJob, received: int, sent: list[int]) -> None:
        self._count(running, received, sent)
        # The ring holds what the slowest target that has not ended lacks.
        last = min((at for position, at in enumerate(sent) if position not in running.ended_targets), default=received)
        self._passing[running.job.id].waiting = max(0, received - last)

    def _count(self, running: RunningJob, received: int, sent: list[int]) -> None:
        """Count the bytes that have come and gone since the last call."""
        job = running.job
        passing = self._passing.setdefault(job.id, _Passing(0, [0] * len(job.targets)))
        if (more := received - passing.received) > 0:
            self._moved[SOURCE, job.source.registry] += more
            passing.received = received
        for position, at in enumerate(sent):
            if (more := at - passing.sent[position]) > 0:
                self._moved[DESTINATION, job.targets[position].repository.registry] += more
                passing.sent[position] = at


class _Passing(Struct):
    """The most bytes of one blob that have come, and gone to each target; `waiting` bytes are in the ring now."""

    received: int
    sent: list[int]
    waiting: int = 0
