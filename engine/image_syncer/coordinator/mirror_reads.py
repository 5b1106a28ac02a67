"""Reads from the mirrors of a source registry: manifests, and what else is asked for by its digest.

Nothing is asked for by a tag there: a mirror may be behind, and what a tag means is the registry's to say. That is
`pull-from-mirror = "digest-only"` of containers-registries.conf(5), and a host of containerd's hosts.toml with the
capability `pull` and without `resolve`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from image_syncer.errors import NotFoundError, Origin, SyncError
from image_syncer.registry import say_whose
from image_syncer.telemetry import get_logger
from image_syncer.worker.messages import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["MirrorReads"]

ASKED_FOR_S = 60.0
"""How long a mirror may take for one answer, with its token: then the next one is asked."""
_OK = 200

_log = get_logger(__name__)


class MirrorReads:
    """The mirrors of `registries` for this process, and what all processes had of them."""

    def __init__(self, client: RegistryClient, endpoints: EndpointBook, registries: RegistryBook) -> None:
        self._client = client
        self._endpoints = endpoints
        self._registries = registries
        self._loop = asyncio.get_running_loop()
        self._spoken: set[str] = set()
        self._came: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    async def try_read(
        self,
        repository: Repository,
        build: Callable[[Endpoint, Repository], Request],
        check: Callable[[Response], None],
    ) -> bool:
        """Whether a mirror of the repository's registry gave an answer to what `build` makes that `check` does not
        raise an error for.
        """
        mirrors = self._client.mirrors
        for place in self._registries.mirrors_of(repository):
            registry = place.registry
            if not mirrors.is_usable(registry, self._loop.time()):
                continue
            try:
                size = await asyncio.wait_for(self._read(place, repository.registry, build, check), ASKED_FOR_S)
            except (SyncError, asyncio.TimeoutError) as found:
                error = found if isinstance(found, SyncError) else SyncError(f"no answer within {ASKED_FOR_S:.0f} s")
                _log.info("mirror passed over", mirror=registry, repository=str(place), reason=str(error))
                mirrors.failed(registry, error, self._loop.time())
                if isinstance(error, NotFoundError):
                    self._spoken.add(registry)
                else:
                    self._spoken.discard(registry)
            else:
                self._spoken.add(registry)
                mirrors.came(registry, size)
                return True
        return False

    def known_places(self, repository: Repository) -> tuple[Place, ...]:
        """Where a worker may find the blobs of `repository` beside the registry itself, in the order of trial: mirrors
        that have answered us, since a worker relies on that (see `RemoteAuthorizer`).
        """
        mirrors, now = self._client.mirrors, self._loop.time()
        return tuple(
            Place.of(endpoint, place)
            for place in self._registries.mirrors_of(repository)
            if place.registry in self._spoken
            and mirrors.is_usable(place.registry, now)
            and (endpoint := self._endpoints.known(place.registry)) is not None
        )

    def add_counts(self, counts: Mapping[str, list[int]]) -> None:
        """What a worker had of them since it said so last, see `Mirrors.take_counts`."""
        for registry, (came, failed) in counts.items():
            self._came[registry] += came
            self._failed[registry] += failed

    def as_data(self) -> dict[str, dict[str, int]]:
        """For the report: what each mirror gave, and how often it could not."""
        self.add_counts(self._client.mirrors.take_counts())
        return {
            registry: {"bytes": self._came[registry], "failures": self._failed[registry]}
            for registry in sorted({**self._came, **self._failed})
        }

    async def _read(
        self,
        place: Repository,
        registry: str,
        build: Callable[[Endpoint, Repository], Request],
        check: Callable[[Response], None],
    ) -> int:
        endpoint = await self._endpoints.find_once(place.registry)
        request = say_whose(build(endpoint, place), registry)
        response = await self._client.exchange(request, endpoint, origin=Origin.SOURCE)
        if response.status != _OK:
            raise self._client.failure(response, request, endpoint, Origin.SOURCE)
        check(response)
        return len(response.body)
