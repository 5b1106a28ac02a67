"""What an export has put into its bundle so far: manifests and tags by repository, and what follows for the bundle.

The storage of the export writes a line for each: content with `digest` and `raw` (base64), a `manifest` of a
`repository` with its `media_type`, a `tag` of it with its `digest`.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from image_syncer.layout.bundle_record import (
    BundleImage,
    BundleManifest,
    BundleRepository,
    parse_bundle_record,
)
from image_syncer.layout.packing import UNFINISHED, Packing
from image_syncer.layout.tar_parts import ArchiveError
from image_syncer.oci import Digest, parse_manifest

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from image_syncer.oci import Manifest

__all__ = ["CATALOGUE_FILE", "NAME_ANNOTATION", "Catalogue", "Former", "read_former"]

CATALOGUE_FILE = "catalogue"
"""In the folder of a bundle that is being made."""

NAME_ANNOTATION = "org.opencontainers.image.ref.name"
"""The name of an image in a layout (OCI image layout specification 1.1, "index.json file"): here repository and tag,
which is what skopeo looks for in `oci-archive:FILE:library/nginx:1.27`.
"""

_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class Former(NamedTuple):
    """What former bundles bring: sizes of blobs by repository, and the identities of these bundles."""

    blobs: Mapping[str, Mapping[Digest, int]]
    identities: tuple[str, ...]


def read_former(paths: Sequence[str | os.PathLike[str]]) -> Former:
    """What the bundles bring whose files these are (`bundle.json`). Raises ArchiveError and OSError."""
    blobs: dict[str, dict[Digest, int]] = {}
    identities = []
    for path in map(Path, paths):
        record = parse_bundle_record(path.read_bytes(), str(path))
        identities.append(record.identity)
        for name, repository in record.repositories.items():
            blobs.setdefault(name, {}).update({digest: record.blobs[digest][0] for digest in repository.blobs})
    return Former(blobs, tuple(dict.fromkeys(identities)))


class Catalogue:
    """What the run put: manifests and tags of each repository."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._tags: dict[str, dict[str, Digest]] = {}
        self._in_repository: dict[str, dict[Digest, None]] = {}
        media_types: dict[Digest, str] = {}
        for line in _read_lines(directory):
            if "tag" in line:
                self._tags.setdefault(line["repository"], {})[line["tag"]] = Digest(line["digest"])
            elif "manifest" in line:
                digest = Digest(line["manifest"])
                self._in_repository.setdefault(line["repository"], {})[digest] = None
                media_types[digest] = line["media_type"]
        self._known = {
            digest: _Known(parse_manifest(raw, media_types[digest], algorithm=digest.algorithm), media_types[digest])
            for digest, raw in self.contents()
        }
        self.offsets: dict[Digest, int] = {}

    def contents(self) -> Any:
        """The manifests, one after the other, each once."""
        for line in _read_lines(self._directory):
            if "raw" in line:
                yield Digest(line["digest"]), base64.b64decode(line["raw"])

    def blobs(self, packing: Packing, former: Former) -> dict[Digest, tuple[int, int | None]]:
        """Size and offset of all blobs that the manifests name; no offset where only the former bundle has it."""
        found: dict[Digest, tuple[int, int | None]] = {}
        for repository, manifests in self._in_repository.items():
            brought = former.blobs.get(repository, {})
            for digest in manifests:
                known = self._known[digest]
                for blob in (*known.blobs, *known.foreign):
                    member = packing.members.get(blob)
                    if member is not None:
                        found[blob] = (member.size, member.offset)
                    elif blob in brought:
                        found.setdefault(blob, (brought[blob], None))
                    elif blob in known.blobs:
                        raise ArchiveError(
                            f"the blob {blob} of {repository}@{digest} is gone from {self._directory}",
                            hint="Run the same export again: it brings what is missing.",
                        )
        return found

    def repositories(self, blobs: dict[Digest, tuple[int, int | None]]) -> dict[str, BundleRepository]:
        """What each repository has, of `blobs` those that its manifests name."""
        return {
            name: BundleRepository(
                tuple(manifests),
                tuple(
                    dict.fromkeys(
                        blob
                        for digest in manifests
                        for blob in (*self._known[digest].blobs, *self._known[digest].foreign)
                        if blob in blobs
                    )
                ),
            )
            for name, manifests in sorted(self._in_repository.items())
        }

    def manifests(self) -> dict[Digest, BundleManifest]:
        """Where the manifests are in the archive."""
        return {
            digest: BundleManifest(known.media_type, known.size, self.offsets[digest])
            for digest, known in self._known.items()
        }

    def images(self) -> tuple[BundleImage, ...]:
        """The tags, and the manifests to which nothing leads: those that were asked for by their digests."""
        found = []
        for name, manifests in sorted(self._in_repository.items()):
            tags = self._tags.get(name, {})
            found += [BundleImage(name, tag, digest) for tag, digest in sorted(tags.items())]
            reached = {child for digest in manifests for child in self._known[digest].children} | set(tags.values())
            found += [
                BundleImage(name, None, digest)
                for digest in manifests
                if digest not in reached and not self._known[digest].has_subject
            ]
        return tuple(found)

    def index(self) -> dict[str, Any]:
        """index.json: the images by name, and what no name leads to."""
        entries = []
        for image in self.images():
            entry = self._descriptor(image.digest)
            if image.tag is not None:
                entry["annotations"] = {NAME_ANNOTATION: image.name}
            entries.append(entry)
        referrers = {digest: None for digest, known in self._known.items() if known.has_subject}
        named = {image.digest for image in self.images()}
        entries += [self._descriptor(digest) for digest in referrers if digest not in named]
        return {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries}

    def _descriptor(self, digest: Digest) -> dict[str, Any]:
        known = self._known[digest]
        return {"mediaType": known.media_type, "digest": str(digest), "size": known.size}


class _Known:
    """What has to be known of a manifest, without its bytes."""

    __slots__ = ("blobs", "children", "foreign", "has_subject", "media_type", "size")

    def __init__(self, manifest: Manifest, media_type: str) -> None:
        self.media_type = media_type
        self.size = len(manifest.raw)
        self.blobs = tuple(blob.digest for blob in manifest.blobs)
        self.foreign = tuple(blob.digest for blob in manifest.foreign_layers)
        self.children = tuple(child.digest for child in manifest.children)
        self.has_subject = manifest.subject is not None


def _read_lines(directory: Path) -> Iterator[dict[str, str]]:
    with (directory / UNFINISHED / CATALOGUE_FILE).open("rb") as file:
        for line in file:
            yield orjson.loads(line)
