"""What an image is: digest, reference, media type, platform, descriptor, manifest and index, selection.

Pure: nothing here does I/O. The bytes of a manifest stay as they came; what is read from them is plain data.
"""

from __future__ import annotations

from image_syncer.oci.conversion import ManifestFormat, NotConvertible, convert
from image_syncer.oci.descriptor import Descriptor, parse_descriptor
from image_syncer.oci.digest import EMPTY_DIGEST, Digest, digest_of
from image_syncer.oci.document import MAX_DEPTH, MAX_ENTRIES, MAX_MANIFEST_BYTES, InvalidManifest
from image_syncer.oci.manifest import Manifest, ManifestKind, parse_manifest, platform_of_schema1
from image_syncer.oci.media_type import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_LAYER_TAR,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    MANIFEST_MEDIA_TYPES,
    OCI_ARTIFACT_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    is_image,
    is_index,
    is_nondistributable,
    is_schema1,
    media_type_of,
)
from image_syncer.oci.place import PLACE_KINDS, PlaceText, is_place, is_place_name, split_place
from image_syncer.oci.platform import InvalidPlatform, Platform, PlatformFilter, parse_platform
from image_syncer.oci.reference import (
    DOCKER_HUB,
    InvalidReference,
    Reference,
    Repository,
    canonical_registry,
    is_tag,
    parse_reference,
    parse_repository,
    registry_names,
    repository_at,
)
from image_syncer.oci.selection import platform_of_config, select_platforms

__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_FOREIGN_LAYER",
    "DOCKER_HUB",
    "DOCKER_LAYER",
    "DOCKER_LAYER_TAR",
    "DOCKER_MANIFEST",
    "DOCKER_MANIFEST_LIST",
    "DOCKER_SCHEMA1",
    "DOCKER_SCHEMA1_SIGNED",
    "EMPTY_DIGEST",
    "MANIFEST_MEDIA_TYPES",
    "MAX_DEPTH",
    "MAX_ENTRIES",
    "MAX_MANIFEST_BYTES",
    "OCI_ARTIFACT_MANIFEST",
    "OCI_CONFIG",
    "OCI_EMPTY",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "PLACE_KINDS",
    "Descriptor",
    "Digest",
    "InvalidManifest",
    "InvalidPlatform",
    "InvalidReference",
    "Manifest",
    "ManifestFormat",
    "ManifestKind",
    "NotConvertible",
    "PlaceText",
    "Platform",
    "PlatformFilter",
    "Reference",
    "Repository",
    "canonical_registry",
    "convert",
    "digest_of",
    "is_image",
    "is_index",
    "is_nondistributable",
    "is_place",
    "is_place_name",
    "is_schema1",
    "is_tag",
    "media_type_of",
    "parse_descriptor",
    "parse_manifest",
    "parse_platform",
    "parse_reference",
    "parse_repository",
    "platform_of_config",
    "platform_of_schema1",
    "registry_names",
    "repository_at",
    "select_platforms",
    "split_place",
]
