"""The graph of one image: a manifest, or an index over manifests and further indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Descriptor, Digest, Manifest

__all__ = ["MAX_DEPTH", "MAX_MANIFESTS", "ImageTree"]

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
