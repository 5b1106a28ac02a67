"""Each side of a path for itself: how far away it is, what a small request takes there, and what limits were met."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.bench.cleanup import open_access
from image_syncer.coordinator.loop import run_in_loop
from image_syncer.credentials import CredentialSource
from image_syncer.errors import Origin, RateLimitedError, SyncError
from image_syncer.oci import Digest
from image_syncer.planning.measured import number_in, text_in
from image_syncer.registry import build_head_blob, build_head_manifest, parse_allowance
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from image_syncer.config import Configuration
    from image_syncer.coordinator.registry_access import RegistryAccess
    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Request, Response

__all__ = ["PathSide", "ask_side", "with_limits_found"]

ALONE = 10
"""Requests one after another: their median is what one takes."""
TOGETHER = 64
AT_A_TIME = 16
"""So many of them at a time say how many a second the registry answers, to one who does not press it."""
_TOO_MANY = 429
NOBODYS = Digest("sha256:" + "0" * 64)
"""The blob and the manifest for which a destination is asked: nobody has them."""


class PathSide(Value, frozen=True):
    """One registry as it was met. `first_s` is the first answer, with the connection and the token that it took;
    `latency_s` the fastest, `request_s` the median of each kind, one at a time, and `requests_per_s` how many were
    answered a second, some at a time. `allowance` is what its answers say of limits ("100 in 6 h"), `refused` and
    `left_alone_s` what it refused (429) while the bench lasted, and for how long it was not asked; `connections` and
    `paced_per_s` where a run had to hold to fewer.
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
        """For a file: what is known."""
        return {name: value for name, value in asdict(self).items() if value not in (None, {})}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> PathSide:
        """What `as_data` described. Raises ValueError with a sentence for people where it is something else."""
        values: dict[str, Any] = {name: text_in(data, name) for name in ("registry", "side")}
        values |= {name: text_in(data, name) for name in ("allowance", "trouble") if name in data}
        numbers = ("first_s", "latency_s", "requests_per_s", "left_alone_s", "paced_per_s")
        values |= {name: number_in(data, name, "side") for name in numbers if name in data}
        values |= {name: int(number_in(data, name, "side")) for name in ("refused", "connections") if name in data}
        requests = data.get("request_s", {})
        if not isinstance(requests, dict):
            raise ValueError("request_s: it is no object")
        return cls(**values, request_s={name: number_in(requests, name, "request_s") for name in requests})


def ask_side(
    configuration: Configuration, origin: Origin, repository: Repository, digest: Digest = NOBODYS
) -> PathSide:
    """A few HEADs for one manifest and one blob of `repository`, which need not be there; they cost no pulls. What goes
    wrong is told as `trouble`: the bench goes on.
    """
    return run_in_loop(_ask(configuration, origin, repository, digest))


def with_limits_found(side: PathSide, reports: Iterable[Mapping[str, Any]]) -> PathSide:
    """`side`, and what the `limits` of reports say of its registry."""
    for limits in reports:
        data = limits.get(side.registry)
        if data is None:
            continue
        connections = [int(value) for _, value in data.get("connections", ()) if value is not None]
        rates = [float(value) for _, value in data.get("requests_per_s", ()) if value is not None]
        side = replace(
            side,
            refused=side.refused + data["refused"],
            left_alone_s=side.left_alone_s + data["left_alone_s"],
            connections=min([*connections, *_known(side.connections)], default=None),
            paced_per_s=min([*rates, *_known(side.paced_per_s)], default=None),
        )
    return side


def _known(value: float | None) -> list[Any]:
    return [] if value is None else [value]


async def _ask(configuration: Configuration, origin: Origin, repository: Repository, digest: Digest) -> PathSide:
    source = CredentialSource(os.environ)
    access = open_access(configuration, source)
    side = PathSide(repository.registry, origin.value)
    try:
        endpoint = await access.endpoints.resolve(repository.registry, origin)
        return await _Asking(access, endpoint, origin).about(side, repository, digest)
    except SyncError as error:
        return replace(side, trouble=error.message)
    finally:
        await access.health.close()
        source.close()
        access.driver.close()


class _Asking:
    """Requests, each once: what is refused is counted, and ends the asking."""

    def __init__(self, access: RegistryAccess, endpoint: Endpoint, origin: Origin) -> None:
        self._access = access
        self._endpoint = endpoint
        self._origin = origin
        self._refused = 0
        self._allowance: str | None = None

    async def about(self, side: PathSide, repository: Repository, digest: Digest) -> PathSide:
        kinds = {
            "head manifest": build_head_manifest(self._endpoint, repository, str(digest)),
            "head blob": build_head_blob(self._endpoint, repository, NOBODYS),
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
