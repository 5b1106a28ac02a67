"""What a bench wrote is taken away again: every manifest that it pushed, by its digest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from image_syncer.config import Settings
from image_syncer.coordinator.loop import run_in_loop
from image_syncer.coordinator.registry_access import RegistryAccess
from image_syncer.credentials import CredentialSource
from image_syncer.errors import Origin, SyncError
from image_syncer.planning import decide_policies
from image_syncer.registry.deletion import build_delete_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config import Configuration
    from image_syncer.oci import Digest, Repository

__all__ = ["delete_written"]

_GONE = (200, 202, 204, 404)
_CONNECTIONS = 8


def delete_written(configuration: Configuration, written: Sequence[tuple[Repository, Digest]]) -> list[str]:
    """Delete the manifests, and say of each repository where something had to be left, why. Blobs go with the garbage
    collection of the registry.
    """
    return run_in_loop(_delete(configuration, written))


async def _delete(configuration: Configuration, written: Sequence[tuple[Repository, Digest]]) -> list[str]:
    settings = Settings()
    source = CredentialSource(os.environ)
    access = RegistryAccess(
        settings,
        configuration.registries,
        source,
        decide_policies(settings),
        connections=_CONNECTIONS,
        on_pause=lambda _registry, _seconds: None,
        on_outage=lambda _breaker: None,
    )
    left: dict[str, str] = {}
    try:
        for repository, digest in dict.fromkeys(written):
            try:
                endpoint = await access.endpoints.resolve(repository.registry, Origin.DESTINATION)
                request = build_delete_manifest(endpoint, repository, str(digest))
                await access.client.send(request, endpoint, origin=Origin.DESTINATION, accept=_GONE)
            except SyncError as error:  # noqa: PERF203 - each has its own
                left.setdefault(str(repository), error.message)
    finally:
        await access.health.close()
        source.close()
        access.driver.close()
    return [f"left at {name}: {why}" for name, why in left.items()]
