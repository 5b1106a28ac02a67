"""Foreign layers: those that may not be given away, and that manifests name by the URLs where everyone is to get them.

These URLs are never asked, by nobody here: they are written by whoever pushed the image, and lead wherever that was
wanted, our own network included (docs/security.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.config import ForeignLayers
from image_syncer.errors import NotFoundError, Origin, RefusedError, RegistryError
from image_syncer.oci import is_index
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.errors import SyncError
    from image_syncer.oci import Descriptor
    from image_syncer.planning import ImageTree

__all__ = ["blobs_to_bring", "explain", "refuse_foreign"]

_LEAVE = "--foreign-layers leave copies the manifest alone, which names their URLs"

_NO_URLS = frozenset({400, 500})
"""distribution 2.8 answers 500 UNKNOWN, with MANIFEST_BLOB_UNKNOWN beside it, whether it has the layer or not."""


def blobs_to_bring(tree: ImageTree, policy: ForeignLayers) -> list[Descriptor]:
    """Every distinct blob of `tree` that its destination has to have."""
    return tree.blobs(foreign=policy is ForeignLayers.COPY)


def refuse_foreign(tree: ImageTree, policy: ForeignLayers) -> None:
    """Raises RefusedError where `tree` has foreign layers, and the policy is to refuse them."""
    if policy is not ForeignLayers.REFUSE:
        return
    foreign = _foreign(tree)
    if not foreign:
        return
    first = next(iter(foreign.values()))
    count = "a foreign layer" if len(foreign) == 1 else f"{len(foreign)} foreign layers"
    where = "one of its images" if is_index(tree.manifest.media_type) else "the image"
    raise RefusedError(
        f"{where} has {count} ({first.digest.short}, {first.media_type}), and --foreign-layers refuse lets none pass",
        origin=Origin.SOURCE,
        operation=Operation.GET_MANIFEST.value,
        hint=f"{_LEAVE}; --foreign-layers copy copies them too, where the source registry has them.",
    )


def explain(error: SyncError, tree: ImageTree) -> None:
    """Where `error` comes of the foreign layers of `tree`, it says what to do about that."""
    if not isinstance(error, RegistryError):
        return
    if isinstance(error, NotFoundError) and error.origin is Origin.SOURCE:
        if error.digest in _foreign(tree):
            error.hint = f"It is a foreign layer, which the source registry need not have. {_LEAVE}."
    elif error.operation == Operation.PUT_MANIFEST.value and error.status in _NO_URLS and _foreign(tree):
        error.hint = (
            "It names foreign layers by URLs, which distribution refuses unless validation.manifests.urls.allow in its "
            "configuration has a pattern for them."
        )


def _foreign(tree: ImageTree) -> dict[str, Descriptor]:
    return {str(blob.digest): blob for each in tree.publish_order() for blob in each.foreign_layers}
