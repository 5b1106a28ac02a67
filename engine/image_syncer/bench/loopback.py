"""The bench without a registry of yours: embedded ones on this machine, and content that is made for it."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from image_syncer.bench.host_limits import measure_host
from image_syncer.bench.measuring import Measurer
from image_syncer.bench.path import bench_plan
from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.coordinator import plan as make_plan
from image_syncer.embedded import ContentBuilder, DirectoryStorage, push_to
from image_syncer.embedded.certificate import make_certificate
from image_syncer.embedded.process import RegistryProcess
from image_syncer.errors import SyncError
from image_syncer.oci import Repository
from image_syncer.telemetry.plan_file import load_plan
from image_syncer.units import format_size
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from image_syncer.bench.bench_file import BenchFile
    from image_syncer.telemetry.plan_file import PlanFile

__all__ = ["Loopback", "bench_host", "loopback"]

KIB, MIB = 2**10, 2**20
LEAST_ROOM_BYTES = 500 * MIB
"""For the content of the source, and reports: more than both take."""
SMALL_IMAGES, SMALL_BYTES, LAYERS = 150, 64 * KIB, 3
LARGE_IMAGES, LARGE_BYTES = 4, 64 * MIB
MIDDLE_IMAGES, MIDDLE_BYTES = 12, 3 * MIB


class Loopback(Value, frozen=True):
    """A plan from one embedded registry to another, the same over TLS where a certificate can be had, and the words
    with which a run reaches all of them.
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
    """What this machine can do, with registries that run on it, too. Raises SyncError where a run fails, OSError where
    there is no room in `folder`.
    """
    room, needed = shutil.disk_usage(folder).free, LEAST_ROOM_BYTES
    if room < needed:
        what = f"the bench needs {format_size(needed)} in {folder.parent}, and there are {format_size(room)}"
        raise SyncError(what, hint="Have TMPDIR name a folder with more room.")
    with loopback(folder) as own:
        found = bench_plan(own.plan, command, own.access, folder, most_bytes=most_bytes, sweeps=True, tell=tell)
        limits = measure_host(own, Measurer(command, own.access, folder), folder, tell)
    return replace(found, limits=limits)


@contextlib.contextmanager
def loopback(folder: Path) -> Iterator[Loopback]:
    """Registries in processes of their own while the block runs; the sources' content lies in `folder`."""
    root = folder / "source"
    _fill(root)
    certificate = make_certificate(folder)
    with contextlib.ExitStack() as stack:
        source, destination = (stack.enter_context(one) for one in (RegistryProcess(root), RegistryProcess()))
        hosts = (source.address, destination.address)
        entries = [RegistryEntry(host, insecure=True) for host in hosts]
        path = folder / "plan.json"
        make_plan(Configuration(_rules(*hosts), RegistryBook(entries)), Settings(plan_path=str(path)))
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


def _rules(source: str, destination: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(Repository(source, name), TagSelection(), (Destination(Repository(destination, name)),))
        for name in ("small", "large", "middle")
    )


def _moved(plan: PlanFile, names: dict[str, str]) -> PlanFile:
    """The same plan between other registries."""

    def at(place: str) -> str:
        host, slash, rest = place.partition("/")
        return f"{names[host]}{slash}{rest}"

    images = (replace(one, source=at(one.source), destination=at(one.destination)) for one in plan.images)
    return replace(plan, images=tuple(images))


def _fill(root: Path) -> None:
    content = ContentBuilder(seed=1)
    storage = DirectoryStorage(root)
    for name, images, size, layers in (
        ("small", SMALL_IMAGES, SMALL_BYTES, LAYERS),
        ("large", LARGE_IMAGES, LARGE_BYTES, 1),
        ("middle", MIDDLE_IMAGES, MIDDLE_BYTES, LAYERS),
    ):
        for number in range(images):
            push_to(storage, name, content.image(layers, layer_bytes=size), [f"v{number}"])
