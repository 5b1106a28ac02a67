"""Which blobs registries are known to have, of all that this run has seen.

Nothing else that a run remembers grows with the catalog, so this is kept small: where a blob's own entry has room, no
object is made for it. A blob that is forgotten costs a request or a transfer, and never a wrong image, so known blobs
that run out of room may forget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository

__all__ = ["KnownBlobs", "KnownBlobsInMemory", "Numbering"]

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
