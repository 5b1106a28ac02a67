"""Storages that are named by an `index.json`: what layouts and archives have in common.

OCI image specification 1.1, "Image Layout", section "index.json file". Unknown fields of the file are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded import Storage, StoredManifest
from image_syncer.embedded.manifests import describe_manifest
from image_syncer.embedded.storage import read_all
from image_syncer.errors import PlaceError
from image_syncer.oci import (
    MAX_DEPTH,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    Descriptor,
    InvalidManifest,
    is_image,
    is_place_name,
    is_schema1,
    is_tag,
    parse_descriptor,
    parse_manifest,
)
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from image_syncer.embedded.storage import BlobReader
    from image_syncer.oci import Digest, Manifest


MAX_INDEX_BYTES = 256 * 2**20
"""A bound against files that are not an index; half a million images need less."""
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
"""The whole name as containerd and docker write it, beside a `ref.name` with the tag alone
(https://github.com/containerd/containerd/blob/main/core/images/annotations.go)."""
_LAYOUT_VERSION = "1."
_MOST_NAMES = 20  # in a message
_EMPTY = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


class Name(Value, frozen=True, order=True):
    """The name of an image in a layout; `repository` is "" for a tag alone."""

    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.repository else self.tag

    @classmethod
    def parse(cls, text: str) -> Name | None:
        """Return the name in `text`, or None if no reference can have it."""
        repository, colon, tag = text.rpartition(":")
        if colon and not is_place_name(repository):
            return None
        return cls(repository, tag) if is_tag(tag) else None


def check_layout_file(raw: bytes | None, path: str) -> None:
    """Raise PlaceError unless `raw`, the file `oci-layout`, declares a layout of a known version."""
    try:
        data = None if raw is None else orjson.loads(raw)
    except orjson.JSONDecodeError:
        data = {}
    if raw is None:
        raise PlaceError(f"{path} is no image layout: it has no file oci-layout", "name one that was made by a copy")
    version = data.get("imageLayoutVersion") if isinstance(data, dict) else None
    if not isinstance(version, str) or not version.startswith(_LAYOUT_VERSION):
        raise PlaceError(f"{path} is an image layout of a version that is not known: {version!r}", "make it anew")


class IndexFile:
    """The entries of the `index.json` at `path` (`raw` None: missing), and their names. Raises PlaceError.

    `ambiguous` are names of several manifests, which the specification does not define.
    """

    def __init__(self, raw: bytes | None, path: str) -> None:
        try:
            document: dict[str, Any] = _EMPTY if raw is None else orjson.loads(raw)
            entries: list[dict[str, Any]] = document["manifests"] or []
            parsed = [parse_descriptor(entry, f"manifests[{number}]") for number, entry in enumerate(entries)]
        except (ValueError, KeyError, TypeError, InvalidManifest) as error:
            why = f": {error}" if isinstance(error, InvalidManifest) else ""
            raise PlaceError(f"index.json of {path} is no image index{why}", "make the layout anew") from None
        self._document = document
        self._entries = list(entries)
        self.descriptors = parsed
        """The manifests at the top, in their order."""
        self._media_types = {descriptor.digest: descriptor.media_type for descriptor in parsed}
        self.names: dict[Name, Descriptor] = {}
        self.tags: dict[str, set[str]] = {}
        """The tags of each repository."""
        self.ambiguous: dict[Name, list[Digest]] = {}
        for descriptor in parsed:
            for name in _names_of(descriptor):
                self._add_name(name, descriptor)

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        return orjson.dumps({**self._document, "manifests": self._entries})

    def has(self, digest: Digest) -> bool:
        """Return whether an entry describes the manifest."""
        return digest in self._media_types

    def is_named(self, digest: Digest) -> bool:
        """Return whether the manifest has a name, even an ambiguous one."""
        return any(each.digest == digest and next(_names_of(each), None) for each in self.descriptors)

    def take(self, other: IndexFile, *, beyond: IndexFile) -> None:
        """Add the entries of `other` that `beyond` has not; their names replace the ones here."""
        known = {orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) for entry in (*beyond._entries, *self._entries)}
        for entry, descriptor in zip(other._entries, other.descriptors, strict=True):
            if orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) not in known:
                for name in _names_of(descriptor):
                    self.drop_name(name)
                self.add(entry)

    def media_type_of(self, digest: Digest) -> str:
        """Return the media type of the manifest in its entry, or ""."""
        return self._media_types.get(digest, "")

    def set_name(self, name: Name, entry: dict[str, Any]) -> None:
        """Give `name` to the manifest of `entry`, and to no other."""
        self.drop_name(name)
        annotations = {**(entry.get("annotations") or {}), REF_NAME: str(name)}
        self.add({**entry, "annotations": annotations})

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry."""
        descriptor = parse_descriptor(entry, "the new entry")
        self._entries.append(entry)
        self.descriptors.append(descriptor)
        self._media_types[descriptor.digest] = descriptor.media_type
        for name in _names_of(descriptor):
            self._add_name(name, descriptor)

    def drop_name(self, name: Name) -> bool:
        """Remove the name, with entries that have no other name; False if it does not exist."""
        if name not in self.names and name not in self.ambiguous:
            return False
        held = [number for number, each in enumerate(self.descriptors) if name in _names_of(each)]
        for number in reversed(held):
            entry = _without(self._entries[number], name)
            if entry is None:
                del self._entries[number], self.descriptors[number]
            else:
                self._entries[number], self.descriptors[number] = entry, parse_descriptor(entry, "an entry")
        self.names.pop(name, None)
        self.ambiguous.pop(name, None)
        self._forget_tag(name)
        self._media_types = {descriptor.digest: descriptor.media_type for descriptor in self.descriptors}
        return True

    def drop(self, digest: Digest) -> None:
        """Remove every entry of the manifest, with its names."""
        kept = [number for number, each in enumerate(self.descriptors) if each.digest != digest]
        for name in [name for name, each in self.names.items() if each.digest == digest]:
            del self.names[name]
            self._forget_tag(name)
        self._entries = [self._entries[number] for number in kept]
        self.descriptors = [self.descriptors[number] for number in kept]
        self._media_types.pop(digest, None)

    def _forget_tag(self, name: Name) -> None:
        tags = self.tags[name.repository]
        tags.discard(name.tag)
        if not tags:
            del self.tags[name.repository]

    def _add_name(self, name: Name, descriptor: Descriptor) -> None:
        if name in self.ambiguous:
            self.ambiguous[name].append(descriptor.digest)
            return
        present = self.names.get(name)
        if present is None or present.digest == descriptor.digest:
            self.names[name] = descriptor
            self.tags.setdefault(name.repository, set()).add(name.tag)
        else:
            del self.names[name]
            self.ambiguous[name] = [present.digest, descriptor.digest]


def _names_of(descriptor: Descriptor) -> Iterator[Name]:
    """Yield the names in an entry."""
    for key in (REF_NAME, CONTAINERD_NAME):
        name = Name.parse(descriptor.annotations.get(key, ""))
        if name is not None:
            yield name


def _without(entry: dict[str, Any], name: Name) -> dict[str, Any] | None:
    """Return the entry without the name, or None if it has no other name."""
    annotations = entry["annotations"]
    kept = {
        key: value
        for key, value in annotations.items()
        if key not in (REF_NAME, CONTAINERD_NAME) or Name.parse(value) != name
    }
    if not any(key in kept for key in (REF_NAME, CONTAINERD_NAME)):
        return None
    return {**entry, "annotations": kept}


class NamedStorage(Storage):
    """What layouts and archives have in common: content by digest for all repositories, and names of an `index.json`.

    The media type of a manifest comes from an entry at the top, or from an index below it. A blob without a name is not
    a manifest here, so an interrupted upload is repeated. `location` is the layout as users write it. The class itself
    is an empty layout; child classes read content.
    """

    writes = False

    def __init__(self, location: str, index: IndexFile) -> None:
        super().__init__()
        self.location = location
        self.index = index
        self._known: dict[Digest, StoredManifest] = {}
        self._named: set[Digest] | None = None
        self._by_subject: dict[Digest, dict[Digest, StoredManifest]] | None = None

    def content_size(self, digest: Digest) -> int | None:  # noqa: ARG002
        """Return the size of the content in bytes, or None."""
        return None

    def open_content(self, digest: Digest) -> BlobReader | None:  # noqa: ARG002
        """Return a reader of the content, or None."""
        return None

    def read_only(self) -> Exception:
        """Return the exception for every change."""
        return PermissionError(f"{self.location} is read only")

    # Repositories

    def described(self) -> Mapping[str, Any]:
        """Return the number of images at the top, some names, and the image if there is only one."""
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
        """Return whether `name` is a valid repository name, with or without a host and port."""
        return is_place_name(name)

    def lacks(self, repository: str, reference: str) -> str:
        """Return the message for a missing manifest, with existing names."""
        if ":" in reference:
            return "manifest unknown"
        name = Name(repository, reference)
        if name in self.index.ambiguous:
            digests = " and ".join(digest.short for digest in self.index.ambiguous[name])
            return f"the name {name} means {digests} there: copy by digest, or remove one"
        names = self._some_names()
        existing = f"there is {', '.join(names)}" if names else "no image has a name"
        return f"there is no image {name} there; {existing}"

    def _some_names(self) -> list[str]:
        names = sorted(self.index.names)
        shown = [str(name) for name in names[:_MOST_NAMES]]
        return shown if len(names) <= _MOST_NAMES else [*shown, f"and {len(names) - _MOST_NAMES} more"]

    def repositories(self) -> list[str]:
        """Return the names of all repositories, without that of tags alone."""
        return sorted(name for name in self.index.tags if name)

    def has_repository(self, name: str) -> bool:
        """Return whether the repository has an image, or can get one."""
        return self.writes or not name or name in self.index.tags

    def create_repository(self, name: str) -> None:
        """Do nothing: a repository exists with its first image."""

    @property
    def used_bytes(self) -> int:
        """Not counted: a layout has no capacity."""
        return 0

    # Blobs

    def blob_size(self, repository: str, digest: Digest) -> int | None:  # noqa: ARG002 - all repositories share content
        """Return the size of a blob in bytes, or None."""
        return self.content_size(digest)

    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:  # noqa: ARG002
        """Return a reader of a blob, or None."""
        return self.open_content(digest)

    def mount_blob(self, repository: str, digest: Digest, from_repository: str | None) -> bool:  # noqa: ARG002
        """Return whether the blob exists, since it exists for every repository."""
        return self.content_size(digest) is not None

    def delete_blob(self, repository: str, digest: Digest) -> bool:  # noqa: ARG002
        """Refuse: others may need the blob."""
        return False

    # Manifests and tags

    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:  # noqa: ARG002
        """Return a manifest with a name, or None."""
        if not self.is_named(digest):
            return None
        found = self._known.get(digest)
        if found is None:
            parsed = self._parse(digest, "")
            if parsed is None:
                return None
            # Under the digest of its entry, so that a reader notices bytes with another digest.
            found = self._known[digest] = replace(describe_manifest(parsed), digest=digest)
        return found

    def read_manifest(self, manifest: StoredManifest) -> bytes:
        """Return the bytes of a manifest."""
        return self._read_content(manifest.digest) or b""

    def tag(self, repository: str, name: str) -> Digest | None:
        """Return the digest of a tag, or None."""
        found = self.index.names.get(Name(repository, name))
        return None if found is None else found.digest

    def tags(self, repository: str) -> Sequence[str]:
        """Return all tags of the repository, sorted."""
        return sorted(self.index.tags.get(repository, ()))

    def referrers(self, repository: str, subject: Digest) -> list[StoredManifest]:  # noqa: ARG002
        """Return the manifests with this subject, at the top or in an index."""
        if self._by_subject is None:
            self._by_subject = {}
            for digest in list(self._names()):
                found = self.manifest("", digest)
                if found is not None:
                    self._note_subject(found)
        return list(self._by_subject.get(subject, {}).values())

    def names_blob(self, repository: str, digest: Digest) -> bool:
        """Return whether the blob exists: every blob of a layout can be mounted."""
        return self.blob_size(repository, digest) is not None

    # What is named

    def is_named(self, digest: Digest) -> bool:
        """Return whether an entry at the top, or an index below one, names the manifest."""
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
        """Return the manifest with this digest; None if it is missing or invalid."""
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
        return None if reader is None else read_all(reader)
