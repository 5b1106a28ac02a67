"""The storage of a place: content by its digest, whatever the repository, and names from an `index.json`.

What a manifest's bytes are is known from what names it: an entry at the top, or an index that is reached from there. A
blob that nothing names is no manifest here, so that what a killed run left is brought again.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from image_syncer.embedded import Storage, StoredManifest
from image_syncer.embedded.manifests import describe_manifest
from image_syncer.layout.index_file import Name
from image_syncer.oci import (
    MAX_DEPTH,
    MAX_MANIFEST_BYTES,
    InvalidManifest,
    is_image,
    is_place_name,
    is_schema1,
    parse_manifest,
)
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.embedded.upload import BlobReader, Upload
    from image_syncer.layout.index_file import IndexFile
    from image_syncer.oci import Descriptor, Digest, Manifest

__all__ = ["NamedStorage"]

MOST_NAMES_TOLD = 20
"""In a message that says which names there are."""


class NamedStorage(Storage):
    """What is common to layouts and archives; read only. A child class knows where the content is.

    `place` is the place for people.
    """

    writes = False

    def __init__(self, place: str, index: IndexFile) -> None:
        super().__init__()
        self.place = place
        self.index = index
        self._known: dict[Digest, StoredManifest] = {}
        self._named: set[Digest] | None = None
        self._by_subject: dict[Digest, dict[Digest, StoredManifest]] | None = None

    # Content: what a child class must do

    @abstractmethod
    def content_size(self, digest: Digest) -> int | None:
        """The size of the content in bytes; None where there is none."""

    @abstractmethod
    def open_content(self, digest: Digest) -> BlobReader | None:
        """A reader of the content."""

    # Repositories

    def described(self) -> Mapping[str, Any]:
        """How many manifests stand at the top, the names of some, and the one image where there is one alone."""
        distinct = {descriptor.digest: descriptor for descriptor in self.index.descriptors}
        images = [each for each in distinct.values() if each.artifact_type is None]
        sole: dict[str, Any] | None = None
        if len(images) == 1:
            names = [name for name, each in self.index.names.items() if each.digest == images[0].digest]
            name = min(names, default=None)
            sole = {
                "digest": images[0].digest,
                "repository": name.repository if name else "",
                "tag": name.tag if name else None,
            }
        return {"manifests": len(images), "names": self._some_names(), "sole": sole}

    def is_name(self, name: str) -> bool:
        """Whether a repository can have that name: with a host and its port before it, too."""
        return is_place_name(name)

    def lacks(self, repository: str, reference: str) -> str:
        """Why there is no manifest under a reference, with the names that there are."""
        if ":" in reference:
            return "manifest unknown"
        name = Name(repository, reference)
        if name in self.index.ambiguous:
            digests = " and ".join(digest.short for digest in self.index.ambiguous[name])
            return f"the name {name} stands for {digests} there: copy by digest, or remove one"
        names = self._some_names()
        return f"there is no image {name} there; " + (
            f"there is {', '.join(names)}" if names else "no image has a name"
        )

    def _some_names(self) -> list[str]:
        names = sorted(self.index.names)
        told = [str(name) for name in names[:MOST_NAMES_TOLD]]
        return told if len(names) <= MOST_NAMES_TOLD else [*told, f"and {len(names) - MOST_NAMES_TOLD} more"]

    def repositories(self) -> list[str]:
        """The names of all repositories, but for that of names that are tags alone."""
        return sorted(name for name in self.index.tags if name)

    def has_repository(self, name: str) -> bool:
        """Whether there is an image of that repository, or may be."""
        return self.writes or not name or name in self.index.tags

    def create_repository(self, name: str) -> None:
        """Nothing: it comes with its first image."""

    @property
    def used_bytes(self) -> int:
        """Not counted: nobody bounds a place."""
        return 0

    # Blobs

    def blob_size(self, repository: str, digest: Digest) -> int | None:  # noqa: ARG002 - content is that of all
        """The size of a blob in bytes, None where there is none."""
        return self.content_size(digest)

    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:  # noqa: ARG002
        """A reader of a blob."""
        return self.open_content(digest)

    def read_blob(self, repository: str, digest: Digest) -> bytes | None:  # noqa: ARG002
        """All bytes of a blob; for small ones."""
        return self._read_content(digest)

    def mount_blob(self, repository: str, digest: Digest, from_repository: str | None) -> bool:  # noqa: ARG002
        """Whether the blob is there, since then it is there for every repository."""
        return self.content_size(digest) is not None

    def delete_blob(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002
        """Never: whether others need it is not known."""
        return False

    # Manifests and tags

    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:  # noqa: ARG002
        """A manifest that something names."""
        if not self.is_named(digest):
            return None
        found = self._known.get(digest)
        if found is None:
            parsed = self._parse(digest, "")
            if parsed is None:
                return None
            # Under the digest that names it, so that whoever reads it sees that its bytes have another.
            found = self._known[digest] = replace(describe_manifest(parsed), digest=digest)
        return found

    def read_manifest(self, manifest: StoredManifest) -> bytes:
        """The bytes of a manifest."""
        return self._read_content(manifest.digest) or b""

    def tag(self, repository: str, name: str) -> Digest | None:
        """The manifest for which a name stands."""
        found = self.index.names.get(Name(repository, name))
        return None if found is None else found.digest

    def tags(self, repository: str) -> Sequence[str]:
        """All tags of the repository, sorted."""
        return sorted(self.index.tags.get(repository, ()))

    def referrers(self, repository: str, subject: Digest) -> list[StoredManifest]:  # noqa: ARG002
        """The manifests whose subject is `subject`, at the top or in an index."""
        if self._by_subject is None:
            self._by_subject = {}
            for digest in list(self._names()):
                found = self.manifest("", digest)
                if found is not None:
                    self._note_subject(found)
        return list(self._by_subject.get(subject, {}).values())

    def names_blob(self, repository: str, digest: Digest) -> bool:
        """Whether it is there: what is in a layout may be had from it."""
        return self.blob_size(repository, digest) is not None

    # What is named

    def is_named(self, digest: Digest) -> bool:
        """Whether an entry at the top, or an index below one, names that manifest."""
        return self.index.has(digest) or digest in self._names()

    def _names(self) -> set[Digest]:
        if self._named is None:
            self._named = set()
            self._walk(self.index.descriptors, MAX_DEPTH)
        return self._named

    def _walk(self, descriptors: Sequence[Descriptor], depth: int) -> None:
        assert self._named is not None
        for descriptor in descriptors:
            if descriptor.digest in self._named:
                continue
            self._named.add(descriptor.digest)
            if depth and not (is_image(descriptor.media_type) or is_schema1(descriptor.media_type)):
                parsed = self._parse(descriptor.digest, descriptor.media_type)
                if parsed is not None:
                    self._walk(parsed.children, depth - 1)

    def _note_subject(self, manifest: StoredManifest) -> None:
        if self._by_subject is not None and manifest.subject is not None:
            self._by_subject.setdefault(manifest.subject, {})[manifest.digest] = manifest

    def _parse(self, digest: Digest, media_type: str) -> Manifest | None:
        """The manifest of that digest as it says what it is; None where it is not there, or none."""
        size = self.content_size(digest)
        if size is None or size > MAX_MANIFEST_BYTES:
            return None
        raw = self._read_content(digest)
        media_type = media_type or self.index.media_type_of(digest)
        try:
            return None if raw is None else parse_manifest(raw, media_type, algorithm=digest.algorithm)
        except InvalidManifest:
            return None

    def _read_content(self, digest: Digest) -> bytes | None:
        reader = self.open_content(digest)
        if reader is None:
            return None
        try:
            pieces = []
            offset = 0
            while piece := reader.read(offset, reader.size - offset):
                pieces.append(bytes(piece))
                offset += len(piece)
            return b"".join(pieces)
        finally:
            reader.close()

    # Nobody writes: a child class that does says how

    def read_only(self) -> PermissionError:
        """What is raised where something is to be changed."""
        return PermissionError(f"{self.place} is read only")

    def commit_upload(self, upload: Upload, digest: Digest) -> None:  # noqa: ARG002
        """Refused."""
        raise self.read_only()

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:  # noqa: ARG002
        """Refused."""
        raise self.read_only()

    def delete_manifest(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002
        """Refused."""
        raise self.read_only()

    def delete_tag(self, repository: str, name: str) -> bool:  # noqa: ARG002
        """Refused."""
        raise self.read_only()

    def _new_upload(self, repository: str) -> Upload:  # noqa: ARG002
        raise self.read_only()

    def _drop_upload(self, upload: Upload) -> None:  # noqa: ARG002
        raise self.read_only()
