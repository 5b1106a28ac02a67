"""The registries of a path: their latencies and limits, and the removal of what a benchmark pushed to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.capacity.measured import number_in, object_in, text_in
from image_syncer.config import Settings
from image_syncer.coordinator.run import run_in_loop
from image_syncer.credentials import CredentialSource
from image_syncer.discovery.registry_access import RegistryAccess
from image_syncer.errors import Origin, RateLimitedError, SyncError
from image_syncer.oci import Digest, InvalidManifest, ManifestKind, parse_manifest
from image_syncer.registry import build_get_manifest, build_head_blob, build_head_manifest, parse_allowance
from image_syncer.registry.manifests import build_delete_manifest
from image_syncer.scheduling import decide_policies
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from image_syncer.config import Configuration
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Request, Response


_FOUND, _TOO_MANY = 200, 429
_GONE = (_FOUND, 202, 204, 404)
_MAY_EXIST = (_FOUND, 404)
_CONNECTIONS = 8
GIVE_UP_S, STALL_S = 60.0, 20.0
"""Shorter than those of a run, since a benchmark has nothing else to do while a registry is down."""
_SHOWN = 5
"""Repositories that are named where manifests could not be deleted in many."""
ALONE = 10
"""Requests one after another, of which the median counts."""
TOGETHER, AT_A_TIME = 64, 16
"""Requests, and how many of them at a time, for the requests per second without pressure."""
UNKNOWN_DIGEST = Digest("sha256:" + "0" * 64)
"""The blob and the manifest that a destination is asked for: no registry has them."""


def delete_written(configuration: Configuration, written: Sequence[tuple[Repository, Digest]]) -> list[str]:
    """Delete the manifests, with those that an index names; return a sentence for each repository where that failed.
    Blobs are left to the garbage collection of the registry.
    """
    return run_in_loop(_delete(configuration, list(dict.fromkeys(written)))) if written else []


@contextlib.asynccontextmanager
async def _access_to(configuration: Configuration) -> AsyncIterator[RegistryAccess]:
    """A way to the registries for a few small requests."""
    settings = Settings(give_up_after_s=GIVE_UP_S, stall_timeout_s=STALL_S)
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
    try:
        yield access
    finally:
        await access.health.close()
        source.close()
        access.driver.close()


async def _delete(configuration: Configuration, written: Sequence[tuple[Repository, Digest]]) -> list[str]:
    left: dict[str, str] = {}
    async with _access_to(configuration) as access:
        for repository, digest in written:
            name = str(repository)
            try:
                endpoint = await access.endpoints.resolve(repository.registry, Origin.DESTINATION)
                await _delete_tree(access, endpoint, repository, digest)
            except SyncError as error:
                left.setdefault(name, error.message)
    said = [f"left at {name}: {why}" for name, why in list(left.items())[:_SHOWN]]
    if len(left) > _SHOWN:
        said.append(f"left in {len(left) - _SHOWN:,} repositories more, for like reasons")
    return said


async def _delete_tree(access: RegistryAccess, endpoint: Endpoint, repository: Repository, digest: Digest) -> None:
    """Delete a manifest, and then what it names: some registries refuse the other order."""
    request = build_get_manifest(endpoint, repository, str(digest))
    answer = await access.client.send(request, endpoint, origin=Origin.DESTINATION, accept=_MAY_EXIST)
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


class PathSide(Value, frozen=True):
    """One registry. `first_s` is the time of the first answer, with its connection and token; `latency_s` the fastest
    answer, `request_s` the median by kind of request, one at a time, and `requests_per_s` the rate of several at a
    time. `allowance` is the limit that its answers name ("100 in 6 h"), `refused` the requests refused (429) during the
    bench, `left_alone_s` the pauses after them; `connections` and `paced_per_s` are the limits that a run had to keep.
    """

    registry: str
    side: str
    first_s: float | None = None
    latency_s: float | None = None
    request_s: Mapping[str, float] = field(default_factory=dict)
    requests_per_s: float | None = None
    allowance: str | None = None
    refused: int = 0
    left_alone_s: float = 0.0
    connections: int | None = None
    paced_per_s: float | None = None
    trouble: str | None = None

    def as_data(self) -> dict[str, Any]:
        """What is known, as plain data for a file."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {})}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> PathSide:
        """What `as_data` wrote. Raises ValueError with a sentence for people where it is something else."""
        values: dict[str, Any] = {name: text_in(data, name) for name in ("registry", "side")}
        values |= {name: text_in(data, name) for name in ("allowance", "trouble") if name in data}
        numbers = ("first_s", "latency_s", "requests_per_s", "left_alone_s", "paced_per_s")
        values |= {name: number_in(data, name, "side") for name in numbers if name in data}
        values |= {name: int(number_in(data, name, "side")) for name in ("refused", "connections") if name in data}
        requests = object_in(data, "request_s") if "request_s" in data else {}
        return cls(**values, request_s={name: number_in(requests, name, "request_s") for name in requests})


def ask_side(
    configuration: Configuration, origin: Origin, repository: Repository, digest: Digest = UNKNOWN_DIGEST
) -> PathSide:
    """Send a few HEAD requests for one manifest and one blob of `repository`, which need not exist; they cost no pulls.
    An error is noted as `trouble`, and the bench continues.
    """
    return run_in_loop(_ask(configuration, origin, repository, digest))


def with_limits_found(side: PathSide, reports: Iterable[Mapping[str, Any]]) -> PathSide:
    """`side` with what the `limits` of reports say of its registry."""
    for limits in reports:
        data = limits.get(side.registry)
        if data is None:
            continue
        pairs = [*data.get("connections", ()), (0, side.connections)]
        connections = [int(value) for _, value in pairs if value is not None]
        rates = [*data.get("requests_per_s", ()), (0, side.paced_per_s)]
        rates = [float(value) for _, value in rates if value is not None]
        side = replace(
            side,
            refused=side.refused + data["refused"],
            left_alone_s=side.left_alone_s + data["left_alone_s"],
            connections=min(connections, default=None),
            paced_per_s=min(rates, default=None),
        )
    return side


async def _ask(configuration: Configuration, origin: Origin, repository: Repository, digest: Digest) -> PathSide:
    side = PathSide(repository.registry, origin.value)
    async with _access_to(configuration) as access:
        try:
            endpoint = await access.endpoints.resolve(repository.registry, origin)
            return await _Asking(access, endpoint, origin).about(side, repository, digest)
        except SyncError as error:
            return replace(side, trouble=error.message)


class _Asking:
    """Sends each request once; a refusal is counted, and ends the requests."""

    def __init__(self, access: RegistryAccess, endpoint: Endpoint, origin: Origin) -> None:
        self._access = access
        self._endpoint = endpoint
        self._origin = origin
        self._refused = 0
        self._allowance: str | None = None

    async def about(self, side: PathSide, repository: Repository, digest: Digest) -> PathSide:
        kinds = {
            "head manifest": build_head_manifest(self._endpoint, repository, str(digest)),
            "head blob": build_head_blob(self._endpoint, repository, UNKNOWN_DIGEST),
        }
        first_s = await self._time(kinds["head manifest"])
        request_s: dict[str, float] = {}
        fastest = [first_s]
        for name, request in kinds.items():
            took = [await self._time(request) for _ in range(ALONE) if not self._refused]
            if took and not self._refused:
                request_s[name] = statistics.median(took)
                fastest.append(min(took))
        rate = None if self._refused else await self._rate(kinds["head manifest"])
        return replace(
            side,
            first_s=first_s,
            latency_s=min(fastest),
            request_s=request_s,
            requests_per_s=rate,
            allowance=self._allowance,
            refused=self._refused,
        )

    async def _rate(self, request: Request) -> float | None:
        began, answered, left = time.monotonic(), 0, iter(range(TOGETHER))

        async def some() -> None:
            nonlocal answered
            for _ in left:
                if self._refused:
                    return
                await self._time(request)
                answered += 1

        await asyncio.gather(*(some() for _ in range(AT_A_TIME)))
        return None if self._refused else answered / (time.monotonic() - began)

    async def _time(self, request: Request) -> float:
        began = time.monotonic()
        try:
            response = await self._access.client.exchange(request, self._endpoint, origin=self._origin)
        except RateLimitedError:
            self._refused += 1
            return time.monotonic() - began
        took = time.monotonic() - began
        self._refused += response.status == _TOO_MANY
        self._note(response)
        return took

    def _note(self, response: Response) -> None:
        allowance = parse_allowance(response.headers, time.time())
        if allowance is None or allowance.limit is None:
            return
        window = "" if allowance.window_s is None else f" in {allowance.window_s:g} s"
        left = "" if allowance.remaining is None else f", {allowance.remaining} left"
        self._allowance = f"{allowance.limit:g} requests{window}{left}"
