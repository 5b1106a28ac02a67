"""Manifests: what a registry keeps under a tag or a digest, with the bytes as they came.

OCI image specification 1.1, "Image Manifest" and "Image Index";
Docker "Image Manifest Version 2", schema 1 and schema 2.

Docker's manifest of 2014, "Image Manifest Version 2, Schema 1", and what its signature covers.

A signed one is a JSON object with its signatures put in just before the last brace. The digest covers the
payload: the bytes as they were before that. The protected header of each signature says how to get them back:
`formatLength` bytes of the document, then `formatTail`.
"""

from __future__ import annotations

import base64
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.oci.descriptor import Descriptor, parse_descriptor, read_digest
from image_syncer.oci.digest import digest_of
from image_syncer.oci.document import InvalidManifest, parse_document, read_list, read_object, read_text, shown
from image_syncer.oci.media_type import (
    DOCKER_LAYER,
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
from image_syncer.oci.platform import Platform
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from image_syncer.oci.digest import Digest

__all__ = [
    "Manifest",
    "ManifestKind",
    "parse_manifest",
    "platform_of_schema1",
    "read_fs_layers",
    "signed_payload",
]


_UNKNOWN_SIZE = -1


def read_fs_layers(document: dict[str, Any]) -> tuple[Descriptor, ...]:
    """The layers in the document's own order, the topmost first, of unknown size. Raises InvalidManifest."""
    if "fsLayers" not in document:
        raise InvalidManifest("fsLayers is missing")
    layers = read_list(document, "fsLayers", "")
    return tuple(_read_fs_layer(value, f"fsLayers[{position}]") for position, value in enumerate(layers))


def platform_of_schema1(raw: bytes) -> Platform | None:
    """The platform that a schema 1 manifest names: its architecture, and the system of its newest history entry, which
    is Linux where it is left out, as it was then. None where there is no architecture.
    """
    try:
        document = parse_document(raw)
        architecture = read_text(document, "architecture", "")
        history = read_list(document, "history", "")
        newest = read_object(history[0], "history[0]") if history else {}
        configuration = orjson.loads(read_text(newest, "v1Compatibility", "history[0].") or "{}")
    except (InvalidManifest, orjson.JSONDecodeError):
        return None
    system = configuration.get("os") if isinstance(configuration, dict) else None
    return Platform(system if isinstance(system, str) and system else "linux", architecture) if architecture else None


def signed_payload(raw: bytes, document: dict[str, Any]) -> bytes:
    """The bytes that the digest covers: those that were signed, or `raw` where nothing was.

    Raises InvalidManifest, also where the signed bytes say something else than the document.
    """
    signatures = read_list(document, "signatures", "")
    if not signatures:
        return raw
    forms = {_read_form(value, f"signatures[{position}]") for position, value in enumerate(signatures)}
    if len(forms) > 1:
        raise InvalidManifest("the signatures of the manifest cover different bytes")
    length, tail = forms.pop()
    payload = raw[:length] + tail
    unsigned = {name: value for name, value in document.items() if name != "signatures"}
    if parse_document(payload) != unsigned:
        raise InvalidManifest("the signatures of the manifest cover something else than the manifest")
    return payload


def _read_fs_layer(value: object, where: str) -> Descriptor:
    digest = read_digest(read_object(value, where), "blobSum", f"{where}.")
    return Descriptor(DOCKER_LAYER, digest, _UNKNOWN_SIZE)


def _read_form(signature: object, where: str) -> tuple[int, bytes]:
    protected = read_text(read_object(signature, where), "protected", f"{where}.") or ""
    try:
        header = orjson.loads(_decode(protected))
        length, tail = header["formatLength"], _decode(header["formatTail"])
    except (ValueError, KeyError, TypeError):
        raise InvalidManifest(f"{where}.protected does not say which bytes were signed") from None
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise InvalidManifest(f"{where}.protected does not say which bytes were signed")
    return length, tail


def _decode(text: str) -> bytes:
    """base64url without padding (RFC 7515 section 2)."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


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
