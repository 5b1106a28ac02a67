"""What is done at a destination before the blobs of an image are brought there: a repository that is missing is
created, and what is there already is found out.

Which blobs are there already, asked for many at a time where the registry has a call for that: it saves a request
for each.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING

from image_syncer.coordinator.own_api import OwnApi
from image_syncer.coordinator.repository_creation import EcrApis, RepositoryCreation
from image_syncer.errors import Origin, SyncError
from image_syncer.telemetry import get_logger

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

    from image_syncer.coordinator.absent_blobs import AbsentBlobs
    from image_syncer.coordinator.credential_lookup import CredentialLookup
    from image_syncer.coordinator.transfers import Transfers
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Repository
    from image_syncer.planning import KnownBlobs, RetryPolicies

__all__ = ["BATCH_CALLS", "BlobPresence", "Preparation"]


BATCH_CALLS = "ask for many blobs"
"""What these calls are counted as, among the requests of a run."""

_FEWEST = 2
"""Blobs for which a call is worth its while: a single one is asked for by the request that would begin its upload."""

_log = get_logger(__name__)


class BlobPresence:
    """Notes in `known_blobs` what a registry says that it has, and in `absent` what it says that it has not. A registry
    that refuses the question is not asked again.
    """

    def __init__(
        self,
        endpoints: EndpointBook,
        apis: EcrApis,
        known_blobs: KnownBlobs,
        absent: AbsentBlobs,
        requests: Counter[str],
    ) -> None:
        self._endpoints = endpoints
        self._apis = apis
        self._known_blobs = known_blobs
        self._absent = absent
        self._requests = requests
        self._silent: set[str] = set()

    async def note(self, repository: Repository, digests: Sequence[Digest]) -> None:
        """Ask which of `digests` the repository has; nothing is known of those that nobody could ask for."""
        registry = repository.registry
        if registry in self._silent:
            return
        endpoint = await self._endpoints.resolve(registry, Origin.DESTINATION)
        if not endpoint.profile.tells_many_blobs or not self._apis.is_known(registry):
            return
        unknown = {str(digest): digest for digest in digests if not self._known_blobs.has(repository, digest)}
        if len(unknown) < _FEWEST:
            return
        try:
            answers = await asyncio.gather(*(self._ask(repository, batch) for batch in _batches(list(unknown))))
        except SyncError as error:
            self._silent.add(registry)
            _log.info("blobs are asked for one by one", registry=registry, reason=error.message)
            return
        there = set(itertools.chain.from_iterable(answers))
        for text, digest in unknown.items():
            if text in there:
                self._known_blobs.add(repository, digest)
            else:
                self._absent.add(repository, digest)

    async def _ask(self, repository: Repository, digests: list[str]) -> list[str]:
        self._requests[BATCH_CALLS] += 1
        return await self._apis.find_blobs(repository, digests)


def _batches(texts: list[str]) -> Iterator[list[str]]:
    from image_syncer.credentials.clouds.ecr_api import MOST_DIGESTS

    for start in range(0, len(texts), MOST_DIGESTS):
        yield texts[start : start + MOST_DIGESTS]


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
