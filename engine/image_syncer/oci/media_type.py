"""Media types of what registries hold, and what follows from them.

OCI image specification 1.1 "Media Types"; Docker "Image Manifest Version 2, Schema 1" and "Schema 2".
"""

from __future__ import annotations

__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_FOREIGN_LAYER",
    "DOCKER_LAYER",
    "DOCKER_LAYER_TAR",
    "DOCKER_MANIFEST",
    "DOCKER_MANIFEST_LIST",
    "DOCKER_SCHEMA1",
    "DOCKER_SCHEMA1_SIGNED",
    "MANIFEST_MEDIA_TYPES",
    "OCI_ARTIFACT_MANIFEST",
    "OCI_CONFIG",
    "OCI_EMPTY",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "is_image",
    "is_index",
    "is_nondistributable",
    "is_schema1",
    "media_type_of",
]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_ARTIFACT_MANIFEST = "application/vnd.oci.artifact.manifest.v1+json"
"""Of the release candidates of image specification 1.1 only; registries still hold some."""

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
"""Every type of manifest that is understood, the preferred ones first: for Accept headers."""

_INDEXES = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
_IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT_MANIFEST})
_SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
_OCI_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def is_index(media_type: str) -> bool:
    """Whether it names manifests for several platforms or purposes: OCI image index, Docker manifest list."""
    return media_type in _INDEXES


def is_image(media_type: str) -> bool:
    """Whether it names blobs: OCI image or artifact manifest, Docker schema 2 manifest."""
    return media_type in _IMAGES


def is_schema1(media_type: str) -> bool:
    """Whether it is Docker's manifest of 2014, signed or not."""
    return media_type in _SCHEMA1


def is_nondistributable(media_type: str) -> bool:
    """Whether the layer may be fetched only from the URLs of its descriptor ("foreign" in Docker's words)."""
    return media_type == DOCKER_FOREIGN_LAYER or media_type.startswith(_OCI_NONDISTRIBUTABLE)


def media_type_of(content_type: str | None) -> str:
    """The media type of a Content-Type header without its parameters, in lower case (RFC 9110 section 8.3.1).

    >>> media_type_of("Application/JSON; charset=utf-8")
    'application/json'
    """
    return (content_type or "").partition(";")[0].strip().lower()
