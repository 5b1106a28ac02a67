"""The blob set: which blobs are at which destination registry, on their way there, or wanted there.

A blob is needed once for each destination registry and digest, however many images and repositories name it. The first
repository that needs it gets it from the source; the others wait, and mount it from there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository

__all__ = ["BlobNeed", "BlobSet", "Target"]


@dataclass(frozen=True, slots=True)
class BlobNeed:
    """One image, on its way to one destination, needs one blob. `size` in bytes, -1 where nobody knows it yet."""

    digest: Digest
    size: int
    source: Repository
    target: Repository
    delivery: int


@dataclass(eq=False, slots=True)
class Target:
    """One repository that needs a blob, and the deliveries (images on their way to a destination) that wait for it.

    `mount_from` is the repository of the same registry that is asked first; its own where no other has the blob.
    """

    digest: Digest
    size: int
    source: Repository
    repository: Repository
    deliveries: list[int]
    mount_from: str
    booked_bytes: int = 0
    """Its part in what a run is expected to move: the size for the first of a registry, 0 for those that mount."""
    tries: int = 0
    losses: int = 0

    @property
    def mounts(self) -> bool:
        """Whether it is expected to arrive by a mount from another repository, without bytes."""
        return self.mount_from != self.repository.name


@dataclass(slots=True)
class _Entry:
    homes: list[str] = field(default_factory=list)
    active: dict[str, Target] = field(default_factory=dict)
    waiting: dict[str, Target] = field(default_factory=dict)


class BlobSet:
    """What is known of every distinct blob at every destination registry."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, Digest], _Entry] = {}
        self.targets = 0
        """Targets made so far, and their known bytes."""
        self.target_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """Whether this run knows that `repository` has the blob."""
        entry = self._entries.get((repository.registry, digest))
        return entry is not None and repository.name in entry.homes

    def join(self, need: BlobNeed) -> Target | None:
        """Take note of a need; the new target to be worked on, or None where an older one serves it or it waits."""
        entry = self._entries.setdefault((need.target.registry, need.digest), _Entry())
        name = need.target.name
        known = entry.active.get(name) or entry.waiting.get(name)
        if known is not None:
            known.deliveries.append(need.delivery)
            return None
        target = Target(need.digest, need.size, need.source, need.target, [need.delivery], name)
        if not (entry.homes or entry.active or entry.waiting):
            target.booked_bytes = max(need.size, 0)
        self.targets += 1
        self.target_bytes += target.booked_bytes
        if entry.active and not entry.homes:
            entry.waiting[name] = target
            return None
        return self._activate(entry, target)

    def landed(self, target: Target) -> list[Target]:
        """`target` has the blob now; those that waited, each to be mounted from there."""
        entry = self._entries[target.repository.registry, target.digest]
        entry.active.pop(target.repository.name, None)
        entry.homes.append(target.repository.name)
        return self._release(entry, list(entry.waiting.values()))

    def failed(self, target: Target, *, source_failed: bool) -> tuple[list[Target], list[Target]]:
        """`target` is given up: (those that fail with it because they wait for the same source, those to try now)."""
        entry = self._entries[target.repository.registry, target.digest]
        entry.active.pop(target.repository.name, None)
        fallen: list[Target] = []
        if source_failed:
            fallen = [other for other in entry.waiting.values() if other.source == target.source]
            for other in fallen:
                del entry.waiting[other.repository.name]
        if entry.homes:
            return fallen, self._release(entry, list(entry.waiting.values()))
        if entry.active:
            return fallen, []
        return fallen, self._release(entry, list(entry.waiting.values())[:1])

    def _release(self, entry: _Entry, targets: list[Target]) -> list[Target]:
        for target in targets:
            del entry.waiting[target.repository.name]
        return [self._activate(entry, target) for target in targets]

    def _activate(self, entry: _Entry, target: Target) -> Target:
        if entry.homes:
            target.mount_from = entry.homes[0]
        entry.active[target.repository.name] = target
        return target
