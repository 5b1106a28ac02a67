"""What is done at a destination before the blobs of an image are brought there: a repository that is missing is
created, and what is there already is found out.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from image_syncer.coordinator.blob_presence import BlobPresence
from image_syncer.coordinator.own_api import OwnApi
from image_syncer.coordinator.repository_creation import EcrApis, RepositoryCreation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.coordinator.credential_lookup import CredentialLookup
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Repository
    from image_syncer.planning import KnownBlobs, RetryPolicies

__all__ = ["Preparation"]


class Preparation:
    """Both of it, for all images of a run. `created` are the repositories and projects that were made."""

    def __init__(
        self,
        client: RegistryClient,
        endpoints: EndpointBook,
        lookup: CredentialLookup,
        policies: RetryPolicies,
        known_blobs: KnownBlobs,
        transfers: Transfers,
    ) -> None:
        registries = lookup.registries
        self.creates = any(entry.creation is not None for entry in registries.entries)
        """Whether anything may have to be created."""
        apis = EcrApis(lookup.source.clouds, registries)
        self.own_api = OwnApi(client, lookup, retry=policies.read, chance=random.random)
        """What registries have beside `/v2/`, to be asked for more."""
        self._creation = RepositoryCreation(endpoints, registries, apis, self.own_api)
        self._presence = BlobPresence(endpoints, apis, known_blobs, transfers.absent, client.transport.requests)

    @property
    def created(self) -> list[str]:
        """The repositories and projects that were made, in their order: "registry/name"."""
        return self._creation.created

    async def create(self, repository: Repository) -> bool:
        """Whether `repository`, or its project, is there now because this run created it; see `RepositoryCreation`."""
        return await self._creation.ensure(repository)

    async def prepare(self, repository: Repository, digests: Sequence[Digest]) -> None:
        """Return when `repository` is there, and what it has of `digests` is noted; raises `SyncError` where it is
        missing and cannot be created.
        """
        await self._creation.ensure(repository)
        await self._presence.note(repository, digests)
