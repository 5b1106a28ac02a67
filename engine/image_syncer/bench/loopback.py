"""The benchmark of this host alone: embedded registries on this machine, and content that is made for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from image_syncer.bench.bench_file import HostLimits, HostRate
from image_syncer.bench.measuring import Measurer
from image_syncer.bench.path import bench_plan
from image_syncer.bench.samples import SampleMaker
from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.dispatch.machine import inspect_machine
from image_syncer.embedded import ContentBuilder, DirectoryStorage, push_to
from image_syncer.embedded.process import RegistryProcess
from image_syncer.errors import SyncError
from image_syncer.oci import Repository
from image_syncer.reporting.plan_file import load_plan
from image_syncer.runs import plan as make_plan
from image_syncer.units import format_size
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from image_syncer.bench.bench_file import BenchFile
    from image_syncer.bench.measuring import Measured
    from image_syncer.bench.samples import Sample
    from image_syncer.reporting.plan_file import PlanFile


KIB, MIB = 2**10, 2**20
LEAST_ROOM_BYTES = 500 * MIB
"""For the content of the source, and reports: more than both take."""
CONTENT = {"small": (150, 64 * KIB, 3), "large": (4, 64 * MIB, 1), "middle": (12, 3 * MIB, 3)}
"""By repository: images, bytes of a layer, and layers of an image."""
ROUNDS, ENOUGH_S = 2, 8.0
"""Rounds of a measurement, of which the best counts; one round is enough where it took so long."""
HASHED_PIECE, HASHED_FOR_S = bytes(2**20), 0.3
STREAMS = "--streams=16"
SAMPLE_BYTES = 2**30
OF_WORKERS = ("start upload", "get blob", "patch upload", "put upload", "put manifest")
"""The small requests that come after a run has begun to copy."""
_CERTIFICATE = ("-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_OPENSSL_S = 30


class Loopback(Value, frozen=True):
    """A plan from one embedded registry to another, the same plan over TLS where there is a certificate, and the
    options with which a run reaches all of them.
    """

    plan: PlanFile
    tls_plan: PlanFile | None
    access: tuple[str, ...]


def bench_host(
    command: Sequence[str],
    folder: Path,
    *,
    most_bytes: int,
    tell: Callable[[str], None] = lambda _text: None,
) -> BenchFile:
    """Measure what this machine can do, with registries that run on it too. Raises SyncError where a run fails or
    `folder` has too little room.
    """
    room = shutil.disk_usage(folder).free
    if room < LEAST_ROOM_BYTES:
        needed = format_size(LEAST_ROOM_BYTES)
        what = f"the bench needs {needed} in {folder.parent}, and there are {format_size(room)}"
        raise SyncError(what, hint="Have TMPDIR name a folder with more room.")
    with loopback(folder) as own:
        found = bench_plan(own.plan, command, own.access, folder, most_bytes=most_bytes, sweeps=True, tell=tell)
        limits = measure_host(own, Measurer(command, own.access, folder), folder, tell)
    return replace(found, limits=limits)


# Registries


@contextlib.contextmanager
def loopback(folder: Path) -> Iterator[Loopback]:
    """Registries in processes of their own while the block runs; the content of the source is in `folder`."""
    root = folder / "source"
    content, storage = ContentBuilder(seed=1), DirectoryStorage(root)
    for name, (images, size, layers) in CONTENT.items():
        for number in range(images):
            push_to(storage, name, content.image(layers, layer_bytes=size), [f"v{number}"])
    certificate = make_certificate(folder)
    with contextlib.ExitStack() as stack:
        source, destination = (stack.enter_context(one) for one in (RegistryProcess(root), RegistryProcess()))
        hosts = (source.address, destination.address)
        entries = [RegistryEntry(host, insecure=True) for host in hosts]
        path = folder / "plan.json"
        rules = tuple(
            Rule(Repository(hosts[0], name), TagSelection(), (Destination(Repository(hosts[1], name)),))
            for name in CONTENT
        )
        make_plan(Configuration(rules, RegistryBook(entries)), Settings(plan_path=str(path)))
        plan = load_plan(str(path))
        access: dict[str, dict[str, Any]] = {host: {"insecure": True} for host in hosts}
        tls_plan = None
        if certificate is not None:
            secure = RegistryProcess(root, certificate=certificate), RegistryProcess(certificate=certificate)
            names = dict(zip(hosts, (stack.enter_context(each).address for each in secure), strict=True))
            access |= {host: {"ca_file": certificate[0]} for host in names.values()}
            tls_plan = _moved(plan, names)
        registries = folder / "registries.json"
        registries.write_text(json.dumps(access), encoding="utf-8")
        yield Loopback(plan, tls_plan, ("--auth", str(registries)))


def make_certificate(folder: Path, address: str = "127.0.0.1") -> tuple[str, str] | None:
    """Write a self-signed certificate for an IP `address` and its key (mode 600) into `folder`, and return both paths.
    None where this machine has no `openssl` command of version 1.1.1 or later. Raises OSError where they cannot be
    written.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    key.touch(mode=0o600)
    words = (openssl, "req", "-x509", *_CERTIFICATE, "-subj", "/CN=image-syncer bench")
    files = ("-addext", f"subjectAltName=IP:{address}", "-keyout", str(key), "-out", str(certificate))
    done = subprocess.run(
        (*words, *files), stdin=subprocess.DEVNULL, capture_output=True, timeout=_OPENSSL_S, check=False
    )
    return (str(certificate), str(key)) if done.returncode == 0 else None


def _moved(plan: PlanFile, names: dict[str, str]) -> PlanFile:
    """The same plan between other registries."""

    def at(location: str) -> str:
        host, slash, rest = location.partition("/")
        return f"{names[host]}{slash}{rest}"

    images = (replace(one, source=at(one.source), destination=at(one.destination)) for one in plan.images)
    return replace(plan, images=tuple(images))


# Limits of the host


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
        pipe_bytes_per_s=_best_rate(plain.large, measurer, cpus, _bytes_of),
        tls_bytes_per_s=None if secure is None else _best_rate(secure.large, measurer, cpus, _bytes_of),
        requests_per_s=_best_rate(plain.small, measurer, cpus, _requests_of),
    )


def _maker(plan: PlanFile, folder: Path, name: str) -> SampleMaker:
    source, _, _ = plan.images[0].source.partition("/")
    maker = SampleMaker(plan, source, folder, name, SAMPLE_BYTES)
    maker.repeat()
    return maker


def _hash_rate(name: str, cpus: int) -> HostRate:
    core = _hashed_by(name, 1)
    return HostRate(core, _hashed_by(name, cpus) if cpus > 1 else core, core)


def _hashed_by(name: str, threads: int) -> float:
    """Bytes per second of an algorithm of hashlib, which releases the GIL, in `threads`."""

    def work(until: float) -> int:
        digester, hashed = hashlib.new(name), 0
        while time.monotonic() < until:
            digester.update(HASHED_PIECE)
            hashed += len(HASHED_PIECE)
        return hashed

    began = time.monotonic()
    with ThreadPoolExecutor(threads) as pool:
        hashed = sum(pool.map(work, [began + HASHED_FOR_S] * threads))
    return hashed / (time.monotonic() - began)


def _best_rate(
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
            if not done.moved:
                raise SyncError("a run of the bench moved nothing")
            number = count(done)
            best[workers] = max(best.get(workers, 0.0), number / max(done.moving_s, 1e-3))
            of_cpu = max(of_cpu, number / max(done.cost.cpu_s, 1e-3))
    return HostRate(best[1], best[cpus], of_cpu)


def _bytes_of(done: Measured) -> float:
    return float(sum(one["bytes_moved"] for one in done.transfers))


def _requests_of(done: Measured) -> float:
    asked = done.report["totals"]["requests"]
    return float(sum(asked.get(name, 0) for name in OF_WORKERS))
