"""Credentials by repository, each looked up once in a run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import SyncError
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from image_syncer.config import RegistryBook
    from image_syncer.credentials import CredentialSource
    from image_syncer.oci import Repository
    from image_syncer.registry import Credential

__all__ = ["CredentialLookup"]

_log = get_logger(__name__)


class CredentialLookup:
    """Asks `source`, which may run a helper process: so it happens in a thread."""

    def __init__(self, source: CredentialSource, registries: RegistryBook) -> None:
        self._source = source
        self._registries = registries
        self._found: dict[Repository, asyncio.Task[tuple[Credential | None, str]]] = {}

    async def find(self, repository: Repository) -> tuple[Credential | None, str]:
        """The credential for `repository`, if there is one, and where it came from."""
        task = self._found.get(repository)
        if task is None:
            task = self._found[repository] = asyncio.ensure_future(self._look_up(repository))
        try:
            return await asyncio.shield(task)
        except SyncError as error:
            # Every waiter gets an error of its own, since each fills in its own place.
            raise error.copy() from error

    async def _look_up(self, repository: Repository) -> tuple[Credential | None, str]:
        found = await asyncio.to_thread(self._source.find_credential, repository, self._registries)
        _log.info("credential", repository=str(repository), source=found.source)
        return found.credential, found.source
