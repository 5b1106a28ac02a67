"""What this host can do at most: hash, pipe, TLS and small requests, a core and all cores.

Pipe, TLS and requests are measured by runs between registries on this machine, which take their part of the processors,
too. So beside what was measured stands what a second of our own processors does: where registries are elsewhere, it is
that which bounds a core.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from image_syncer.bench.samples import SampleMaker
from image_syncer.coordinator.machine import inspect_machine
from image_syncer.errors import SyncError
from image_syncer.planning.measured import number_in
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from image_syncer.bench.loopback import Loopback
    from image_syncer.bench.measuring import Measured, Measurer
    from image_syncer.bench.samples import Sample
    from image_syncer.telemetry.plan_file import PlanFile

__all__ = ["HostLimits", "HostRate", "measure_host"]

ROUNDS, ENOUGH_S = 2, 8.0
"""Of which the better one counts: a limit is what was reached. Where one took so long, it was not a short one."""
PIECE = bytes(2**20)
HASHED_FOR_S = 0.3
STREAMS = "--streams=16"
SAMPLE_BYTES = 2**30
_TLS = "tls_bytes_per_s"
OF_WORKERS = ("start upload", "get blob", "patch upload", "put upload", "put manifest")
"""The small requests that come after a run has begun to copy."""


class HostRate(Value, frozen=True):
    """A second with one core (one worker), with all (as many workers as there are), and for each second of our own
    processes' processor time.
    """

    core: float
    all: float
    cpu: float


class HostLimits(Value, frozen=True):
    """Bytes a second, but for `requests_per_s`. `pipe` is from registry to registry by plain HTTP, hashed on the way;
    `tls` the same with TLS on both sides, None where there was no certificate to be had.
    """

    cpus: int
    sha256_bytes_per_s: HostRate
    sha512_bytes_per_s: HostRate
    pipe_bytes_per_s: HostRate
    tls_bytes_per_s: HostRate | None
    requests_per_s: HostRate

    def as_data(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Any) -> HostLimits:
        """What `as_data` described. Raises ValueError with a sentence for people where it is something else."""
        if not isinstance(data, dict):
            raise ValueError("limits: it is no object")
        names = [one.name for one in fields(cls) if one.name != "cpus"]
        rates: dict[str, Any] = {name: _rate_from(data.get(name), name) for name in names if name != _TLS}
        tls = None if data.get(_TLS) is None else _rate_from(data[_TLS], _TLS)
        return cls(cpus=int(number_in(data, "cpus", "limits", at_least=1)), **rates, tls_bytes_per_s=tls)


def _rate_from(data: Any, name: str) -> HostRate:
    if not isinstance(data, dict):
        raise ValueError(f"limits.{name}: it is no object")
    return HostRate(*(number_in(data, each, f"limits.{name}") for each in ("core", "all", "cpu")))


def measure_host(own: Loopback, measurer: Measurer, folder: Path, tell: Callable[[str], None]) -> HostLimits:
    """Measure on the registries of `own`. Raises SyncError where a run fails, or moves nothing."""
    cpus = inspect_machine().cpus
    tell("what a core and all cores hash, pipe, encrypt and ask")
    plain = _maker(own.plan, folder, "plain")
    secure = None if own.tls_plan is None else _maker(own.tls_plan, folder, "tls")
    if secure is None:
        tell("TLS is left out: that needs the openssl command")
    return HostLimits(
        cpus,
        sha256_bytes_per_s=_hash_rate("sha256", cpus),
        sha512_bytes_per_s=_hash_rate("sha512", cpus),
        pipe_bytes_per_s=_reached(plain.large, measurer, cpus, _bytes_of),
        tls_bytes_per_s=None if secure is None else _reached(secure.large, measurer, cpus, _bytes_of),
        requests_per_s=_reached(plain.small, measurer, cpus, _requests_of),
    )


def _maker(plan: PlanFile, folder: Path, name: str) -> SampleMaker:
    source, _, _ = plan.images[0].source.partition("/")
    maker = SampleMaker(plan, source, folder, name, SAMPLE_BYTES)
    maker.repeat()
    return maker


def _hash_rate(name: str, cpus: int) -> HostRate:
    """Of an algorithm of hashlib, which lets other threads run meanwhile."""
    core = _hashed_by(name, 1)
    return HostRate(core, _hashed_by(name, cpus) if cpus > 1 else core, core)


def _hashed_by(name: str, threads: int) -> float:
    hashed = [0] * threads

    def work(number: int) -> None:
        digester = hashlib.new(name)
        until = time.monotonic() + HASHED_FOR_S
        while time.monotonic() < until:
            digester.update(PIECE)
            hashed[number] += len(PIECE)

    began = time.monotonic()
    working = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for each in working:
        each.start()
    for each in working:
        each.join()
    return sum(hashed) / (time.monotonic() - began)


def _reached(
    make: Callable[[], Sample | None], measurer: Measurer, cpus: int, count: Callable[[Measured], float]
) -> HostRate:
    """The best of some rounds with one worker, and with as many as there are processors."""
    best: dict[int, float] = {}
    of_cpu, began_at = 0.0, time.monotonic()
    for turn in range(ROUNDS):
        if turn and time.monotonic() > began_at + ENOUGH_S:
            break
        for workers in dict.fromkeys((1, cpus)):
            sample = make()
            assert sample is not None
            done = measurer.run(sample.path, (f"--workers={workers}", STREAMS))
            moved = [one for one in done.transfers if one["outcomes"] == ["moved"]]
            if not moved:
                raise SyncError("a run of the bench moved nothing")
            began, ended = min(one["began_s"] for one in moved), max(one["ended_s"] for one in moved)
            number = count(done)
            best[workers] = max(best.get(workers, 0.0), number / max(ended - began, 1e-3))
            of_cpu = max(of_cpu, number / max(done.coordinator_s + done.workers_s, 1e-3))
    return HostRate(best[1], best[cpus], of_cpu)


def _bytes_of(done: Measured) -> float:
    return float(sum(one["bytes_moved"] for one in done.transfers))


def _requests_of(done: Measured) -> float:
    asked = done.report["totals"]["requests"]
    return float(sum(asked.get(name, 0) for name in OF_WORKERS))
