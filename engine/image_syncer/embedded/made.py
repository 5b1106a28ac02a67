"""Made-up blobs and manifests: content that is described first and made when somebody reads it."""

from __future__ import annotations

import hashlib
import json
import random
from functools import cached_property
from typing import TYPE_CHECKING, Any

from image_syncer.oci import Digest, parse_manifest
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MadeBlob", "MadeManifest", "build_manifest", "dump_json"]

_GZIP_MAGIC = b"\x1f\x8b\x08\x00"
_PIECE_BYTES = 2**20
_COUNTER_BYTES = 8


class MadeBlob(Value, frozen=True, dict=True):
    """A blob: either `data`, or `size` bytes of noise that `seed` makes."""

    media_type: str
    size: int
    seed: int = 0
    data: bytes | None = None
    algorithm: str = "sha256"

    __repr__ = repr_without("data")

    def pieces(self) -> Iterator[bytes]:
        """The bytes, at most 1 MiB at a time."""
        if self.data is not None:
            yield self.data
            return
        # One piece of noise is made, and a counter tells the others from it: noise is slow, and has to be cheap.
        noise = bytearray(random.Random(self.seed).randbytes(min(self.size, _PIECE_BYTES)))  # noqa: S311 - no secret
        noise[: len(_GZIP_MAGIC)] = _GZIP_MAGIC[: self.size]
        for number, begin in enumerate(range(0, self.size, _PIECE_BYTES)):
            if number:
                noise[:_COUNTER_BYTES] = number.to_bytes(_COUNTER_BYTES, "big")
            yield bytes(noise[: self.size - begin])

    def read(self) -> bytes:
        """All bytes at once; for small blobs."""
        return b"".join(self.pieces())

    @cached_property
    def digest(self) -> Digest:
        """The digest of the bytes, which are made once for it."""
        running = hashlib.new(self.algorithm)
        for piece in self.pieces():
            running.update(piece)
        return Digest(f"{self.algorithm}:{running.hexdigest()}")

    def descriptor(self, **more: object) -> dict[str, Any]:
        """The descriptor of the blob, with `more` fields (None: left out)."""
        return _describe(self.media_type, self.digest, self.size, more)


class MadeManifest(Value, frozen=True, dict=True):
    """A manifest with everything under it."""

    raw: bytes
    media_type: str
    blobs: tuple[MadeBlob, ...] = ()
    children: tuple[MadeManifest, ...] = ()
    platform: Mapping[str, Any] | None = None

    __repr__ = repr_without("raw")

    @cached_property
    def digest(self) -> Digest:
        """The digest under which a registry keeps it."""
        return parse_manifest(self.raw, self.media_type).digest

    def manifests(self) -> list[MadeManifest]:
        """The manifest and all below it, each once, children first."""
        found = {item.digest: item for child in self.children for item in child.manifests()}
        found.setdefault(self.digest, self)
        return list(found.values())

    def all_blobs(self) -> list[MadeBlob]:
        """The blobs of this manifest and of all below it, each once."""
        return list({blob.digest: blob for item in self.manifests() for blob in item.blobs}.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of all distinct blobs."""
        return sum(blob.size for blob in self.all_blobs())

    def descriptor(self, **more: object) -> dict[str, Any]:
        """The descriptor of the manifest, with `more` fields (None: left out)."""
        return _describe(self.media_type, self.digest, len(self.raw), {"platform": self.platform, **more})


def build_manifest(
    value: Mapping[str, object],
    blobs: tuple[MadeBlob, ...] = (),
    *,
    children: tuple[MadeManifest, ...] = (),
    platform: Mapping[str, Any] | None = None,
    indent: int | None = None,
) -> MadeManifest:
    """The manifest with the fields of `value` (None: left out); `indent` prints it prettily."""
    present = {name: item for name, item in value.items() if item is not None}
    return MadeManifest(dump_json(present, indent), str(value["mediaType"]), blobs, children, platform)


def dump_json(value: object, indent: int | None = None) -> bytes:
    """`value` as JSON, compact where there is no `indent`."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, indent=indent, separators=separators).encode()


def _describe(media_type: str, digest: str, size: int, more: Mapping[str, object]) -> dict[str, Any]:
    present = {name: item for name, item in more.items() if item is not None}
    return {"mediaType": media_type, "digest": digest, "size": size, **present}
