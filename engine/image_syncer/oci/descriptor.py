"""Descriptors of what a manifest names (OCI image specification 1.1, "Content Descriptors"), and media types.

Docker's "Image Manifest Version 2, Schema 2" has the same fields.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from msgspec import field

from image_syncer.oci.digest import Digest, digest_of
from image_syncer.oci.document import InvalidManifest, read_object, read_strings, read_text, shown
from image_syncer.oci.platform import Platform
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping


OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_ARTIFACT_MANIFEST = "application/vnd.oci.artifact.manifest.v1+json"
"""Only in release candidates of image specification 1.1; registries still have some."""

DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

MANIFEST_MEDIA_TYPES = (
    OCI_INDEX,
    DOCKER_MANIFEST_LIST,
    OCI_MANIFEST,
    DOCKER_MANIFEST,
    OCI_ARTIFACT_MANIFEST,
    DOCKER_SCHEMA1_SIGNED,
    DOCKER_SCHEMA1,
)
"""All supported types of manifests, the preferred ones first, for Accept headers."""
_INDEXES = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
_IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT_MANIFEST})
_SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
_OCI_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_MAX_SIZE = 2**63 - 1  # int64 in the specification's own types


def is_index(media_type: str) -> bool:
    """Return whether it is a list of manifests: OCI image index, Docker manifest list."""
    return media_type in _INDEXES


def is_image(media_type: str) -> bool:
    """Return whether it is a manifest of blobs: OCI image or artifact manifest, Docker schema 2 manifest."""
    return media_type in _IMAGES


def is_schema1(media_type: str) -> bool:
    """Return whether it is Docker's schema 1 manifest of 2014, signed or not."""
    return media_type in _SCHEMA1


def is_nondistributable(media_type: str) -> bool:
    """Return whether the layer may be fetched only from its descriptor's URLs ("foreign" in Docker's words)."""
    return media_type == DOCKER_FOREIGN_LAYER or media_type.startswith(_OCI_NONDISTRIBUTABLE)


def media_type_of(content_type: str | None) -> str:
    """Return the media type of a Content-Type header in lower case, without parameters (RFC 9110, section 8.3.1).

    >>> media_type_of("Application/JSON; charset=utf-8")
    'application/json'
    """
    return (content_type or "").partition(";")[0].strip().lower()


class Descriptor(Value, frozen=True):
    """What a manifest says of a blob or manifest: media type ("" for none), digest, and size in bytes.

    The size is -1 in schema 1, which has none. `data` is embedded content, with its digest checked.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()
    artifact_type: str | None = None
    data: bytes | None = None

    __repr__ = repr_without("data")

    def __hash__(self) -> int:
        return hash((self.media_type, self.digest, self.size))  # annotations are a mapping


def parse_descriptor(value: object, where: str) -> Descriptor:
    """Return the descriptor in parsed JSON; `where` is its position ("layers[3]"). Raises InvalidManifest."""
    fields = read_object(value, where)
    digest = read_digest(fields, "digest", f"{where}.")
    size = fields.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
        raise InvalidManifest(f"{where}.size must be a whole number of bytes, not {shown(size)}")
    return Descriptor(
        media_type=read_text(fields, "mediaType", f"{where}.") or "",
        digest=digest,
        size=size,
        platform=read_platform(fields.get("platform"), f"{where}.platform"),
        annotations=_read_annotations(fields.get("annotations"), f"{where}.annotations"),
        urls=read_strings(fields, "urls", f"{where}."),
        artifact_type=read_text(fields, "artifactType", f"{where}.") or None,
        data=_read_data(read_text(fields, "data", f"{where}."), digest, size, f"{where}.data"),
    )


def read_digest(fields: dict[str, Any], name: str, where: str) -> Digest:
    """Return the digest under `name`; raises InvalidManifest."""
    text = read_text(fields, name, where)
    if text is None:
        raise InvalidManifest(f"{where}{name} is missing")
    try:
        return Digest(text)
    except ValueError as error:
        raise InvalidManifest(f"{where}{name}: {error}") from None


def read_platform(value: object, where: str) -> Platform | None:
    """Return the platform of a descriptor or an image's configuration; None without one. Raises InvalidManifest."""
    if value is None:
        return None
    fields = read_object(value, where)
    names = ("os", "architecture", "variant", "os.version")
    os, architecture, variant, os_version = (read_text(fields, name, f"{where}.") or "" for name in names)
    features = read_strings(fields, "os.features", f"{where}.")
    return Platform(os, architecture, variant, os_version, features) if os or architecture else None


def _read_annotations(value: object, where: str) -> dict[str, str]:
    if value is None:
        return {}
    annotations = read_object(value, where)
    for name, text in annotations.items():
        if not isinstance(text, str):
            raise InvalidManifest(f"{where}: {shown(name)} must be text, not {shown(text)}")
    return annotations


def _read_data(text: str | None, digest: Digest, size: int, where: str) -> bytes | None:
    if text is None:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidManifest(f"{where} must be base64, not {shown(text)}") from None
    if len(data) != size or digest_of(data, digest.algorithm) != digest:
        raise InvalidManifest(f"{where} is not what the digest {digest.short} and the size {size} say")
    return data
