"""`index.json` of an image layout: which names stand for which manifests. What is not ours is kept as it is.

OCI image specification 1.1, "Image Layout", section "index.json file".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.layout.place_error import PlaceError
from image_syncer.oci import OCI_INDEX, Descriptor, InvalidManifest, is_place_name, is_tag, parse_descriptor
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.oci import Digest

__all__ = ["MAX_INDEX_BYTES", "IndexFile", "Name", "check_layout_file"]

MAX_INDEX_BYTES = 256 * 2**20
"""A bound against files that are none; half a million images have less."""
REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
"""As containerd and docker write it: the whole name, beside a `ref.name` that is the tag alone
(https://github.com/containerd/containerd/blob/main/core/images/annotations.go)."""
_LAYOUT_VERSION = "1."
_EMPTY = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


class Name(Value, frozen=True, order=True):
    """The name of an image in a layout: `repository` is "" for one that is a tag alone."""

    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}" if self.repository else self.tag

    @classmethod
    def parse(cls, text: str) -> Name | None:
        """The name that `text` is; None for one that no reference can have."""
        repository, colon, tag = text.rpartition(":")
        if colon and not is_place_name(repository):
            return None
        return cls(repository, tag) if is_tag(tag) else None


def check_layout_file(raw: bytes | None, place: str) -> None:
    """Raises PlaceError unless `raw`, the file `oci-layout`, says that this is a layout of a version that we know."""
    try:
        data = None if raw is None else orjson.loads(raw)
    except orjson.JSONDecodeError:
        data = {}
    if raw is None:
        raise PlaceError(f"{place} is no image layout: it has no file oci-layout", "name one that was made by a copy")
    version = data.get("imageLayoutVersion") if isinstance(data, dict) else None
    if not isinstance(version, str) or not version.startswith(_LAYOUT_VERSION):
        raise PlaceError(f"{place} is an image layout of a version that is not known: {version!r}", "make it anew")


class IndexFile:
    """The entries of an `index.json`, and the names that stand there.

    `ambiguous` are names that stand for several manifests, which no specification gives a meaning.
    """

    def __init__(self, raw: bytes | None, place: str) -> None:
        """Raises PlaceError for what is no index."""
        try:
            document: dict[str, Any] = _EMPTY if raw is None else orjson.loads(raw)
            entries: list[dict[str, Any]] = document["manifests"] or []
            parsed = [parse_descriptor(entry, f"manifests[{number}]") for number, entry in enumerate(entries)]
        except (ValueError, KeyError, TypeError, InvalidManifest) as error:
            why = f": {error}" if isinstance(error, InvalidManifest) else ""
            raise PlaceError(f"index.json of {place} is no image index{why}", "make the layout anew") from None
        self._document = document
        self._entries = list(entries)
        self._parsed = parsed
        self._media_types = {descriptor.digest: descriptor.media_type for descriptor in parsed}
        self.names: dict[Name, Descriptor] = {}
        self.tags: dict[str, set[str]] = {}
        """The tags of each repository."""
        self.ambiguous: dict[Name, list[Digest]] = {}
        for descriptor in parsed:
            for name in _names_of(descriptor):
                self._add_name(name, descriptor)

    @property
    def descriptors(self) -> list[Descriptor]:
        """The manifests at the top, in the order in which they stand there."""
        return list(self._parsed)

    def to_bytes(self) -> bytes:
        """The file."""
        return orjson.dumps({**self._document, "manifests": self._entries})

    def has(self, digest: Digest) -> bool:
        """Whether an entry is about that manifest."""
        return digest in self._media_types

    def is_named(self, digest: Digest) -> bool:
        """Whether a name stands for that manifest, be it one of several."""
        return any(each.digest == digest and next(_names_of(each), None) for each in self._parsed)

    def take(self, other: IndexFile, *, beyond: IndexFile) -> None:
        """Enter what `other` has and `beyond` has not: a name that stands for something else there does so here."""
        known = {orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) for entry in (*beyond._entries, *self._entries)}
        for entry, descriptor in zip(other._entries, other._parsed, strict=True):
            if orjson.dumps(entry, option=orjson.OPT_SORT_KEYS) not in known:
                for name in _names_of(descriptor):
                    self.drop_name(name)
                self.add(entry)

    def media_type_of(self, digest: Digest) -> str:
        """The media type that an entry gives that manifest; "" where none does."""
        return self._media_types.get(digest, "")

    def set_name(self, name: Name, entry: dict[str, Any]) -> None:
        """Let `name` stand for the manifest that `entry` describes, and for no other."""
        self.drop_name(name)
        annotations = {**(entry.get("annotations") or {}), REF_NAME: str(name)}
        self.add({**entry, "annotations": annotations})

    def add(self, entry: dict[str, Any]) -> None:
        """Add an entry."""
        descriptor = parse_descriptor(entry, "the new entry")
        self._entries.append(entry)
        self._parsed.append(descriptor)
        self._media_types[descriptor.digest] = descriptor.media_type
        for name in _names_of(descriptor):
            self._add_name(name, descriptor)

    def drop_name(self, name: Name) -> bool:
        """Take the entries with that name away; False where there is none. One that has another name, too, keeps that;
        the manifests stay where they are.
        """
        if name not in self.names and name not in self.ambiguous:
            return False
        held = [number for number, each in enumerate(self._parsed) if name in _names_of(each)]
        for number in reversed(held):
            entry = _without(self._entries[number], name)
            if entry is None:
                del self._entries[number], self._parsed[number]
            else:
                self._entries[number], self._parsed[number] = entry, parse_descriptor(entry, "an entry")
        self.names.pop(name, None)
        self.ambiguous.pop(name, None)
        self._forget_tag(name)
        self._media_types = {descriptor.digest: descriptor.media_type for descriptor in self._parsed}
        return True

    def drop(self, digest: Digest) -> None:
        """Take every entry about that manifest away, with its names."""
        kept = [number for number, each in enumerate(self._parsed) if each.digest != digest]
        for name in [name for name, each in self.names.items() if each.digest == digest]:
            del self.names[name]
            self._forget_tag(name)
        self._entries = [self._entries[number] for number in kept]
        self._parsed = [self._parsed[number] for number in kept]
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
    """The names that an entry gives its manifest."""
    for key in (REF_NAME, CONTAINERD_NAME):
        name = Name.parse(descriptor.annotations.get(key, ""))
        if name is not None:
            yield name


def _without(entry: dict[str, Any], name: Name) -> dict[str, Any] | None:
    """The entry without that name; None where it has no other."""
    annotations = entry["annotations"]
    kept = {
        key: value
        for key, value in annotations.items()
        if key not in (REF_NAME, CONTAINERD_NAME) or Name.parse(value) != name
    }
    if not any(key in kept for key in (REF_NAME, CONTAINERD_NAME)):
        return None
    return {**entry, "annotations": kept}
