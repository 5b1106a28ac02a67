"""Conversion of a whole image: from its leaves to its root, since an index names what is under it by digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.oci import ManifestFormat, NotConvertible, convert
from image_syncer.planning.images import ImageTree

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Manifest

__all__ = ["convert_tree"]


def convert_tree(tree: ImageTree, wanted: ManifestFormat) -> ImageTree:
    """`tree` with every manifest in the form that is wanted: the same object where all are. Raises NotConvertible,
    which says of which manifest it speaks.
    """
    if wanted is ManifestFormat.KEEP:
        return tree
    became: dict[Digest, ImageTree] = {}
    converted = _convert(tree, wanted, became)
    for former, new in became.items():
        subject = new.manifest.subject
        if subject is None or subject.digest not in became:
            continue
        if became[subject.digest].manifest.digest != subject.digest:
            raise NotConvertible(
                f"{former.short} is about {subject.digest.short} (its subject), whose digest would be another"
            )
    return converted


def _convert(tree: ImageTree, wanted: ManifestFormat, became: dict[Digest, ImageTree]) -> ImageTree:
    # Not entered twice: an index that names another one often enough, level by level, has endless many paths.
    digest = tree.manifest.digest
    if digest in became:
        return became[digest]
    children = tuple(_convert(child, wanted, became) for child in tree.children)
    pairs = zip(tree.children, children, strict=True)
    named: dict[str, Manifest] = {old.manifest.digest: new.manifest for old, new in pairs}
    try:
        manifest = convert(tree.manifest, wanted, named)
    except NotConvertible as error:
        raise NotConvertible(f"{digest.short} ({tree.manifest.media_type}): {error}") from None
    same = manifest is tree.manifest
    became[digest] = tree if same else ImageTree(manifest, children)
    return became[digest]
