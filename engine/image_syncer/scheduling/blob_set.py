"""The blob set: which blobs destination registries have, and which are on their way there or wanted there.

A blob is needed once for each destination registry and digest, however many images and repositories name it. The first
repository that needs it gets it from the source; the others wait, and mount it from there. Where a registry mounts only
between some repositories, this holds for each group of them. Needs share a target only where source and size are equal:
an error at one source, or in one manifest, must not fail images of another.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, TypeAlias

from msgspec import Struct, field

from image_syncer.errors import SyncError, WorkerError
from image_syncer.registry import Mounts
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.oci import Digest, Repository
    from image_syncer.scheduling.retry import Tries


MOST_LOSSES = 3
"""Workers that may die with the same blob before it is given up (see `Quarantine`)."""
MOST_DEATHS = 10
"""Workers that may die with a blob in all, however far it came."""
_FURTHER = 8
"""A blob has come further when an eighth of it is new: where a machine kills workers all the time, the run continues.
"""
NOWHERE = 0
"""Stands for the repository of a blob that was noted, and is not known to be anywhere."""

Way: TypeAlias = "tuple[str, str]"
"""Source registry and destination registry."""
_Homes: TypeAlias = "int | dict[int, None]"
"""The number of the one repository that has a blob; where there are more, a dictionary, in the order they got it."""
_Key: TypeAlias = "tuple[str, Repository, int]"
"""Name of the repository, source, size: needs that have them in common share a target."""
_Place: TypeAlias = "tuple[str, str, Digest]"
"""Registry, realm, digest."""


class BlobNeed(Value, frozen=True):
    """One image, on its way to one destination, needs one blob. `size` in bytes, -1 where it is not known yet."""

    digest: Digest
    size: int
    source: Repository
    target: Repository
    delivery: int


class BlobTarget(Struct, eq=False):
    """One repository that needs a blob, and the deliveries (images on their way to a destination) that wait for it. The
    blob is mounted from the repository `mount_from` of the same registry; its own name where no other has the blob.
    """

    digest: Digest
    size: int
    source: Repository
    repository: Repository
    deliveries: list[int]
    mount_from: str
    realm: str = ""
    """The beginning of the names of repositories between which it can be mounted; see `Mounts.realm`."""
    booked_bytes: int = 0
    """The bytes that are expected to move for it: the size for the first of a registry, 0 for a mount."""
    tries: Tries | None = None
    """The failed tries; None where there were none."""
    losses: int = 0
    """Lost workers that count against it (see `Quarantine`)."""
    deaths: int = 0
    """All workers that were lost with it."""
    furthest: int = 0
    """The most bytes of it that had come when one of them was lost."""
    split: bool = False
    """Whether it was too slow for the other targets of its job, and was split off."""
    mounts: bool = False
    """Whether a mount from another repository is expected, which moves no bytes."""

    def __post_init__(self) -> None:
        self.mounts = self.mount_from != self.repository.name

    @property
    def place(self) -> _Place:
        """Where a blob needs to be brought only once."""
        return self.repository.registry, self.realm, self.digest


class WayCount(Struct):
    """The work of one way, and how much of it `ended`: `small` blobs (mounts, and what is sent as a whole) with their
    bytes, and the bytes of streamed blobs, of which `largest` is the largest.
    """

    small: int = 0
    small_ended: int = 0
    small_bytes: int = 0
    small_bytes_ended: int = 0
    streamed_bytes: int = 0
    streamed_bytes_ended: int = 0
    largest: int = 0


class WorkCount:
    """Counts targets as they are wanted and as they land. A blob is small if at most `small_bytes` of it are expected
    to move; None: if none are.
    """

    def __init__(self, small_bytes: int | None = None) -> None:
        self.small_bytes = small_bytes
        self.ways: dict[Way, WayCount] = {}
        self.wanted_blobs = self.landed_blobs = 0
        """Targets so far, and those of them that have an outcome."""
        self.wanted_bytes = self.landed_bytes = 0
        """The bytes that are expected to move for them."""

    def want(self, target: BlobTarget) -> None:
        """Count `target`, with the bytes that are booked on it."""
        booked, way = target.booked_bytes, (target.source.registry, target.repository.registry)
        self.wanted_blobs += 1
        self.wanted_bytes += booked
        count = self.ways.get(way)
        if count is None:
            count = self.ways[way] = WayCount()
        if booked <= (self.small_bytes or 0):
            count.small += 1
            count.small_bytes += booked
        else:
            count.streamed_bytes += booked
            count.largest = max(count.largest, booked)

    def end(self, target: BlobTarget) -> None:
        """Count `target`, which has an outcome."""
        booked = target.booked_bytes
        self.landed_blobs += 1
        self.landed_bytes += booked
        count = self.ways[target.source.registry, target.repository.registry]
        if booked <= (self.small_bytes or 0):
            count.small_ended += 1
            count.small_bytes_ended += booked
        else:
            count.streamed_bytes_ended += booked


class KnownBlobs(Protocol):
    """What a run knows of blobs that have landed. A blob is known at a registry once it is noted or added there.

    Nothing else that a run remembers grows with the number of images, so this is kept small. Known blobs may be
    forgotten: that costs a request or a transfer, and never a wrong image.
    """

    def knows(self, registry: str, digest: Digest) -> bool:
        """Return whether the blob was noted or added at `registry`."""

    def note(self, registry: str, digest: Digest) -> None:
        """Note that the blob is needed at `registry`; where it is known there already, nothing changes."""

    def add(self, repository: Repository, digest: Digest) -> None:
        """Note that `repository` has the blob."""

    def forget(self, repository: Repository, digest: Digest) -> None:
        """Forget that `repository` has the blob."""

    def has(self, repository: Repository, digest: Digest) -> bool:
        """Return whether `repository` is known to have the blob."""

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """The name of a repository of `registry` that has the blob and whose name begins with `realm`; None where none
        is known.
        """


class Numbering(dict[str, int]):
    """The numbers of texts, from 1, so that equal texts are kept once; `numbers[text]` numbers a new text."""

    def __init__(self) -> None:
        self.texts = [""]
        """The texts by number."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self.texts)
        self.texts.append(text)
        return number


class KnownBlobsInMemory:
    """`KnownBlobs` in dictionaries: some 125 bytes for a blob with one home, 250 more where it has several.

    Its length counts what takes memory: each blob once for every repository that has it, and once where none has. A
    subclass may have a bound: beyond `most`, blobs are noted and added in what `_further` returns.
    """

    most = sys.maxsize

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
        if self._length >= self.most and (further := self._further()) is not None:
            further.note(registry, digest)
            return
        blobs, raw = self._registries.setdefault(registry, {}), digest.raw
        if raw not in blobs:
            blobs[raw] = NOWHERE
            self._length += 1

    def add(self, repository: Repository, digest: Digest) -> None:
        """See `KnownBlobs`."""
        if self._length >= self.most and (further := self._further()) is not None:
            further.add(repository, digest)
            return
        blobs, raw = self._registries.setdefault(repository.registry, {}), digest.raw
        number = self._names[repository.name]
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
        number = self._names.get(repository.name)
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
        number = self._names.get(repository.name)
        return number is not None and (number in homes if isinstance(homes, dict) else number == homes)

    def home(self, registry: str, digest: Digest, realm: str = "") -> str | None:
        """See `KnownBlobs`."""
        homes = self._registries.get(registry, {}).get(digest.raw, NOWHERE)
        if not homes:
            return None
        numbers = homes if isinstance(homes, dict) else (homes,)
        texts = self._names.texts
        return next((texts[number] for number in numbers if texts[number].startswith(realm)), None)

    def _further(self) -> KnownBlobs | None:
        return None


class Quarantine:
    """Blobs that no worker takes any more in this run, since workers died with them again and again.

    Which of its jobs brought a worker down cannot be seen. So a loss counts against every blob that the worker held,
    except one that had come further than ever before. A blob gets its last chance alone in a worker (`Job.alone`).
    """

    def __init__(self) -> None:
        self.blobs: dict[tuple[Repository, Digest], str] = {}
        """Why, by source and digest; nearly always empty."""

    def find(self, source: Repository, digest: Digest) -> WorkerError | None:
        """The error with which this blob of this source fails; None where it may be moved."""
        why = self.blobs.get((source, digest))
        return None if why is None else _error(digest, why)

    def lost(self, target: BlobTarget, received: int, error: SyncError) -> WorkerError | None:
        """Note that a worker was lost that held `target`, with `received` bytes of it. Return the error with which the
        target is given up, or None where it gets another chance.
        """
        target.deaths += 1
        if received - target.furthest >= max(target.size // _FURTHER, 1):
            target.furthest = received
        else:
            target.losses += 1
        if target.losses < MOST_LOSSES and target.deaths < MOST_DEATHS:
            return None
        why = f"{target.deaths} workers were lost while they held this blob; the last: {error.message}"
        self.blobs[target.source, target.digest] = why
        return _error(target.digest, why)


def _error(digest: Digest, why: str) -> WorkerError:
    return WorkerError(
        why,
        operation="copy blob",
        digest=str(digest),
        hint="No worker takes it again in this run. Run it with --debug and --log, and report what is logged.",
        retryable=False,
    )


class _Entry(Struct):
    """One blob on its way to one `place`, a registry or a realm of it. `active` targets are under way, at most one for
    each repository, and only one in all while no repository is known to have the blob; `home` is the name of one that
    has.
    """

    place: _Place
    home: str | None
    active: dict[str, BlobTarget] = field(default_factory=dict)
    waiting: dict[_Key, BlobTarget] = field(default_factory=dict)

    def may_start(self, name: str) -> bool:
        return name not in self.active and (self.home is not None or not self.active)

    def start(self, target: BlobTarget) -> BlobTarget:
        if self.home is not None:
            target.mount_from, target.mounts = self.home, self.home != target.repository.name
        self.active[target.repository.name] = target
        return target

    def release(self) -> list[BlobTarget]:
        """Start the waiting targets that may start."""
        released = []
        for key, target in list(self.waiting.items()):
            if self.may_start(target.repository.name):
                del self.waiting[key]
                released.append(self.start(target))
        return released


class BlobSet:
    """The blobs of a run at every destination registry. Only blobs under way are objects here, and its length is their
    number; those that landed are in `known_blobs`. `mounts_at` says between which repositories of a registry a blob can
    be mounted.
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

    def __len__(self) -> int:
        return len(self._entries)

    def has(self, repository: Repository, digest: Digest) -> bool:
        """Return whether this run knows that `repository` has the blob."""
        return self._known_blobs.has(repository, digest)

    def join(self, need: BlobNeed) -> BlobTarget | None:
        """Note a need; return the new target that may start, or None where an older one serves it or it waits."""
        registry, name = need.target.registry, need.target.name
        realm = self._mounts_at(registry).realm(name)
        place = registry, realm, need.digest
        entry = self._entries.get(place)
        if entry is None:
            home = None if realm == name else self._known_blobs.home(registry, need.digest, realm)
            entry = self._entries[place] = _Entry(place, home)
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
        target = BlobTarget(need.digest, need.size, need.source, need.target, [need.delivery], mount_from, realm)
        if not (target.mounts or entry.home or entry.active or entry.waiting):
            target.booked_bytes = max(need.size, 0)
        self.work.want(target)
        if entry.may_start(name):
            return entry.start(target)
        entry.waiting[key] = target
        return None

    def landed(self, target: BlobTarget) -> tuple[list[BlobTarget], list[BlobTarget]]:
        """`target` has its blob. Return the other targets of the same repository, which have it too, and the targets
        that may start now.
        """
        self._known_blobs.add(target.repository, target.digest)
        entry = self._entries[target.place]
        if entry.home is None:
            entry.home = target.repository.name
        served = []
        if entry.waiting:
            served = [other for other in entry.waiting.values() if other.repository == target.repository]
        return served, self._end(entry, target, served)

    def failed(self, target: BlobTarget, *, source_failed: bool) -> tuple[list[BlobTarget], list[BlobTarget]]:
        """`target` is given up. Return the targets that fail with it, since they wait for the same of that source, and
        the targets that may start now.
        """
        entry = self._entries[target.place]
        fallen = [
            other
            for other in entry.waiting.values()
            if source_failed and (other.source, other.size) == (target.source, target.size)
        ]
        return fallen, self._end(entry, target, fallen)

    def _end(self, entry: _Entry, target: BlobTarget, others: list[BlobTarget]) -> list[BlobTarget]:
        """`target` has ended, and `others` that waited for it. Return those that may start now, and forget a blob that
        nothing waits for any more.
        """
        del entry.active[target.repository.name]
        self.work.end(target)
        for other in others:
            del entry.waiting[_key_of(other)]
            self.work.end(other)
        released = entry.release() if entry.waiting else []
        if not entry.active:  # so nothing waits either: the first of those that wait can always start
            del self._entries[entry.place]
        return released


def _key_of(target: BlobTarget) -> _Key:
    return target.repository.name, target.source, target.size
