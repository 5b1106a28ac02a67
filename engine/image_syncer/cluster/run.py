"""`sync` with the workers of a Dask cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from image_syncer.cluster.local_things import certificate_files, check_cluster_run
from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.loop import run_in_loop
from image_syncer.coordinator.machine import inspect_machine
from image_syncer.coordinator.run import Run
from image_syncer.planning import decide_resources
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.cluster.address import ClusterAddress
    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.control import RunControl
    from image_syncer.telemetry import ImageResult, Report, Snapshot
    from image_syncer.telemetry.events import Event

__all__ = ["sync_on_cluster"]

WORKER_MEMORY_BYTES = 96 * 2**20
"""For the windows and buffers of one worker, which has a machine or a container of its own: as many as it can use."""


def sync_on_cluster(
    configuration: Configuration,
    settings: Settings,
    *,
    cluster: ClusterAddress,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_image: Callable[[ImageResult], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    control: RunControl | None = None,
) -> Report:
    """Copy what the rules name, as `sync` does, with one worker in each process of a Dask cluster, or in as many as
    `settings.workers` says. Discovery, manifests, tokens and limits stay in this process.

    Raises ConfigurationError before anything is done where the cluster cannot be used: dask.distributed is missing, the
    scheduler does not answer within `settings.connect_timeout_s`, a worker has another version of image-syncer or lacks
    a file of certificates, or a rule names what is on this machine only.
    """
    check_cluster_run(configuration)

    async def run() -> Report:
        from image_syncer.cluster.connection import ClusterConnection
        from image_syncer.cluster.dask_workers import DaskWorkers

        files = certificate_files(configuration, os.environ)
        open_files = decide_resources(replace(settings, workers=1), inspect_machine()).open_files
        connection = ClusterConnection(cluster, files, open_files, settings.connect_timeout_s)
        try:
            count = await connection.open(settings.workers)
            memory = settings.memory_bytes or count * WORKER_MEMORY_BYTES
            wanted = replace(settings, workers=count, memory_bytes=memory)
            workers = DaskWorkers(connection)
            return await Run(
                configuration, wanted, Listeners(on_progress, on_image, on_event), control=control, workers=workers
            ).execute()
        finally:
            await connection.close()

    return run_in_loop(run())
