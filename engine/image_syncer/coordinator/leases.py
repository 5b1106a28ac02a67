"""Leases as workers are told them: where the blob is asked for, and how each of its destinations is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.worker.messages import LeaseJob, Place, TargetPlace

if TYPE_CHECKING:
    from image_syncer.coordinator.absent_blobs import AbsentBlobs
    from image_syncer.coordinator.mirror_reads import MirrorReads
    from image_syncer.coordinator.sessions import UploadSessions
    from image_syncer.net import EndpointBook
    from image_syncer.planning import Job
    from image_syncer.registry import Endpoint

__all__ = ["Leases"]


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
