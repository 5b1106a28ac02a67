"""Manifests: read from registries and mirrors, and checked against digest and size.

A mirror is never asked for a tag: it may be behind, and only the registry decides what a tag means. That is
`pull-from-mirror = "digest-only"` of containers-registries.conf(5), and a host of containerd's hosts.toml with the
capability `pull` and without `resolve`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from image_syncer.errors import IntegrityError, NotFoundError, Origin, ProtocolViolation, SyncError
from image_syncer.oci import Digest, InvalidManifest, Manifest, Repository, digest_of, parse_manifest
from image_syncer.registry import NO_REGISTRY_HINT, build_get_manifest, is_page, say_whose
from image_syncer.telemetry import get_logger
from image_syncer.worker.protocol import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Descriptor
    from image_syncer.registry import Endpoint, Request, Response


MIRROR_ANSWER_S = 60.0
"""How long a mirror may take for one answer, with its token: then the next one is asked."""
MAX_MANIFEST_BYTES = 4 * 2**20
_OK = 200

_log = get_logger(__name__)


class MirrorReads:
    """Asks the mirrors of `registries`, and counts what mirrors gave to all processes."""

    def __init__(self, client: RegistryClient, endpoints: EndpointBook, registries: RegistryBook) -> None:
        self._client = client
        self._endpoints = endpoints
        self._registries = registries
        self._loop = asyncio.get_running_loop()
        self.spoken: set[str] = set()
        """Mirrors that have answered, and may be named to workers."""
        self._came: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()

    async def try_read(
        self,
        repository: Repository,
        build: Callable[[Endpoint, Repository], Request],
        check: Callable[[Response], None],
    ) -> bool:
        """Ask mirrors of the repository's registry with the request of `build`; return whether one gave an answer that
        `check` accepts.
        """
        mirrors = self._client.mirrors
        for place in self._registries.mirrors_of(repository):
            registry = place.registry
            if not mirrors.is_usable(registry, self._loop.time()):
                continue
            try:
                size = await asyncio.wait_for(self._read(place, repository.registry, build, check), MIRROR_ANSWER_S)
            except (SyncError, asyncio.TimeoutError) as found:
                error = (
                    found if isinstance(found, SyncError) else SyncError(f"no answer within {MIRROR_ANSWER_S:.0f} s")
                )
                _log.info("mirror passed over", mirror=registry, repository=str(place), reason=str(error))
                mirrors.failed(registry, error, self._loop.time())
                if isinstance(error, NotFoundError):
                    self.spoken.add(registry)
                else:
                    self.spoken.discard(registry)
            else:
                self.spoken.add(registry)
                mirrors.came(registry, size)
                return True
        return False

    def known_places(self, repository: Repository) -> tuple[Place, ...]:
        """The mirrors that a worker may ask for blobs of `repository`, in the order of trial: those that have answered
        the coordinator, since a worker relies on that (see `RemoteAuthorizer`).
        """
        mirrors, now = self._client.mirrors, self._loop.time()
        return tuple(
            Place.of(endpoint, place)
            for place in self._registries.mirrors_of(repository)
            if place.registry in self.spoken
            and mirrors.is_usable(place.registry, now)
            and (endpoint := self._endpoints.known(place.registry)) is not None
        )

    def add_counts(self, counts: Mapping[str, list[int]]) -> None:
        """Add a worker's counts, see `Mirrors.take_counts`."""
        for registry, (came, failed) in counts.items():
            self._came[registry] += came
            self._failed[registry] += failed

    def as_data(self) -> dict[str, dict[str, int]]:
        """For the report: bytes and failures by mirror."""
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


class ManifestReads:
    """Reads manifests through the client; every error names side and image. A manifest of a source that is asked for by
    its digest is asked of the mirrors in `registries` first.
    """

    def __init__(self, client: RegistryClient, endpoints: EndpointBook, registries: RegistryBook) -> None:
        self._client = client
        self._endpoints = endpoints
        self.mirrors = MirrorReads(client, endpoints, registries)

    async def get(self, repository: Repository, target: str, origin: Origin, wanted: Digest | None = None) -> Manifest:
        """The manifest at `target`, a tag or a digest; with `wanted`, one of that digest. Raises NotFoundError,
        IntegrityError, ProtocolViolation and the other errors of requests.
        """
        places: dict[str, Any] = {
            "origin": origin,
            "repository": str(repository),
            "reference": target,
            "operation": "get manifest",
        }
        read: list[Manifest] = []

        def check(response: Response) -> None:
            read[:] = [_read_manifest(response, wanted, places)]

        def build(endpoint: Endpoint, place: Repository) -> Request:
            return build_get_manifest(endpoint, place, target)

        by_digest = wanted is not None and origin is Origin.SOURCE
        if by_digest and await self.mirrors.try_read(repository, build, check):
            return read[0]
        endpoint = await self._endpoints.resolve(repository.registry, origin)
        await self._client.send(build(endpoint, repository), endpoint, origin=origin, check=check)
        return read[0]

    async def get_child(self, repository: Repository, child: Descriptor) -> Manifest:
        """A child of an index of the source. Raises IntegrityError where it differs from the size in the index."""
        manifest = await self.get(repository, str(child.digest), Origin.SOURCE, child.digest)
        if child.size >= 0 and len(manifest.raw) != child.size:
            raise IntegrityError(
                f"the index names {child.size} bytes for this child, it has {len(manifest.raw)}",
                origin=Origin.SOURCE,
                operation="get manifest",
                repository=str(repository),
                reference=str(child.digest),
            )
        return manifest


def _read_manifest(response: Response, wanted: Digest | None, places: dict[str, Any]) -> Manifest:
    """The manifest of an answer. Bytes that were damaged on the way may be whole the next time; bytes with the wanted
    digest never change.
    """
    raw = response.body
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ProtocolViolation(f"the manifest has more than {MAX_MANIFEST_BYTES} bytes", **places)
    algorithm = wanted.algorithm if wanted is not None else "sha256"
    try:
        manifest = parse_manifest(raw, response.headers.get("Content-Type"), algorithm=algorithm)
    except InvalidManifest as error:
        raise ProtocolViolation(
            f"the manifest cannot be used: {error}",
            hint=NO_REGISTRY_HINT if is_page(response) else None,
            retryable=wanted is not None and not is_page(response) and digest_of(raw, algorithm) != wanted,
            **places,
        ) from None
    if wanted is not None and manifest.digest != wanted:
        raise IntegrityError(
            "the manifest's bytes do not have the digest under which it was asked for",
            expected=str(wanted),
            actual=str(manifest.digest),
            retryable=True,
            **places,
        )
    return manifest
