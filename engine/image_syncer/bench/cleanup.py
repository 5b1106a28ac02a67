"""What a bench wrote is taken away again: every manifest that it pushed, by its digest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from image_syncer.config import Settings
from image_syncer.coordinator.loop import run_in_loop
from image_syncer.coordinator.registry_access import RegistryAccess
from image_syncer.credentials import CredentialSource
from image_syncer.errors import Origin, SyncError
from image_syncer.oci import Digest, InvalidManifest, ManifestKind, parse_manifest
from image_syncer.planning import decide_policies
from image_syncer.registry import build_get_manifest
from image_syncer.registry.deletion import build_delete_manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.config import Configuration
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint

__all__ = ["delete_written", "open_access"]

_FOUND = 200
_GONE = (_FOUND, 202, 204, 404)
_MAY_BE_THERE = (_FOUND, 404)
_CONNECTIONS = 8
GIVE_UP_S, STALL_S = 60.0, 20.0
"""A bench does not wait for a registry that is down, as a run does which has other things to do meanwhile."""
_SHOWN = 5
"""Repositories that are named where something was left in many."""


def delete_written(configuration: Configuration, written: Sequence[tuple[Repository, Digest]]) -> list[str]:
    """Delete the manifests, with those that an index names, and say of each repository where something had to be left,
    why. Blobs go with the garbage collection of the registry.
    """
    return run_in_loop(_delete(configuration, list(dict.fromkeys(written)))) if written else []


def open_access(configuration: Configuration, source: CredentialSource) -> RegistryAccess:
    """A way to the registries for a few small requests; in a running loop."""
    settings = Settings(give_up_after_s=GIVE_UP_S, stall_timeout_s=STALL_S)
    return RegistryAccess(
        settings,
        configuration.registries,
        source,
        decide_policies(settings),
        connections=_CONNECTIONS,
        on_pause=lambda _registry, _seconds: None,
        on_outage=lambda _breaker: None,
    )


async def _delete(configuration: Configuration, written: Sequence[tuple[Repository, Digest]]) -> list[str]:
    source = CredentialSource(os.environ)
    access = open_access(configuration, source)
    left: dict[str, str] = {}
    try:
        for repository, digest in written:
            name = str(repository)
            try:
                endpoint = await access.endpoints.resolve(repository.registry, Origin.DESTINATION)
                await _delete_tree(access, endpoint, repository, digest)
            except SyncError as error:
                left.setdefault(name, error.message)
    finally:
        await access.health.close()
        source.close()
        access.driver.close()
    said = [f"left at {name}: {why}" for name, why in list(left.items())[:_SHOWN]]
    if len(left) > _SHOWN:
        said.append(f"left in {len(left) - _SHOWN:,} repositories more, for like reasons")
    return said


async def _delete_tree(access: RegistryAccess, endpoint: Endpoint, repository: Repository, digest: Digest) -> None:
    """A manifest, and then what it names, which some registries hold to for as long as it is there."""
    request = build_get_manifest(endpoint, repository, str(digest))
    answer = await access.client.send(request, endpoint, origin=Origin.DESTINATION, accept=_MAY_BE_THERE)
    if answer.status != _FOUND:
        return
    try:
        manifest = parse_manifest(answer.body, answer.headers.get("Content-Type"))
        children = [each.digest for each in manifest.children] if manifest.kind is ManifestKind.INDEX else []
    except InvalidManifest:
        children = []
    for one in (digest, *children):
        request = build_delete_manifest(endpoint, repository, str(one))
        await access.client.send(request, endpoint, origin=Origin.DESTINATION, accept=_GONE)
