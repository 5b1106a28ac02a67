"""The catalogue: what each repository has, by name and digest alone."""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

from msgspec import field

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.oci import Digest

__all__ = ["CatalogueEntry", "StoredManifest"]


class StoredManifest(Value, frozen=True):
    """A manifest as it was pushed, with what the referrers API tells about it."""

    digest: Digest
    media_type: str
    size: int
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    names: frozenset[Digest] = frozenset()
    """The blobs and children that it names."""


class CatalogueEntry:
    """What one repository has: blobs, manifests, tags, and who refers to what."""

    def __init__(self) -> None:
        self.blobs: set[Digest] = set()
        self.manifests: dict[Digest, StoredManifest] = {}
        self.tags: dict[str, Digest] = {}
        self.tag_names: list[str] = []
        """The names of the tags in lexical order: listings are pages of it."""
        self.referrers: dict[Digest, dict[Digest, StoredManifest]] = {}
        """The manifests by their subject."""

    def add_manifest(self, manifest: StoredManifest) -> None:
        """The repository has `manifest`."""
        self.manifests[manifest.digest] = manifest
        if manifest.subject is not None:
            self.referrers.setdefault(manifest.subject, {})[manifest.digest] = manifest

    def remove_manifest(self, digest: Digest) -> None:
        """The repository has that manifest no longer."""
        manifest = self.manifests.pop(digest)
        if manifest.subject is not None:
            del self.referrers[manifest.subject][digest]

    def set_tag(self, tag: str, digest: Digest) -> None:
        """`tag` points at the manifest `digest`."""
        if tag not in self.tags:
            insort(self.tag_names, tag)
        self.tags[tag] = digest

    def remove_tag(self, tag: str) -> None:
        """`tag` points nowhere any more."""
        del self.tags[tag]
        self.tag_names.remove(tag)
