"""The scheduler of a run: from what the user wants, and what the machine and the registries allow."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from image_syncer.planning import BlobSet, Scheduler, StreamTuner, decide_policies, split_connections

if TYPE_CHECKING:
    from image_syncer.config import RegistryBook, Settings
    from image_syncer.coordinator.quirks import Quirks
    from image_syncer.net import EndpointBook
    from image_syncer.planning import Breakers, KnownBlobs, Resources

__all__ = ["new_scheduler"]


def new_scheduler(
    settings: Settings,
    resources: Resources,
    registries: RegistryBook,
    endpoints: EndpointBook,
    quirks: Quirks,
    *,
    known_blobs: KnownBlobs | None,
    breakers: Breakers | None,
) -> Scheduler:
    """Blobs of which `known_blobs` knows are there already; what `quirks` says of a registry by the time that a blob is
    wanted there decides what is mounted.
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
        blobs=BlobSet(known_blobs, lambda registry: quirks.mounts_at(endpoints.known(registry))),
        breakers=breakers,
    )
