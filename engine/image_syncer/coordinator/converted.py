"""Images in another form: what cannot have it is refused, with what to do about that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Origin, RefusedError
from image_syncer.oci import ManifestFormat, NotConvertible
from image_syncer.planning.conversion import convert_tree
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.planning import ImageTree

__all__ = ["converted"]

_KEEP = "Copy it as it is: --format keep."
_ATTESTATIONS = "If this is an attestation: docker buildx build --provenance=false --sbom=false makes none."


def converted(tree: ImageTree, wanted: ManifestFormat) -> ImageTree:
    """`tree` in the form that is wanted. Raises RefusedError where it would lose something by it."""
    try:
        return convert_tree(tree, wanted)
    except NotConvertible as error:
        raise RefusedError(
            f"it cannot be converted: {error}",
            origin=Origin.SOURCE,
            operation=Operation.GET_MANIFEST.value,
            hint=_KEEP if wanted is ManifestFormat.OCI else f"{_KEEP} {_ATTESTATIONS}",
        ) from None
