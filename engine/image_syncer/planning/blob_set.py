"""The blob set: which blobs are at which destination registry, on their way there, or wanted there.

A blob is needed once for each destination registry and digest, however many images and repositories name it. The first
repository that needs it gets it from the source; the others wait, and mount it from there. Where a registry mounts only
between some repositories, or none, this holds for each group of those.

Only blobs under way are objects here. What has landed goes to the `KnownBlobs`, which make it small.

Needs of one repository share a target only where source and size are the same, too: what is wrong at one source, or in
one manifest, must not fail the images of another. Such targets wait for each other, and one that lands serves all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct, field

from image_syncer.planning.known_blobs import KnownBlobsInMemory
from image_syncer.planning.work_count import WorkCount
from image_syncer.registry import Mounts
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.known_blobs import KnownBlobs
    from image_syncer.planning.retry import Tries

__all__ = ["BlobNeed", "BlobSet", "Target"]

_Key: TypeAlias = "tuple[str, Repository, int]"
"""Name of the repository, source, size: needs that have them in common share a target."""

_Place: TypeAlias = "tuple[str, str, Digest]"
"""Registry, realm, digest."""


class BlobNeed(Value, frozen=True):
    """One image, on its way to one destination, needs one blob. `size` in bytes, -1 where nobody knows it yet."""

    digest: Digest
    size: int
    source: Repository
    target: Repository
    delivery: int


class Target(Struct, eq=False):
    """One repository that needs a blob, and the deliveries (images on their way to a destination) that wait for it.

    `mount_from` is the repository of the same registry that is asked first; its own where no other has the blob.
    """

    digest: Digest
    size: int
    source: Repository
    repository: Repository
    deliveries: list[int]
    mount_from: str
    realm: str = ""
    """With what the names of the repositories begin between which it can be mounted; see `Mounts.realm`."""
    booked_bytes: int = 0
    """Its part in what a run is expected to move: the size for the first of a registry, 0 for those that mount."""
    tries: Tries | None = None
    """Those that were in vain; None where there were none."""
    losses: int = 0
    """Workers whose loss counts against it (see `quarantine.py`)."""
    deaths: int = 0
    """Workers that were lost with it in all."""
    furthest: int = 0
    """Bytes of it that had come when one of them was lost, at most."""
    split: bool = False
    """Whether it held the other targets of its job back, and was split off."""

    @property
    def mounts(self) -> bool:
        """Whether it is expected to arrive by a mount from another repository, without bytes."""
        return self.mount_from != self.repository.name


class _Entry(Struct):
    """One blob on its way to one registry, or to that part of it in which it can be mounted: `active` are being brought
    there, at most one for each repository, and only one in all while no repository is known to have the blob. `home` is
    the name of one that has.
    """

    home: str | None
    active: dict[str, Target] = field(default_factory=dict)
    waiting: dict[_Key, Target] = field(default_factory=dict)

    def may_start(self, name: str) -> bool:
        return name not in self.active and (self.home is not None or not self.active)

    def start(self, target: Target) -> Target:
        if self.home is not None:
            target.mount_from = self.home
        self.active[target.repository.name] = target
        return target

    def release(self) -> list[Target]:
        """Start those of the waiting that may."""
        released = []
        for key, target in list(self.waiting.items()):
            if self.may_start(target.repository.name):
                del self.waiting[key]
                released.append(self.start(target))
        return released


class BlobSet:
    """What is known of every distinct blob at every destination registry. Its length is that of what is under way.

    `mounts_at` says between which repositories of a registry a blob can be mounted.
    """

    def __init__(
        self,
        known_blobs: KnownBlobs | None = None,
        mounts_at: Callable[[str], Mounts] = lambda _registry: Mounts.ANYWHERE,
    ) -> None:
        self._known_blobs: KnownBlobs = KnownBlobsInMemory() if known_blobs is None else known_blobs
        self._mounts_at = mounts_at
        self._entries: dict[_Place, _Entry] = {}
        self.work = WorkCount()
        """The targets, by the way that they take."""
        self.targets = 0
        """Targets made so far, and their known bytes."""
        self.target_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """Whether this run knows that `repository` has the blob."""
        return self._known_blobs.has(repository, digest)

    def join(self, need: BlobNeed) -> Target | None:
        """Take note of a need; the new target to be worked on, or None where an older one serves it or it waits."""
        registry, name = need.target.registry, need.target.name
        realm = self._mounts_at(registry).realm(name)
        place = registry, realm, need.digest
        entry = self._entries.get(place)
        if entry is None:
            home = None if realm == name else self._known_blobs.home(registry, need.digest, realm)
            entry = self._entries[place] = _Entry(home)
        key = (name, need.source, need.size)
        known = entry.active.get(name)
        if known is None or _key_of(known) != key:
            known = entry.waiting.get(key)
        if known is not None:
            known.deliveries.append(need.delivery)
            return None
        # A source of the same registry has the blob, so that it can be mounted from there.
        is_near = need.source.registry == registry and realm != name and need.source.name.startswith(realm)
        mount_from = need.source.name if is_near else name
        target = Target(need.digest, need.size, need.source, need.target, [need.delivery], mount_from, realm)
        if not (target.mounts or entry.home or entry.active or entry.waiting):
            target.booked_bytes = max(need.size, 0)
        self.targets += 1
        self.target_bytes += target.booked_bytes
        self.work.want(target)
        if entry.may_start(name):
            return entry.start(target)
        entry.waiting[key] = target
        return None

    def landed(self, target: Target) -> tuple[list[Target], list[Target]]:
        """`target` has the blob now: (those of the same repository, which have it with it, those to be mounted)."""
        self._known_blobs.add(target.repository, target.digest)
        entry = self._entries[_place_of(target)]
        if entry.home is None:
            entry.home = target.repository.name
        del entry.active[target.repository.name]
        served = [other for other in entry.waiting.values() if other.repository == target.repository]
        for other in served:
            del entry.waiting[_key_of(other)]
        return served, self._release(target)

    def failed(self, target: Target, *, source_failed: bool) -> tuple[list[Target], list[Target]]:
        """`target` is given up: (those that fail with it because they wait for the same of that source, those to try
        now).
        """
        entry = self._entries[_place_of(target)]
        del entry.active[target.repository.name]
        fallen = [
            other
            for other in entry.waiting.values()
            if source_failed and (other.source, other.size) == (target.source, target.size)
        ]
        for other in fallen:
            del entry.waiting[_key_of(other)]
        return fallen, self._release(target)

    def _release(self, target: Target) -> list[Target]:
        """Those that may start after `target` has ended; nothing is kept of a blob that nobody waits for any more."""
        place = _place_of(target)
        entry = self._entries[place]
        released = entry.release()
        if not entry.active:  # so nothing waits either: the first of those that wait can always start
            del self._entries[place]
        return released


def _place_of(target: Target) -> _Place:
    return target.repository.registry, target.realm, target.digest


def _key_of(target: Target) -> _Key:
    return target.repository.name, target.source, target.size
