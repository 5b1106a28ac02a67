"""Which of many blobs a registry lacks, asked before a run that relies on them begins."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from image_syncer.coordinator.loop import run_in_loop
from image_syncer.coordinator.registry_access import RegistryAccess
from image_syncer.credentials import CredentialSource
from image_syncer.errors import Origin, SyncError
from image_syncer.planning import decide_policies
from image_syncer.registry import build_head_blob

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Sequence

    from image_syncer.config import RegistryBook, Settings
    from image_syncer.oci import Digest, Repository

__all__ = ["find_missing_blobs"]

_CONNECTIONS = 32
_AT_ONCE = 64
_FOUND_OR_NOT = (200, 404)


def find_missing_blobs(
    wanted: Sequence[tuple[Repository, Digest]], registries: RegistryBook, settings: Settings
) -> list[tuple[Repository, Digest]]:
    """Those of `wanted` that are not there, in their order: a HEAD for each. Raises the `SyncError` that keeps one from
    being asked for.
    """
    return run_in_loop(_find(wanted, registries, settings)) if wanted else []


async def _find(
    wanted: Sequence[tuple[Repository, Digest]], registries: RegistryBook, settings: Settings
) -> list[tuple[Repository, Digest]]:
    source = CredentialSource(os.environ)
    access = RegistryAccess(
        settings,
        registries,
        source,
        decide_policies(settings),
        connections=_CONNECTIONS,
        on_pause=lambda _registry, _seconds: None,
        on_outage=lambda _breaker: None,
    )
    try:
        missing: list[tuple[Repository, Digest]] = []
        for begin in range(0, len(wanted), _AT_ONCE):
            batch = wanted[begin : begin + _AT_ONCE]
            there = await _gather(_is_there(access, *one) for one in batch)
            missing += [one for one, found in zip(batch, there, strict=True) if not found]
        return missing
    finally:
        await access.health.close()
        source.close()
        access.driver.close()


async def _gather(questions: Iterable[Coroutine[None, None, bool]]) -> list[bool]:
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _is_there(access: RegistryAccess, repository: Repository, digest: Digest) -> bool:
    endpoint = await access.endpoints.resolve(repository.registry, Origin.DESTINATION)
    request = build_head_blob(endpoint, repository, digest)
    try:
        response = await access.client.send(request, endpoint, origin=Origin.DESTINATION, accept=_FOUND_OR_NOT)
    except SyncError as error:
        raise error.located(repository=str(repository), digest=str(digest)) from None
    return response.status == _FOUND_OR_NOT[0]
