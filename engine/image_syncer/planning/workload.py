"""Workload: what a run has to do, as numbers and names; what a plan file holds, without its words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.oci import Digest, Repository

__all__ = ["WorkBlob", "WorkImage", "Workload"]


class WorkBlob(Value, frozen=True):
    """A blob that an image names. `size` in bytes."""

    digest: Digest
    size: int


class WorkImage(Value, frozen=True):
    """One tag of a source, on its way to `destinations`: those that lack it. There are none where it has not changed
    anywhere. `manifests` counts those that are read and put: one, or an index and its children. `destinations_asked`
    counts all of the rule, since each is asked what it has.
    """

    source: Repository
    destinations: tuple[Repository, ...]
    blobs: tuple[WorkBlob, ...] = ()
    manifests: int = 1
    destinations_asked: int = 1


class Workload(Value, frozen=True):
    """All images of a run, in its order, and the blobs that destinations have already (`present`: each with the name of
    its registry, where any repository may have it).
    """

    images: tuple[WorkImage, ...]
    present: frozenset[tuple[str, Digest]] = frozenset()

    def unchanged(self) -> Workload:
        """The same images once more, when they are at their destinations."""
        images = (WorkImage(one.source, (), (), one.manifests, one.destinations_asked) for one in self.images)
        return Workload(tuple(images))

    @property
    def registries(self) -> tuple[frozenset[str], frozenset[str]]:
        """The names of the sources' and of the destinations' registries."""
        sources = frozenset(image.source.registry for image in self.images)
        return sources, frozenset(one.registry for image in self.images for one in image.destinations)

    def bytes_to_move(self) -> int:
        """Bytes that go to destinations, each distinct blob once for each registry that lacks it."""
        return sum(
            size for (registry, digest), size in self._wanted().items() if (registry, digest) not in self.present
        )

    def _wanted(self) -> dict[tuple[str, Digest], int]:
        return {
            (destination.registry, blob.digest): blob.size
            for image in self.images
            for destination in image.destinations
            for blob in image.blobs
        }

    @staticmethod
    def of(images: Iterable[WorkImage]) -> Workload:
        """A workload whose destinations have nothing yet of what changed."""
        return Workload(tuple(images))
