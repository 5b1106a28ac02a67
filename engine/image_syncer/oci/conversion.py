"""Conversion of manifests between Docker's schema 2 and the OCI image specification.

Both formats say the same with other media types (OCI image specification 1.1, "Compatibility Matrix"), and blobs are
the same in both: only manifests are written anew, as compact JSON in the order of their fields, so that the same
manifest always becomes the same bytes. What Docker's format cannot represent is refused, never left out.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from image_syncer.oci.descriptor import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_LAYER_TAR,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_ARTIFACT_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    is_index,
    is_nondistributable,
)
from image_syncer.oci.document import InvalidManifest, compact_json, shown
from image_syncer.oci.manifest import Manifest, ManifestKind, parse_manifest
from image_syncer.values import TextEnum

if TYPE_CHECKING:
    from collections.abc import Mapping


_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER = "application/vnd.docker."
_TO_OCI = {
    DOCKER_CONFIG: OCI_CONFIG,
    DOCKER_LAYER: OCI_LAYER_GZIP,
    DOCKER_LAYER_TAR: OCI_LAYER,
    DOCKER_FOREIGN_LAYER: f"{_OCI_FOREIGN}+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": _OCI_FOREIGN,
}
_TO_DOCKER = {oci: docker for docker, oci in _TO_OCI.items()}
# BuildKit wrote it for a while; Docker's specification does not have it, so nothing is converted to it.
_TO_OCI["application/vnd.docker.image.rootfs.diff.tar.zstd"] = OCI_LAYER_ZSTD
_DOCKER_LAYERS = frozenset(_TO_DOCKER.values()) - {DOCKER_CONFIG}
_NO_PLACE_IN_DESCRIPTOR = ("annotations", "data", "artifactType")
_NO_PLACE_IN_MANIFEST = ("annotations", "subject", "artifactType")
_ABOUT = "vnd.docker.reference.digest"
"""The annotation by which BuildKit's attestations name their image in the same index."""


class ManifestFormat(TextEnum):
    """The format of manifests at the destination; the values are those of the command line."""

    KEEP = "keep"
    """The source's, byte for byte."""
    OCI = "oci"
    DOCKER = "docker"


class NotConvertible(ValueError):  # noqa: N818 - an answer, and what the caller asks about
    """A manifest that the other format cannot represent; the message is a phrase for people."""


def convert(manifest: Manifest, wanted: ManifestFormat, children: Mapping[str, Manifest] | None = None) -> Manifest:
    """Return `manifest` in the wanted format: the same object where it already has it.

    `children` has the converted manifest of each child of an index, by its former digest. Raises NotConvertible.
    """
    if wanted is ManifestFormat.KEEP:
        return manifest
    if manifest.kind is ManifestKind.SCHEMA1:
        raise NotConvertible("it is a schema 1 manifest, whose layers would have to be unpacked for another one")
    if manifest.media_type == OCI_ARTIFACT_MANIFEST and wanted is ManifestFormat.OCI:
        return manifest
    document: dict[str, Any] = json.loads(manifest.raw)
    if wanted is ManifestFormat.DOCKER:
        _check_docker(manifest, document)
    if manifest.kind is ManifestKind.INDEX:
        media_type = OCI_INDEX if wanted is ManifestFormat.OCI else DOCKER_MANIFEST_LIST
        entries = document["manifests"] or []  # Go writes an empty list as null
        changes: dict[str, Any] = {"manifests": [_entry(entry, children or {}) for entry in entries]}
        same = changes["manifests"] == entries
    else:
        media_type = OCI_MANIFEST if wanted is ManifestFormat.OCI else DOCKER_MANIFEST
        config, layers = document["config"], document["layers"] or []
        changes = {
            "config": _blob(config, "config", wanted),
            "layers": [_blob(layer, f"layers[{at}]", wanted) for at, layer in enumerate(layers)],
        }
        same = changes == {"config": config, "layers": layers}
    if same and manifest.media_type == media_type:
        return manifest
    return _write(manifest, {**document, **changes}, media_type)


def _write(manifest: Manifest, document: dict[str, Any], media_type: str) -> Manifest:
    says = {"schemaVersion": 2, "mediaType": media_type}
    if not says.keys() <= document.keys():
        document = {**says, **document}  # fields that OCI may omit, and Docker needs, come first
    document |= says
    try:
        return parse_manifest(compact_json(document), media_type, algorithm=manifest.digest.algorithm)
    except InvalidManifest as error:
        raise NotConvertible(f"what it would become is no manifest: {error}") from None


def _entry(entry: dict[str, Any], children: Mapping[str, Manifest]) -> dict[str, Any]:
    """Return an entry of an index with its converted child."""
    child = children[entry["digest"]]
    changed = dict(entry)
    if child.digest != entry["digest"]:
        changed |= {"mediaType": child.media_type, "digest": str(child.digest), "size": len(child.raw)}
        if entry.get("data") is not None:
            changed["data"] = base64.b64encode(child.raw).decode()
    annotations: dict[str, Any] = entry.get("annotations") or {}
    about = children.get(annotations.get(_ABOUT, ""))
    if about is not None:
        changed["annotations"] = {**annotations, _ABOUT: str(about.digest)}
    return changed


def _blob(descriptor: dict[str, Any], where: str, wanted: ManifestFormat) -> dict[str, Any]:
    media_type = descriptor.get("mediaType") or ""
    if wanted is ManifestFormat.DOCKER:
        named = _TO_DOCKER.get(media_type, media_type)
        if named not in (_DOCKER_LAYERS if where != "config" else {DOCKER_CONFIG}):
            raise NotConvertible(f"{where} is {shown(media_type)}, and Docker's format has no type for that")
        if descriptor.get("urls") and not is_nondistributable(named):
            raise NotConvertible(f"{where} has URLs, which Docker's format has for foreign layers only")
    else:
        named = _TO_OCI.get(media_type, media_type)
        if named.startswith(_DOCKER):
            raise NotConvertible(f"{where} is {shown(media_type)}, and OCI's format has no type for that")
    return descriptor if named == media_type else {**descriptor, "mediaType": named}


def _check_docker(manifest: Manifest, document: dict[str, Any]) -> None:
    """Raise NotConvertible where a Docker manifest or list cannot represent `document`."""
    if manifest.media_type == OCI_ARTIFACT_MANIFEST:
        raise NotConvertible("it is an artifact, and Docker's format has images only")
    for name in _NO_PLACE_IN_MANIFEST:
        if document.get(name):
            raise NotConvertible(f"it has {name}, for which Docker's format has no place")
    named = {f"manifests[{at}]": entry for at, entry in enumerate(document.get("manifests") or ())}
    named |= {f"layers[{at}]": layer for at, layer in enumerate(document.get("layers") or ())}
    if document.get("config"):
        named["config"] = document["config"]
    for where, descriptor in named.items():
        for name in _NO_PLACE_IN_DESCRIPTOR:
            if descriptor.get(name):
                raise NotConvertible(f"{where} has {name}, for which Docker's format has no place")
    for at, child in enumerate(manifest.children):
        if is_index(child.media_type):
            raise NotConvertible(f"manifests[{at}] is an index, and a list of Docker's has images only")
        if child.platform is None:
            raise NotConvertible(f"manifests[{at}] has no platform, and in a list of Docker's each image has one")
