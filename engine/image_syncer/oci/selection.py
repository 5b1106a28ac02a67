"""Selection: an index with only the platforms that are wanted.

Attestations are entries of the index beside the images (BuildKit, "Image attestation storage"): annotated as
such, of the platform unknown/unknown, and pointing at their image. They go where their image goes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.oci.descriptor import read_platform
from image_syncer.oci.document import InvalidManifest
from image_syncer.oci.manifest import parse_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.oci.descriptor import Descriptor
    from image_syncer.oci.digest import Digest
    from image_syncer.oci.manifest import Manifest
    from image_syncer.oci.platform import Platform, PlatformFilter

__all__ = ["platform_of_config", "select_platforms"]

_REFERENCE_TYPE = "vnd.docker.reference.type"
_REFERENCE_DIGEST = "vnd.docker.reference.digest"
_ATTESTATION = "attestation-manifest"
_UNKNOWN = "unknown"


def select_platforms(
    index: Manifest, wanted: PlatformFilter, nested: Mapping[Digest, Manifest | None] | None = None
) -> Manifest | None:
    """`index` with the children that are wanted: the same object where all are, None where none is.

    Entries without a platform stay: nothing says that they are not wanted. `nested` tells by digest what
    became of child indexes (None: nothing in it is wanted); an entry whose child changed names the new digest
    and size. A changed index is written anew, compact, and only its list of manifests changes. Raises
    InvalidManifest.
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
    """The platform that an image's configuration names; None where `raw` is something else (artifacts)."""
    try:
        return read_platform(orjson.loads(raw), "config")
    except (orjson.JSONDecodeError, InvalidManifest):
        return None


def _is_attestation(child: Descriptor) -> bool:
    return child.annotations.get(_REFERENCE_TYPE) == _ATTESTATION


def _stays(child: Descriptor, wanted: PlatformFilter, outcomes: Mapping[Digest, Manifest | None]) -> bool:
    """Whether an entry stays for its own sake."""
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
    # Not orjson: in fields that we do not know, whole numbers beyond 64 bits must stay exact.
    raw = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return parse_manifest(raw, index.media_type, algorithm=index.digest.algorithm)


def _rewrite_entry(entry: dict[str, Any], replacement: Manifest | None) -> dict[str, Any]:
    if replacement is None:
        return entry
    changes = {"digest": str(replacement.digest), "size": len(replacement.raw)}
    return {name: changes.get(name, value) for name, value in entry.items() if name != "data"}
