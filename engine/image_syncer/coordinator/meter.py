"""The meter of a run: counts what happens, for observers. Without observers there is none, and nothing is counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec import Struct

from image_syncer.net import RequestTally
from image_syncer.telemetry.measures import Measures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.coordinator.delivery import Delivery
    from image_syncer.coordinator.pacing import Pacing
    from image_syncer.coordinator.resumes import Resumes
    from image_syncer.coordinator.running_jobs import RunningJob, RunningJobs
    from image_syncer.coordinator.supervisor import Supervisor
    from image_syncer.net import RegistryClient
    from image_syncer.planning import BlobOutcome, Job, Scheduler
    from image_syncer.telemetry import TransferRecord
    from image_syncer.telemetry.observing import Observed
    from image_syncer.worker.messages import Beat, JobEnded

__all__ = ["Meter"]

SOURCE, DESTINATION = "source", "destination"


class Meter:
    """Tells `observed` what it has counted, and each transfer that ends; `client` is that of the coordinator.

    Bytes of blobs that are under way count as workers tell of them: how far the source is, and each destination. What
    comes or goes a second time, since a side broke off, counts once.
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

    def on_lease(self, job: Job, deliveries: Mapping[int, Delivery]) -> None:
        """A worker gets `job`, for which these of the `deliveries` wait."""
        self._images[job.id] = _images_of(job, deliveries)

    def on_beat(self, beat: Beat, running: RunningJobs) -> None:
        """A worker tells how far it is."""
        self._requests.add(beat.tally)
        for number, received in beat.received.items():
            if (one := running.get(int(number))) is not None:
                self._pass(one, received, beat.sent.get(number, []))

    def on_job_ended(self, ended: JobEnded) -> None:
        """A worker tells of its end; see `on_transfer`."""
        self._requests.add(ended.tally)

    def on_transfer(
        self,
        record: TransferRecord,
        running: RunningJob,
        results: list[BlobOutcome],
        deliveries: Mapping[int, Delivery],
    ) -> None:
        """A job has ended."""
        job = running.job
        self._count(
            running, max((result.bytes_moved for result in results), default=0), [r.bytes_moved for r in results]
        )
        del self._passing[job.id]
        self._transfers.update(record.outcomes)
        self._waited_s[SOURCE] += record.source_waited_s
        self._waited_s[DESTINATION] += record.destination_waited_s
        self._pauses += record.pauses
        images = frozenset(self._images.pop(job.id, set()) | _images_of(job, deliveries))
        self._observed.tell(lambda one: one.on_transfer(record, images))

    def tell(
        self, supervisor: Supervisor, scheduler: Scheduler, pacing: Pacing, resumes: Resumes, in_flight: int
    ) -> None:
        """What was counted until now, and what is so now."""
        connections = scheduler.queue.connections()
        measures = Measures(
            requests=tuple(self._requests.rows()),
            moved=dict(self._moved),
            retries=dict(self._retries),
            breaks=resumes.as_data(),
            transfers=dict(self._transfers),
            waited_s=dict(self._waited_s),
            pauses=self._pauses,
            replaced_workers=supervisor.replaced,
            pids=supervisor.pids,
            in_flight=in_flight,
            in_rings=sum(passing.waiting for passing in self._passing.values()),
            streams=scheduler.streams_allowed,
            requests_allowed=pacing.rates(),
            connections_allowed={name: most for name, most in connections.items() if most is not None},
            bytes_allowed=pacing.bytes.rates(),
        )
        self._observed.tell(lambda one: one.on_measures(measures))

    def _pass(self, running: RunningJob, received: int, sent: list[int]) -> None:
        self._count(running, received, sent)
        # Who has ended wants no more; what the slowest of the others has not had yet is in the ring.
        last = min((at for position, at in enumerate(sent) if position not in running.told), default=received)
        self._passing[running.job.id].waiting = max(0, received - last)

    def _count(self, running: RunningJob, received: int, sent: list[int]) -> None:
        """What has come until now, and gone to each target."""
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
    """The most that has come, and gone to each target, of one blob; `waiting` bytes are in the ring now."""

    received: int
    sent: list[int]
    waiting: int = 0


def _images_of(job: Job, deliveries: Mapping[int, Delivery]) -> set[tuple[str, str]]:
    waiting = (deliveries.get(number) for target in job.targets for number in target.deliveries)
    return {delivery.image for delivery in waiting if delivery is not None}
