"""The bench without a registry of yours: embedded ones on this machine, and content that is made for it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from image_syncer.config import Configuration, Destination, RegistryBook, RegistryEntry, Rule, Settings, TagSelection
from image_syncer.coordinator import plan as make_plan
from image_syncer.embedded import ContentBuilder, DirectoryStorage, push_to
from image_syncer.embedded.process import RegistryProcess
from image_syncer.oci import Repository
from image_syncer.telemetry.plan_file import load_plan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from image_syncer.telemetry.plan_file import PlanFile

__all__ = ["Loopback", "loopback"]

KIB, MIB = 2**10, 2**20
SMALL_IMAGES, SMALL_BYTES, LAYERS = 150, 64 * KIB, 3
LARGE_IMAGES, LARGE_BYTES = 4, 64 * MIB
MIDDLE_IMAGES, MIDDLE_BYTES = 12, 3 * MIB


@dataclass(frozen=True)
class Loopback:
    """A plan from one embedded registry to another, and the configuration that reaches them."""

    plan: PlanFile
    configuration: Configuration
    insecure: tuple[str, ...]


@contextlib.contextmanager
def loopback(folder: Path) -> Iterator[Loopback]:
    """Two registries in processes of their own while the block runs; the source's content lies in `folder`."""
    root = folder / "source"
    _fill(root)
    source, destination = RegistryProcess(root), RegistryProcess()
    with source, destination:
        hosts = (source.address, destination.address)
        rules = tuple(
            Rule(Repository(hosts[0], name), TagSelection(), (Destination(Repository(hosts[1], name)),))
            for name in ("small", "large", "middle")
        )
        entries = [RegistryEntry(host, insecure=True) for host in hosts]
        configuration = Configuration(rules, RegistryBook(entries))
        path = folder / "plan.json"
        make_plan(configuration, Settings(plan_path=str(path)))
        yield Loopback(load_plan(str(path)), configuration, hosts)


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
