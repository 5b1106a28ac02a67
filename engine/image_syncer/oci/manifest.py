"""Manifests: what a registry keeps under a tag or a digest, with the bytes as they came.

OCI image specification 1.1, "Image Manifest" and "Image Index";
Docker "Image Manifest Version 2", schema 1 and schema 2.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from image_syncer.oci.descriptor import Descriptor, parse_descriptor
from image_syncer.oci.digest import digest_of
from image_syncer.oci.document import InvalidManifest, parse_document, read_list, read_text, shown
from image_syncer.oci.media_type import (
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_ARTIFACT_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    is_image,
    is_index,
    is_nondistributable,
    is_schema1,
    media_type_of,
)
from image_syncer.oci.schema1 import read_fs_layers, signed_payload
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from image_syncer.oci.digest import Digest

__all__ = ["Manifest", "ManifestKind", "parse_manifest"]


class ManifestKind(Enum):
    """What a manifest names: blobs, other manifests, or blobs in the manner of 2014."""

    IMAGE = "an image"
    INDEX = "an index"
    SCHEMA1 = "a schema 1 image"

    def __str__(self) -> str:
        return self.value


class Manifest(Value, frozen=True):
    """A manifest: its bytes verbatim, the media type to send them with, their digest, and what they name.

    An image has `config` and `layers`, an index `children`, schema 1 `layers` of unknown size.
    """

    raw: bytes
    media_type: str
    digest: Digest
    kind: ManifestKind
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None

    __repr__ = repr_without("raw")

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that a registry must have before it gets this manifest: each digest once, in order.

        A non-distributable layer is left out if it names the URLs where everyone is to get it (`foreign_layers`).
        """
        foreign = {blob.digest for blob in self.foreign_layers}
        if not foreign:
            return self.named_blobs
        return tuple(blob for blob in self.named_blobs if blob.digest not in foreign)

    @property
    def named_blobs(self) -> tuple[Descriptor, ...]:
        """All blobs that it names, wherever they are to be had: each digest once, in order."""
        distinct: dict[Digest, Descriptor] = {}
        for blob in (*([self.config] if self.config else []), *self.layers):
            distinct.setdefault(blob.digest, blob)
        return tuple(distinct.values())

    @property
    def foreign_layers(self) -> tuple[Descriptor, ...]:
        """The layers that a registry need not have, since they name the URLs where everyone is to get them: each
        digest once, in order, but none that the manifest also names otherwise.
        """
        named = (*([self.config] if self.config else []), *self.layers)
        if not any(blob.urls for blob in named):
            return ()
        own = {blob.digest for blob in named if not _is_foreign(blob)}
        return tuple(blob for blob in self.named_blobs if blob.digest not in own)


def _is_foreign(blob: Descriptor) -> bool:
    return is_nondistributable(blob.media_type) and bool(blob.urls)


# The fields that make a document one of its kind.
_SHAPES = {
    ManifestKind.IMAGE: ("config", "layers"),
    ManifestKind.INDEX: ("manifests",),
    ManifestKind.SCHEMA1: ("fsLayers",),
}


def parse_manifest(raw: bytes, content_type: str | None, *, algorithm: str = "sha256") -> Manifest:
    """The manifest in `raw`, which came with the header `content_type`; its digest is made with `algorithm`.

    Its fields decide what kind it is, and what it says of itself goes before the header, because its digest
    covers nothing else. One that could be read as two kinds is refused (the ambiguity of CVE-2021-41190).
    Raises InvalidManifest.
    """
    document = parse_document(raw)
    declared = read_text(document, "mediaType", "") or ""
    header = media_type_of(content_type)
    kind = _kind_of(document, declared, header)
    _check_version(document, kind)
    if kind is ManifestKind.SCHEMA1:
        return _schema1(raw, document, algorithm)
    media_type = _choose_media_type(kind, declared, header)
    config, layers = _read_blobs(document, declared) if kind is ManifestKind.IMAGE else (None, ())
    subject = document.get("subject")
    return Manifest(
        raw=raw,
        media_type=media_type,
        digest=digest_of(raw, algorithm),
        kind=kind,
        config=config,
        layers=layers,
        children=_read_descriptors(document, "manifests") if kind is ManifestKind.INDEX else (),
        subject=None if subject is None else parse_descriptor(subject, "subject"),
        artifact_type=read_text(document, "artifactType", "") or None,
    )


def _schema1(raw: bytes, document: dict[str, Any], algorithm: str) -> Manifest:
    return Manifest(
        raw=raw,
        media_type=DOCKER_SCHEMA1_SIGNED if document.get("signatures") else DOCKER_SCHEMA1,
        digest=digest_of(signed_payload(raw, document), algorithm),
        kind=ManifestKind.SCHEMA1,
        config=None,
        layers=read_fs_layers(document),
        children=(),
        subject=None,
        artifact_type=None,
    )


def _kind_of(document: dict[str, Any], declared: str, header: str) -> ManifestKind:
    present = {name for name, value in document.items() if value is not None}
    shapes = [kind for kind, names in _SHAPES.items() if present.intersection(names)]
    said = _declared_kind(declared)
    if len(shapes) > 1:
        raise InvalidManifest(f"the manifest has the fields of {shapes[0]} and of {shapes[1]} at once")
    if shapes and (said not in (None, shapes[0]) or declared == OCI_ARTIFACT_MANIFEST):
        raise InvalidManifest(f"the manifest says it is {shown(declared)}, but has the fields of {shapes[0]}")
    kind = shapes[0] if shapes else said or _declared_kind(header)
    if kind is None:
        raise InvalidManifest("the manifest has none of the fields config, layers, manifests and fsLayers")
    return kind


def _declared_kind(media_type: str) -> ManifestKind | None:
    if is_index(media_type):
        return ManifestKind.INDEX
    if is_image(media_type):
        return ManifestKind.IMAGE
    return ManifestKind.SCHEMA1 if is_schema1(media_type) else None


def _choose_media_type(kind: ManifestKind, declared: str, header: str) -> str:
    if _declared_kind(declared) is kind:
        return declared
    # An artifact manifest must say of itself that it is one.
    if _declared_kind(header) is kind and header != OCI_ARTIFACT_MANIFEST:
        return header
    return OCI_INDEX if kind is ManifestKind.INDEX else OCI_MANIFEST


def _check_version(document: dict[str, Any], kind: ManifestKind) -> None:
    version = document.get("schemaVersion")
    wanted = 1 if kind is ManifestKind.SCHEMA1 else 2
    if version is not None and (type(version) is not int or version != wanted):
        raise InvalidManifest(f"schemaVersion must be {wanted} here, not {shown(version)}")


def _read_blobs(document: dict[str, Any], declared: str) -> tuple[Descriptor | None, tuple[Descriptor, ...]]:
    if declared == OCI_ARTIFACT_MANIFEST:
        return None, _read_descriptors(document, "blobs") if "blobs" in document else ()
    return parse_descriptor(document.get("config"), "config"), _read_descriptors(document, "layers")


def _read_descriptors(document: dict[str, Any], name: str) -> tuple[Descriptor, ...]:
    if name not in document:
        raise InvalidManifest(f"{name} is missing")
    values = read_list(document, name, "")
    return tuple(parse_descriptor(value, f"{name}[{position}]") for position, value in enumerate(values))
