"""The tree of an image (a manifest, or an index over manifests and indexes), and its conversion from the leaves to the
root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.oci import ManifestFormat, NotConvertible, convert
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Descriptor, Digest, Manifest


MAX_DEPTH = 8
"""Indexes inside indexes: real ones have two. A bound against hostile registries."""
MAX_MANIFESTS = 4096
"""Manifests under one tag: the largest official images have some thirty. A bound against hostile registries."""


class ImageTree(Value, frozen=True):
    """A manifest and what it names: `children` are the trees of the entries of an index, in its order."""

    manifest: Manifest
    children: tuple[ImageTree, ...] = ()

    def publish_order(self) -> list[Manifest]:
        """Every distinct manifest, each after all that it names; the root is last."""
        found: dict[Digest, Manifest] = {}
        self._collect(set(), found)
        return list(found.values())

    def blobs(self, *, foreign: bool = False) -> list[Descriptor]:
        """Every distinct blob that a registry needs before the manifests of this image, in the order of their first
        mention; with `foreign` also those that it need not have (`Manifest.foreign_layers`).
        """
        found: dict[Digest, Descriptor] = {}
        for manifest in self.publish_order():
            for blob in manifest.named_blobs if foreign else manifest.blobs:
                found.setdefault(blob.digest, blob)
        return list(found.values())

    def _collect(self, seen: set[Digest], found: dict[Digest, Manifest]) -> None:
        # Not entered twice: an index that names another one often, level by level, has exponentially many paths.
        if self.manifest.digest in seen:
            return
        seen.add(self.manifest.digest)
        for child in self.children:
            child._collect(seen, found)  # noqa: SLF001 - its own class
        found[self.manifest.digest] = self.manifest


def convert_tree(tree: ImageTree, wanted: ManifestFormat) -> ImageTree:
    """`tree` with every manifest in the `wanted` form: the same object where all have it. Raises NotConvertible, which
    names the manifest.
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
    # Not entered twice: an index that names another one often, level by level, has exponentially many paths.
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
    became[digest] = tree if manifest is tree.manifest else ImageTree(manifest, children)
    return became[digest]
