"""Conversion of a whole image: from its leaves to its root, since an index names what is under it by digest.

The graph of one image: a manifest, or an index over manifests and further indexes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.oci import ManifestFormat, NotConvertible, convert
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Descriptor, Digest, Manifest

__all__ = ["MAX_DEPTH", "MAX_MANIFESTS", "ImageTree", "convert_tree"]


MAX_DEPTH = 8
"""Indexes inside indexes; real ones have two. A bound against hostile registries."""
MAX_MANIFESTS = 4096
"""Manifests under one tag; the largest official images have some thirty. A bound against hostile registries."""


class ImageTree(Value, frozen=True):
    """One manifest and what it names: `children` are the trees of an index's entries, in its order."""

    manifest: Manifest
    children: tuple[ImageTree, ...] = ()

    def publish_order(self) -> list[Manifest]:
        """Every distinct manifest, each after all that it names; the root is last."""
        seen: set[Digest] = set()
        order: list[Manifest] = []
        self._collect(seen, order)
        return order

    def blobs(self, *, foreign: bool = False) -> list[Descriptor]:
        """Every distinct blob that a registry must have before it gets the manifests of this image, in the order of
        their first mention; with `foreign` also those that it need not have (`Manifest.foreign_layers`).
        """
        found: dict[Digest, Descriptor] = {}
        for manifest in self.publish_order():
            for blob in manifest.named_blobs if foreign else manifest.blobs:
                found.setdefault(blob.digest, blob)
        return list(found.values())

    def _collect(self, seen: set[Digest], order: list[Manifest]) -> None:
        # Not entered twice: an index that names another one often enough, level by level, has endless many paths.
        if self.manifest.digest in seen:
            return
        seen.add(self.manifest.digest)
        for child in self.children:
            child._collect(seen, order)  # noqa: SLF001 - its own class
        order.append(self.manifest)


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
