"""A part of a large workload that stands for all of it: so that a hundred settings can be tried on a million blobs."""

from __future__ import annotations

from image_syncer.oci import Digest
from image_syncer.planning.workload import WorkBlob, WorkImage, Workload
from image_syncer.values import replace

__all__ = ["MOST_PIECES", "thin_out"]

MOST_PIECES = 12_000
"""Images, and blobs for destinations, of a part: about a second of simulation."""
_ALIAS = "sha256:" + 40 * "f"
"""With what the digests begin that stand for blobs which are there: no content has it."""


def thin_out(workload: Workload, most: int | None = None) -> tuple[Workload, float]:
    """Every so many-th image, and how many times that part is in the whole by number of images.

    A blob that an image before it has brought is there already, whether that image is in the part or not: so the part
    moves, and mounts, what is its share of the whole. Where `workload` has no more than `most` pieces (`MOST_PIECES`
    where none are given), it is the part.
    """
    pieces = sum(1 + len(image.blobs) * len(image.destinations) for image in workload.images)
    step = -(-pieces // (MOST_PIECES if most is None else most))
    if step <= 1:
        return workload, 1.0
    seen: set[tuple[str, Digest]] = set()
    present = set(workload.present)
    part: list[WorkImage] = []
    aliases = 0
    for number, image in enumerate(workload.images):
        registries = {destination.registry for destination in image.destinations}
        blobs: list[WorkBlob] = []
        for blob in image.blobs:
            if number % step == 0 and registries and all((one, blob.digest) in seen for one in registries):
                aliases += 1
                alias = Digest(f"{_ALIAS}{aliases:024x}")
                present.update((one, alias) for one in registries)
                blobs.append(replace(blob, digest=alias))
            else:
                blobs.append(blob)
            seen.update((one, blob.digest) for one in registries)
        if number % step == 0:
            part.append(replace(image, blobs=tuple(blobs)))
    return Workload(tuple(part), frozenset(present)), len(workload.images) / len(part)
