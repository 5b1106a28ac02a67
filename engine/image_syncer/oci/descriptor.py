"""Descriptors: what a manifest says about one of the things it names.

OCI image specification 1.1, "Content Descriptors"; Docker's schema 2 has the same fields.
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

__all__ = ["Descriptor", "parse_descriptor", "read_digest", "read_platform"]

_MAX_SIZE = 2**63 - 1  # int64 in the specification's own types


class Descriptor(Value, frozen=True):
    """One thing that a manifest names: media type ("" where not said), digest, and size in bytes.

    The size is -1 where it is not said, which only schema 1 does. `data` is the content itself where the manifest
    embeds it, and has the digest that it should.
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
    """The descriptor in `value`, parsed JSON that stands at `where` (such as "layers[3]").

    Raises InvalidManifest.
    """
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
    """The digest under `name`; raises InvalidManifest."""
    text = read_text(fields, name, where)
    if text is None:
        raise InvalidManifest(f"{where}{name} is missing")
    try:
        return Digest(text)
    except ValueError as error:
        raise InvalidManifest(f"{where}{name}: {error}") from None


def read_platform(value: object, where: str) -> Platform | None:
    """The platform in a descriptor or an image's configuration; None where it says nothing.

    Raises InvalidManifest.
    """
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
