"""The blob set: which blobs are at which destination registry, on their way there, or wanted there.

A blob is needed once for each destination registry and digest, however many images and repositories name it. The first
repository that needs it gets it from the source; the others wait, and mount it from there. Where a registry mounts only
between some repositories, or none, this holds for each group of those.

Only blobs under way are objects here. What has landed goes to the `KnownBlobs`, which make it small.

Needs of one repository share a target only where source and size are the same, too: what is wrong at one source, or in
one manifest, must not fail the images of another. Such targets wait for each other, and one that lands serves all.

Which blobs registries are known to have, of all that this run has seen.

Nothing else that a run remembers grows with the catalog, so this is kept small: where a blob's own entry has room, no
object is made for it. A blob that is forgotten costs a request or a transfer, and never a wrong image, so known blobs
that run out of room may forget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct, field

from image_syncer.planning.work_count import WorkCount
from image_syncer.registry import Mounts
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Digest, Repository
    from image_syncer.planning.retry import Tries

__all__ = [
    "BlobNeed",
    "BlobSet",
    "KnownBlobs",
    "KnownBlobsInMemory",
    "Numbering",
    "Target",
]


NOWHERE = 0
"""Stands for the repository of a blob that was noted, and is not known to be anywhere."""

_Homes: TypeAlias = "int | dict[int, None]"
"""The number of the one repository that has a blob; a dictionary, in the order they got it, where there are more."""


class KnownBlobs(Protocol):
    """What a run knows of blobs that are settled. A blob is known at a registry once it is noted or added there."""

    def knows(self, registry: str, digest: Digest) -> bool:
        """Whether the blob was noted or added at `registry`."""

    def note(self, registry: str, digest: Digest) -> None:
        """The blob is needed at `registry`; where it is known there already, nothing changes."""

    def add(self, repository: Repository, digest: Digest) -> None:
        """`repository` has the blob."""

    def forget(self, repository: Repository, digest: Digest) -> None:
        """It is not known any more whether `repository` has the blob."""

    def has(self, repository: Repository, digest: Digest) -> bool:
        """Whether `repository` is known to have the blob."""

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """The name of a repository of `registry` that has the blob, whichever of those whose names begin with `realm`;
        None where none is known.
        """


class Numbering:
    """Gives each text a number, from 1, so that what stands in many places is kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._texts: list[str] = [""]

    def number(self, text: str) -> int:
        """The number of `text`, a new one where it has none. Equal texts get the very same object."""
        found = self._numbers.get(text)
        if found is None:
            found = self._numbers[text] = len(self._texts)
            self._texts.append(text)
        return found

    def find(self, text: str) -> int | None:
        """The number of `text`; None where it has none."""
        return self._numbers.get(text)

    def text(self, number: int) -> str:
        """The text with this number; an IndexError where there is none."""
        return self._texts[number]


class KnownBlobsInMemory:
    """`KnownBlobs` in dictionaries: some 125 bytes for a blob with one home, 250 more where it has several.

    Its length counts what takes memory: each blob once for every repository that has it, and once where none has.
    """

    def __init__(self) -> None:
        self._names = Numbering()
        self._registries: dict[str, dict[bytes, _Homes]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def knows(self, registry: str, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        return digest.raw in self._registries.get(registry, ())

    def note(self, registry: str, digest: Digest) -> None:
        """See `KnownBlobs`."""
        blobs, raw = self._registries.setdefault(registry, {}), digest.raw
        if raw not in blobs:
            blobs[raw] = NOWHERE
            self._length += 1

    def add(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        blobs, raw = self._registries.setdefault(repository.registry, {}), digest.raw
        number = self._names.number(repository.name)
        homes = blobs.get(raw)
        if homes is None:
            self._length += 1
        if not homes:  # unknown, or noted
            blobs[raw] = number
        elif isinstance(homes, dict):
            self._length += number not in homes
            homes[number] = None
        elif homes != number:
            self._length += 1
            blobs[raw] = {homes: None, number: None}

    def forget(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`. The blob stays noted."""
        blobs, raw = self._registries.get(repository.registry, {}), digest.raw
        number = self._names.find(repository.name)
        homes = blobs.get(raw, NOWHERE)
        if isinstance(homes, dict):
            if number in homes:
                del homes[number]
                self._length -= 1
                if len(homes) == 1:
                    blobs[raw] = next(iter(homes))
        elif number is not None and number == homes:
            blobs[raw] = NOWHERE

    def has(self, repository: Repository, digest: Digest) -> bool:
        """See `KnownBlobs`."""
        homes = self._registries.get(repository.registry, {}).get(digest.raw, NOWHERE)
        number = self._names.find(repository.name)
        return number is not None and (number in homes if isinstance(homes, dict) else number == homes)

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """See `KnownBlobs`."""
        homes = self._registries.get(registry, {}).get(digest.raw, NOWHERE)
        numbers = homes if isinstance(homes, dict) else (homes,) if homes else ()
        return next((name for number in numbers if (name := self._names.text(number)).startswith(realm)), None)


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
