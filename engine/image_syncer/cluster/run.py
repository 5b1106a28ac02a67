"""`sync` with the workers of a Dask cluster, and the check that such a run needs nothing of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from image_syncer.coordinator.listeners import Listeners
from image_syncer.coordinator.run import Run, run_in_loop
from image_syncer.dispatch.machine import inspect_machine
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.net.network_options import certificate_folders, find_host_certificates
from image_syncer.oci import is_place
from image_syncer.runs import SyncParts
from image_syncer.scheduling import decide_resources
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from image_syncer.cluster.connection import ClusterAddress
    from image_syncer.config import Configuration, Settings
    from image_syncer.control.run_control import RunControl
    from image_syncer.telemetry import ImageResult, Report, Snapshot
    from image_syncer.telemetry.events import Event


def check_cluster_run(configuration: Configuration) -> None:
    """Raise ConfigurationError if a rule names something that only this machine has: a layout, an archive, a Unix
    socket.
    """
    problems = [
        Problem(name, None, None, "is on this machine, where the workers of --cluster are not", "leave out --cluster")
        for name in dict.fromkeys(_registries_of(configuration))
        if is_place(name)
    ]
    problems += [
        Problem(entry.prefix, None, None, "is reached by a Unix socket of this machine", "leave out --cluster")
        for entry in configuration.registries.entries
        if entry.network.unix_socket is not None and not is_place(entry.prefix)
    ]
    if problems:
        raise ConfigurationError(problems)


def certificate_files(configuration: Configuration, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the PEM files that workers read, each with its registry: those of the configuration, and those in Docker's
    folders of certificates.
    """
    found: dict[str, str] = {}
    for entry in configuration.registries.entries:
        network = entry.network
        for path in (entry.ca_file, network.client_cert, network.client_key, *network.authorities):
            if path is not None:
                found.setdefault(path, entry.prefix)
    folders = certificate_folders(environ)
    for registry in dict.fromkeys(_registries_of(configuration)):
        kept = find_host_certificates(registry, folders)
        for path in (*kept.authorities, kept.client_cert, kept.client_key):
            if path is not None:
                found.setdefault(path, registry)
    return found


def _registries_of(configuration: Configuration) -> Iterator[str]:
    for rule in configuration.rules:
        yield rule.source.registry
        yield from (each.repository.registry for each in rule.destinations)
    for catalog in configuration.catalogs:
        yield catalog.registry
        yield from (each.registry for each in catalog.destinations)


WORKER_MEMORY_BYTES = 96 * 2**20
"""For the windows and buffers of one worker, which has its own machine or container."""


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
    """Copy what the rules name, as `sync` does, with one worker in each process of a Dask cluster, or in
    `settings.workers` of them. Discovery, manifests, tokens and limits stay in this process.

    Raises ConfigurationError at the start if the cluster cannot be used: dask.distributed is missing, the scheduler
    does not answer within `settings.connect_timeout_s`, a worker has another version of image-syncer or lacks a
    certificate file, or a rule names what only this machine has.
    """
    check_cluster_run(configuration)

    async def execute() -> Report:
        from image_syncer.cluster.connection import ClusterConnection

        files = certificate_files(configuration, os.environ)
        open_files = decide_resources(replace(settings, workers=1), inspect_machine()).open_files
        connection = ClusterConnection(cluster, files, open_files, settings.connect_timeout_s)
        try:
            count = await connection.open(settings.workers)
            memory = settings.memory_bytes or count * WORKER_MEMORY_BYTES
            wanted = replace(settings, workers=count, memory_bytes=memory)
            listeners = Listeners(on_progress, on_image, on_event)
            run = Run(configuration, wanted, listeners, parts=SyncParts, control=control, workers=connection)
            return await run.execute()
        finally:
            await connection.close()

    return run_in_loop(execute())
