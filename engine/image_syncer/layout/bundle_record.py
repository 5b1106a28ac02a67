"""bundle.json: the content of a bundle, where it is, and what a former bundle must have. Read as untrusted data."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.route import is_repository_name
from image_syncer.layout.tar_index import ArchiveError
from image_syncer.layout.tar_writer import Part
from image_syncer.oci import Digest, is_tag
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value, as_dict

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping


BUNDLE_FILE = "bundle.json"
"""Written last: without it, a bundle is unfinished."""

_FORMAT = "image-syncer bundle"
_VERSION = 1
_PART_NAME = lazy_pattern(r"part-[0-9]{4,6}\.tar")
_SHA256 = lazy_pattern(r"[0-9a-f]{64}")
_MEDIA_TYPE = lazy_pattern(r"[\x21-\x7e]{1,255}")


def blob_path(digest: Digest) -> str:
    """Return the path of content in an OCI layout (OCI image layout specification 1.1, "Blobs")."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


class BundleManifest(Value, frozen=True):
    """A manifest of the bundle; its bytes begin at `offset` of the archive."""

    media_type: str
    size: int
    offset: int


class BundleImage(Value, frozen=True):
    """A tag and its manifest; without a tag, a manifest that was selected by its digest."""

    repository: str
    tag: str | None
    digest: Digest

    @property
    def name(self) -> str:
        """The image as users write it."""
        return f"{self.repository}@{self.digest}" if self.tag is None else f"{self.repository}:{self.tag}"


class BundleRepository(Value, frozen=True):
    """The manifests of a repository (with children and referrers), and their blobs."""

    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]


class BundleRecord(Value, frozen=True, eq=False):
    """The record of a bundle. `blobs` have size and offset; the offset is None if a former bundle has the blob. `needs`
    are the identities of former bundles.
    """

    created_at: str
    parts: tuple[Part, ...]
    images: tuple[BundleImage, ...]
    repositories: Mapping[str, BundleRepository]
    manifests: Mapping[Digest, BundleManifest]
    blobs: Mapping[Digest, tuple[int, int | None]]
    needs: tuple[str, ...] = ()
    identity: str = ""
    """The SHA-256 of the file in hexadecimal, "" for a record that was not read. Not compared."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BundleRecord) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment] # it has mappings

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    def needed(self) -> dict[str, tuple[Digest, ...]]:
        """Return the blobs that a former bundle must have, by repository."""
        found = {
            name: tuple(digest for digest in repository.blobs if self.blobs[digest][1] is None)
            for name, repository in self.repositories.items()
        }
        return {name: digests for name, digests in found.items() if digests}

    def to_bytes(self) -> bytes:
        """Return the content of the file, without its own identity."""
        data = {
            "format": _FORMAT,
            "version": _VERSION,
            "created_at": self.created_at,
            "parts": [part._asdict() for part in self.parts],
            "images": [as_dict(one) for one in self.images],
            "repositories": {name: as_dict(one) for name, one in self.repositories.items()},
            "manifests": {digest: as_dict(one) for digest, one in self.manifests.items()},
            "blobs": {
                digest: {"size": size} if offset is None else {"size": size, "offset": offset}
                for digest, (size, offset) in self.blobs.items()
            },
            "needs": {"bundles": list(self.needs)},
        }
        # For orjson, keys of the class Digest are no strings.
        return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n"


def parse_bundle_record(raw: bytes, where: str) -> BundleRecord:
    """Return the record in the file `where`. Raises ArchiveError if it is damaged, or of another version."""
    try:
        data = orjson.loads(raw)
        _check_version(data["format"], data["version"], where)
        record = BundleRecord(
            created_at=_text(data["created_at"]),
            parts=tuple(_part(one) for one in data["parts"]),
            images=tuple(_image(one) for one in data["images"]),
            repositories={_repository(name): _contents(one) for name, one in data["repositories"].items()},
            manifests={Digest(digest): _manifest(one) for digest, one in data["manifests"].items()},
            blobs={Digest(digest): _blob(one) for digest, one in data["blobs"].items()},
            needs=tuple(_matching(_SHA256, one) for one in data["needs"]["bundles"]),
            identity=hashlib.sha256(raw).hexdigest(),
        )
        _check_whole(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ArchiveError(
            f"{where} is damaged, or is no {BUNDLE_FILE} of a bundle: {what}", hint="Copy this file again."
        ) from None
    return record


def _check_version(kind: Any, version: Any, where: str) -> None:
    if kind != _FORMAT:
        raise ValueError("it does not say that it is of a bundle")
    if version != _VERSION:
        raise ArchiveError(
            f"{where} is of version {version}, and this image-syncer reads version {_VERSION}",
            hint="Import the bundle with the image-syncer that exported it, or a newer one.",
        )


def _check_whole(record: BundleRecord) -> None:
    """Raise ValueError if a named manifest or blob is not listed."""
    if len({part.name for part in record.parts}) != len(record.parts):
        raise ValueError("a part is listed twice")
    for image in record.images:
        repository = record.repositories.get(image.repository)
        if repository is None or image.digest not in repository.manifests:
            raise ValueError(f"the manifest of {image.name} is not listed")
    for name, repository in record.repositories.items():
        listed = all(digest in record.manifests for digest in repository.manifests)
        if not listed or not all(digest in record.blobs for digest in repository.blobs):
            raise ValueError(f"what {name} has is not listed")


def _part(data: Any) -> Part:
    return Part(_matching(_PART_NAME, data["name"]), _count(data["size"]), _matching(_SHA256, data["sha256"]))


def _image(data: Any) -> BundleImage:
    tag = data["tag"]
    if tag is not None and not is_tag(tag):
        raise ValueError(f"{tag} is not a tag")
    return BundleImage(_repository(data["repository"]), tag, Digest(data["digest"]))


def _contents(data: Any) -> BundleRepository:
    return BundleRepository(tuple(map(Digest, data["manifests"])), tuple(map(Digest, data["blobs"])))


def _manifest(data: Any) -> BundleManifest:
    return BundleManifest(_matching(_MEDIA_TYPE, data["media_type"]), _count(data["size"]), _count(data["offset"]))


def _blob(data: Any) -> tuple[int, int | None]:
    return _count(data["size"]), _count(data["offset"]) if "offset" in data else None


def _repository(name: Any) -> str:
    if not is_repository_name(name):
        raise ValueError(f"{name} is not the name of a repository")
    return str(name)


def _matching(pattern: re.Pattern[str], text: Any) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{text} is not valid there")
    return str(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value} is no text")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value} is no number of bytes")
    return value
