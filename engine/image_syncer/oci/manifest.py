"""Manifests with their bytes as they came: OCI's images and indexes, Docker's schema 2 and signed schema 1.

OCI image specification 1.1, "Image Manifest", "Image Index"; Docker "Image Manifest Version 2", schema 1 and 2. Also
the selection of an index's platforms, in which attestations follow their image: they are entries of the platform
unknown/unknown with annotations that name it (BuildKit, "Image attestation storage").

The creation time of an image is `created` of its configuration, or the newest history entry of schema 1.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.oci.descriptor import (
    DOCKER_LAYER,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    OCI_ARTIFACT_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    is_image,
    is_index,
    is_nondistributable,
    is_schema1,
    media_type_of,
    parse_descriptor,
    read_digest,
    read_platform,
)
from image_syncer.oci.digest import digest_of
from image_syncer.oci.document import (
    InvalidManifest,
    compact_json,
    parse_document,
    read_list,
    read_object,
    read_text,
    shown,
)
from image_syncer.oci.platform import Platform
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.oci.digest import Digest
    from image_syncer.oci.platform import PlatformFilter


_TIME = lazy_pattern(
    r"(?P<seconds>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>[Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_time(text: str) -> float | None:
    """Return the epoch seconds of an RFC 3339 time (section 5.6); None for other texts.

    >>> parse_time("2024-01-02T03:04:05.123456789Z")
    1704164645.123457
    """
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    fraction, zone = (match["fraction"] or ".0")[:7].ljust(7, "0"), match["zone"].upper()
    try:
        moment = datetime.fromisoformat(f"{match['seconds'].upper()}{fraction}{'+00:00' if zone == 'Z' else zone}")
    except ValueError:
        return None
    return moment.timestamp()


def created_of_config(raw: bytes) -> float | None:
    """Return the epoch seconds of an image's configuration; None without a time."""
    try:
        configuration = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    created = configuration.get("created") if isinstance(configuration, dict) else None
    return parse_time(created) if isinstance(created, str) else None


def created_of_schema1(raw: bytes) -> float | None:
    """Return the epoch seconds of the newest history entry of a schema 1 manifest; None without a time."""
    try:
        return created_of_config(orjson.loads(raw)["history"][0]["v1Compatibility"].encode())
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None


_REFERENCE_TYPE = "vnd.docker.reference.type"
_REFERENCE_DIGEST = "vnd.docker.reference.digest"
_ATTESTATION = "attestation-manifest"
_UNKNOWN = "unknown"
_UNKNOWN_SIZE = -1


class ManifestKind(Enum):
    """The kind of a manifest: of blobs, of other manifests, or Docker's schema 1 of 2014."""

    IMAGE = "an image"
    INDEX = "an index"
    SCHEMA1 = "a schema 1 image"

    def __str__(self) -> str:
        return self.value


class Manifest(Value, frozen=True):
    """A manifest: its bytes verbatim, their media type and digest, and what they name.

    An image has `config` and `layers`, an index `children`, schema 1 `layers` of unknown size.
    """

    raw: bytes
    media_type: str
    digest: Digest
    kind: ManifestKind
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None

    __repr__ = repr_without("raw")

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that a registry needs before the manifest, without `foreign_layers`: each digest once, in order."""
        foreign = {blob.digest for blob in self.foreign_layers}
        if not foreign:
            return self.named_blobs
        return tuple(blob for blob in self.named_blobs if blob.digest not in foreign)

    @property
    def named_blobs(self) -> tuple[Descriptor, ...]:
        """All blobs of the manifest: each digest once, in order."""
        distinct: dict[Digest, Descriptor] = {}
        for blob in (*([self.config] if self.config else []), *self.layers):
            distinct.setdefault(blob.digest, blob)
        return tuple(distinct.values())

    @property
    def foreign_layers(self) -> tuple[Descriptor, ...]:
        """The layers that clients fetch from their URLs, so that a registry does not need them.

        Each digest once, in order, without those that the manifest also names without URLs.
        """
        named = (*([self.config] if self.config else []), *self.layers)
        if not any(blob.urls for blob in named):
            return ()
        own = {blob.digest for blob in named if not (blob.urls and is_nondistributable(blob.media_type))}
        return tuple(blob for blob in self.named_blobs if blob.digest not in own)


# The fields that make a document one of its kind.
_SHAPES = {
    ManifestKind.IMAGE: ("config", "layers"),
    ManifestKind.INDEX: ("manifests",),
    ManifestKind.SCHEMA1: ("fsLayers",),
}


def parse_manifest(raw: bytes, content_type: str | None, *, algorithm: str = "sha256") -> Manifest:
    """Parse the manifest `raw`, with the header `content_type`; `algorithm` is that of its digest.

    Its fields decide its kind, and its own media type precedes the header, which the digest does not cover. A manifest
    of two kinds is refused (CVE-2021-41190). Raises InvalidManifest.
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
        layers=read_fs_layers(document),
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
    # An artifact manifest must name its own media type.
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


def read_fs_layers(document: dict[str, Any]) -> tuple[Descriptor, ...]:
    """Return the layers of a schema 1 manifest, the topmost first, of unknown size. Raises InvalidManifest."""
    if "fsLayers" not in document:
        raise InvalidManifest("fsLayers is missing")
    named = ((f"fsLayers[{position}]", value) for position, value in enumerate(read_list(document, "fsLayers", "")))
    digests = (read_digest(read_object(value, where), "blobSum", f"{where}.") for where, value in named)
    return tuple(Descriptor(DOCKER_LAYER, digest, _UNKNOWN_SIZE) for digest in digests)


def platform_of_schema1(raw: bytes) -> Platform | None:
    """Return the platform of a schema 1 manifest: its architecture, and the system of its newest history entry.

    A missing system is Linux; without an architecture, the platform is None.
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
    """Return the bytes that the digest of a schema 1 manifest covers: the signed ones, or `raw` without signatures.

    Signatures are inserted before the last brace. The protected header of each says how to restore the bytes:
    `formatLength` bytes of the document, then `formatTail`. Raises InvalidManifest, also where they differ from the
    document.
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
    """Decode base64url without padding (RFC 7515, section 2)."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def select_platforms(
    index: Manifest, wanted: PlatformFilter, nested: Mapping[Digest, Manifest | None] | None = None
) -> Manifest | None:
    """Return `index` with the wanted children: the same object where all are wanted, None where none is.

    Entries without a platform stay. `nested` has the selections of child indexes by digest (None: nothing in it is
    wanted); the entry of a changed child gets its new digest and size. A changed index is written as compact JSON, and
    only its list of manifests changes. Raises InvalidManifest.
    """
    if wanted.is_empty:
        return index
    outcomes = nested or {}
    standing = {
        child.digest
        for child in index.children
        if _stays(child, wanted, outcomes) and not _replacement(child, outcomes)
    }
    kept = [
        child.annotations.get(_REFERENCE_DIGEST) in standing
        if _is_attestation(child)
        else _stays(child, wanted, outcomes)
        for child in index.children
    ]
    if all(kept) and not any(_replacement(child, outcomes) for child in index.children):
        return index
    return _rewrite(index, kept, outcomes) if any(kept) else None


def platform_of_config(raw: bytes) -> Platform | None:
    """Return the platform of an image's configuration; None for others (artifacts)."""
    try:
        return read_platform(orjson.loads(raw), "config")
    except (orjson.JSONDecodeError, InvalidManifest):
        return None


def _is_attestation(child: Descriptor) -> bool:
    return child.annotations.get(_REFERENCE_TYPE) == _ATTESTATION


def _stays(child: Descriptor, wanted: PlatformFilter, outcomes: Mapping[Digest, Manifest | None]) -> bool:
    """Return whether an entry stays because of itself, not of another one."""
    if _is_attestation(child) or (child.digest in outcomes and outcomes[child.digest] is None):
        return False
    platform = child.platform
    return platform is None or platform.os == platform.architecture == _UNKNOWN or wanted.matches(platform)


def _replacement(child: Descriptor, outcomes: Mapping[Digest, Manifest | None]) -> Manifest | None:
    outcome = outcomes.get(child.digest)
    return outcome if outcome is not None and outcome.digest != child.digest else None


def _rewrite(index: Manifest, kept: list[bool], outcomes: Mapping[Digest, Manifest | None]) -> Manifest:
    document = json.loads(index.raw)
    document["manifests"] = [
        _rewrite_entry(entry, _replacement(child, outcomes))
        for entry, child, stays in zip(document["manifests"], index.children, kept, strict=True)
        if stays
    ]
    return parse_manifest(compact_json(document), index.media_type, algorithm=index.digest.algorithm)


def _rewrite_entry(entry: dict[str, Any], replacement: Manifest | None) -> dict[str, Any]:
    if replacement is None:
        return entry
    changes = {"digest": str(replacement.digest), "size": len(replacement.raw)}
    return {name: changes.get(name, value) for name, value in entry.items() if name != "data"}
