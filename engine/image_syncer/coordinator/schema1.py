"""Schema 1: manifests of 2014, which a destination may not take any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import RegistryError
from image_syncer.oci import ManifestKind
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.errors import SyncError
    from image_syncer.planning import ImageTree

__all__ = ["not_taken"]

_CODES = frozenset({"MANIFEST_INVALID", "MANIFEST_UNVERIFIED", "UNSUPPORTED"})
_STATUSES = frozenset({405, 406, 415})
"""What says that the kind of a manifest is not taken, where no code does; zot answers 415."""


def not_taken(error: SyncError, tree: ImageTree) -> str | None:
    """Why an image is skipped whose manifest is schema 1, and that `error` kept from being published; None where the
    error is another one, or of another image.

    It cannot be known before: distribution 2.8 takes those whose signature it can check, 3.0 and zot take none. Nor can
    the image be made into another one: what a newer manifest has to name is the digests of the layers unpacked, and
    nothing is unpacked here.
    """
    if tree.manifest.kind is not ManifestKind.SCHEMA1 or not isinstance(error, RegistryError):
        return None
    if error.operation != Operation.PUT_MANIFEST.value:
        return None
    if error.status not in _STATUSES and not _CODES.intersection(error.codes):
        return None
    return f"the destination takes no schema 1 manifests, or not this one: {error.message}"
