"""How images end, and what is said of them then: what several destinations of one image share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.errors import Origin
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from image_syncer.coordinator.image_memory import ImageMemory
    from image_syncer.coordinator.open_image import OpenImage
    from image_syncer.errors import SyncError
    from image_syncer.oci import Digest, Reference
    from image_syncer.registry import ManifestHead

__all__ = ["BY_JOURNAL", "enter_recalled", "enter_unchanged", "fail", "fail_delivery"]

BY_JOURNAL = "the journal has it; the destination was not asked"
"""The reason of an image that was done in an earlier run."""


def fail(image: OpenImage, error: SyncError) -> None:
    """All destinations of `image` that have no outcome yet fail with `error`."""
    error.located(repository=str(image.source.repository), reference=image.source.target)
    for destination in image.open:
        image.fail(destination, error)


def fail_delivery(image: OpenImage, destination: Reference, error: SyncError, **facts: Any) -> None:
    """`image` could not be brought to `destination`."""
    if error.origin is Origin.LOCAL:
        error.origin = Origin.DESTINATION
    where = image.source if error.origin is Origin.SOURCE else destination
    error.located(repository=str(where.repository), reference=where.target)
    image.fail(destination, error, **facts)


def enter_recalled(image: OpenImage, memory: ImageMemory, head: ManifestHead | None = None) -> list[Reference]:
    """What the journal has is unchanged: all of it or, with the source's `head`, where that is what was copied. The
    others are returned, and nothing is recalled of them any more.
    """
    moved = []
    for destination, done in list(memory.recalled.items()):
        if head is not None and str(head.digest) != done.source_digest:
            memory.revoke(destination)
            moved.append(destination)
            continue
        image.enter(
            destination,
            Outcome.UNCHANGED,
            reason=BY_JOURNAL,
            source_digest=done.source_digest,
            destination_digest=done.destination_digest,
        )
    return moved


def enter_unchanged(
    image: OpenImage, present: dict[Reference, Digest | None], digest: Digest, source_digest: Digest
) -> None:
    """The destinations at which the `digest` that is wanted is `present` have it."""
    for destination in image.open:
        if present.get(destination) == digest:
            image.enter(
                destination,
                Outcome.UNCHANGED,
                source_digest=str(source_digest),
                destination_digest=str(digest),
            )
