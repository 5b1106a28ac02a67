"""Bundles as files: reading and checking a whole one, and writing the record of an export."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.layout.bundle_record import (
    BUNDLE_FILE,
    BundleImage,
    BundleManifest,
    BundleRecord,
    BundleRepository,
    blob_path,
    parse_bundle_record,
)
from image_syncer.layout.packing import UNFINISHED, Packing
from image_syncer.layout.tar_index import ArchiveError, Member, MemberReader, PartFiles, index_tar
from image_syncer.layout.tar_writer import sync_directory
from image_syncer.oci import Digest, InvalidManifest, parse_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from image_syncer.layout.packing import Packing
    from image_syncer.oci import Manifest


LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
LAYOUT_BYTES = b'{"imageLayoutVersion":"1.0.0"}'
"""OCI image layout specification 1.1, "oci-layout file"."""
CATALOGUE_FILE = "catalogue"
"""The manifests and tags of an unfinished bundle: a line of JSON for each item that the export stored, either content
with `digest` and `raw` (base64), a `manifest` of a `repository` with its `media_type`, or a `tag` with its `digest`."""
NAME_ANNOTATION = "org.opencontainers.image.ref.name"
"""The name of an image in a layout (OCI image layout specification 1.1, "index.json file"), here repository and tag,
which skopeo reads in `oci-archive:FILE:library/nginx:1.27`."""
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_PIECE_BYTES = 2**20
_MAX_RECORD_BYTES = 2**30  # some millions of images
_MAX_MANIFEST_BYTES = 4 * 2**20  # as registries have it, and a run
_MAX_LAYOUT_BYTES = 4096


class Bundle:
    """A bundle whose files exist with their sizes; only `record` was read."""

    def __init__(self, directory: Path, record: BundleRecord) -> None:
        self.directory = directory
        self.record = record
        self.parts = PartFiles([directory / part.name for part in record.parts])

    def read_manifest(self, digest: Digest) -> Manifest:
        """Return a manifest after checking its digest. Raises ArchiveError."""
        listed = self.record.manifests[digest]
        if listed.size > _MAX_MANIFEST_BYTES:
            raise ArchiveError(f"{self.directory}: the manifest {digest} has {listed.size} bytes")
        raw = self.parts.pread(listed.offset, listed.size)
        try:
            manifest = parse_manifest(raw, listed.media_type, algorithm=digest.algorithm)
        except InvalidManifest as error:
            raise ArchiveError(f"{self.directory}: the manifest {digest} cannot be read: {error}") from None
        if manifest.digest != digest:
            raise ArchiveError(f"{self.directory}: the manifest {digest} has other content: {manifest.digest}")
        return manifest

    def open_blob(self, digest: Digest) -> MemberReader | None:
        """Return a reader of the blob, or None if it is not in this bundle."""
        size, offset = self.record.blobs.get(digest, (0, None))
        return None if offset is None else MemberReader(self.parts, Member(offset, size))


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Return the bundle in a directory. Raises ArchiveError or ConfigurationError if it is incomplete or missing."""
    directory = Path(path)
    file = directory / BUNDLE_FILE
    if not file.is_file():
        raise _no_bundle(directory)
    if file.stat().st_size > _MAX_RECORD_BYTES:
        raise ArchiveError(f"{file} is too large to be that of a bundle")
    record = parse_bundle_record(file.read_bytes(), str(file))
    wrong = []
    for part in record.parts:
        try:
            found = (directory / part.name).stat()
        except FileNotFoundError:
            wrong.append(f"{part.name} is missing")
            continue
        if not stat.S_ISREG(found.st_mode):  # a pipe blocks, and a device has no end
            wrong.append(f"{part.name} is no file")
        elif found.st_size != part.size:
            wrong.append(f"{part.name} has {found.st_size} bytes instead of {part.size}")
    if wrong:
        raise _damaged(directory, wrong)
    return Bundle(directory, record)


def check_bundle(bundle: Bundle, on_bytes: Callable[[int], None] = lambda _size: None) -> None:
    """Read a whole bundle: check the SHA-256 of each part, that the archive has exactly the content of bundle.json, and
    that no blob of a manifest is missing. `on_bytes` gets the number of bytes of each read.

    Raises ArchiveError with the files to copy again.
    """
    wrong = []
    for part in bundle.record.parts:
        actual = _hash_file(bundle.directory / part.name, on_bytes)
        if actual != part.sha256:
            wrong.append(f"{part.name} has other content than it had")
    if wrong:
        raise _damaged(bundle.directory, wrong)
    _check_members(bundle)
    for name, repository in bundle.record.repositories.items():
        manifests, blobs = set(repository.manifests), set(repository.blobs)
        for digest in repository.manifests:
            manifest = bundle.read_manifest(digest)
            _check_named(bundle, f"{name}@{digest}", manifest, manifests, blobs)


def _check_members(bundle: Bundle) -> None:
    """Check that the archive has exactly the listed content, at the listed offsets."""
    record = bundle.record
    try:
        index = index_tar(bundle.parts)
    except ArchiveError as error:
        raise _disagrees(bundle, error.message) from None
    listed = {blob_path(digest): Member(one.offset, one.size) for digest, one in record.manifests.items()}
    for digest, (size, offset) in record.blobs.items():
        if offset is not None:
            listed[blob_path(digest)] = Member(offset, size)
    found = {name: member for name, member in index.members.items() if name not in (LAYOUT_FILE, INDEX_FILE)}
    if found != listed:
        names = sorted(name for name in found.keys() | listed.keys() if found.get(name) != listed.get(name))
        more = f", nor {len(names) - 1} more" if names[1:] else ""
        raise _disagrees(bundle, f"{names[0]} is not where it says{more}")
    try:
        version = orjson.loads(index.read(LAYOUT_FILE, _MAX_LAYOUT_BYTES))["imageLayoutVersion"]
        entries = orjson.loads(index.read(INDEX_FILE, _MAX_RECORD_BYTES))["manifests"]
        named = {_named(entry) for entry in entries} - {None}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _disagrees(bundle, f"{INDEX_FILE} of the archive cannot be read") from None
    if not isinstance(version, str) or not version.startswith("1."):
        raise _disagrees(bundle, f"the layout is of version {version}")
    if named != {(image.name, str(image.digest)) for image in record.images if image.tag is not None}:
        raise _disagrees(bundle, f"{INDEX_FILE} of the archive names other images")


def _named(entry: Any) -> tuple[str, str] | None:
    name = (entry.get("annotations") or {}).get(NAME_ANNOTATION)
    return None if name is None else (name, entry["digest"])


def _check_named(bundle: Bundle, where: str, manifest: Manifest, manifests: set[Digest], blobs: set[Digest]) -> None:
    for child in manifest.children:
        if child.digest not in manifests:
            raise _disagrees(bundle, f"{where} names the manifest {child.digest}, which is not there")
    for blob in manifest.blobs:
        size = bundle.record.blobs[blob.digest][0] if blob.digest in blobs else None
        if size is None or blob.size not in (size, -1):
            raise _disagrees(bundle, f"{where} names the blob {blob.digest}, which is not there with its size")


def _hash_file(path: Path, on_bytes: Callable[[int], None]) -> str:
    running = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE_BYTES):
            running.update(piece)
            on_bytes(len(piece))
    return running.hexdigest()


def _no_bundle(directory: Path) -> ConfigurationError | ArchiveError:
    if (directory / UNFINISHED).is_dir():
        return ArchiveError(
            f"the bundle in {directory} is not finished: its export was cut off",
            hint="Run the same export again: it continues where it stopped.",
        )
    if any(directory.glob("part-*.tar")):
        return ArchiveError(f"{directory} has parts of a bundle, and no {BUNDLE_FILE}", hint="Copy that file as well.")
    return ConfigurationError(f"{directory} is no bundle: there is no {BUNDLE_FILE}", hint="Name its directory.")


def _damaged(directory: Path, wrong: list[str]) -> ArchiveError:
    names = " ".join(text.partition(" ")[0] for text in wrong)
    return ArchiveError(
        f"the bundle in {directory} is damaged: {'; '.join(wrong)}",
        hint=f"Nothing was written. Copy again from where it was exported, and nothing else: {names}",
    )


def _disagrees(bundle: Bundle, what: str) -> ArchiveError:
    return ArchiveError(
        f"{bundle.directory / BUNDLE_FILE} does not fit its parts: {what}",
        hint=f"Nothing was written. Copy {BUNDLE_FILE} again from where the bundle was exported.",
    )


# Export


class Former(NamedTuple):
    """The content of former bundles: sizes of blobs by repository, and the identities of the bundles."""

    blobs: Mapping[str, Mapping[Digest, int]]
    identities: tuple[str, ...]


def read_former(paths: Sequence[str | os.PathLike[str]]) -> Former:
    """Read the records of former bundles (`bundle.json`). Raises ArchiveError and OSError."""
    blobs: dict[str, dict[Digest, int]] = {}
    identities = []
    for path in map(Path, paths):
        record = parse_bundle_record(path.read_bytes(), str(path))
        identities.append(record.identity)
        for name, repository in record.repositories.items():
            blobs.setdefault(name, {}).update({digest: record.blobs[digest][0] for digest in repository.blobs})
    return Former(blobs, tuple(dict.fromkeys(identities)))


class Catalogue:
    """The manifests and tags of each repository that the export stored."""

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
        """Yield the digest and bytes of each manifest."""
        for line in _read_lines(self._directory):
            if "raw" in line:
                yield Digest(line["digest"]), base64.b64decode(line["raw"])

    def blobs(self, packing: Packing, former: Former) -> dict[Digest, tuple[int, int | None]]:
        """Return size and offset of all blobs; the offset is None if only the former bundle has the blob."""
        found: dict[Digest, tuple[int, int | None]] = {}
        for repository, manifests in self._in_repository.items():
            brought = former.blobs.get(repository, {})
            for digest in manifests:
                known = self._known[digest]
                for blob in known.all_blobs:
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
        """Return the manifests of each repository, and their blobs in `blobs`."""
        found = {}
        for name, manifests in sorted(self._in_repository.items()):
            named = (blob for digest in manifests for blob in self._known[digest].all_blobs if blob in blobs)
            found[name] = BundleRepository(tuple(manifests), tuple(dict.fromkeys(named)))
        return found

    def manifests(self) -> dict[Digest, BundleManifest]:
        """Return the manifests with their offsets in the archive."""
        return {
            digest: BundleManifest(known.media_type, known.size, self.offsets[digest])
            for digest, known in self._known.items()
        }

    def images(self) -> tuple[BundleImage, ...]:
        """Return the tags, and the manifests without a tag, parent or subject: those that were selected by digest."""
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
        """Return index.json: the images by name, then the referrers without a name."""
        entries = []
        for image in self.images():
            entry = self._descriptor(image.digest)
            if image.tag is not None:
                entry["annotations"] = {NAME_ANNOTATION: image.name}
            entries.append(entry)
        named = {image.digest for image in self.images()}
        referrers = (digest for digest, known in self._known.items() if known.has_subject)
        entries += [self._descriptor(digest) for digest in referrers if digest not in named]
        return {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": entries}

    def _descriptor(self, digest: Digest) -> dict[str, Any]:
        known = self._known[digest]
        return {"mediaType": known.media_type, "digest": str(digest), "size": known.size}


class _Known:
    """The fields of a manifest that the record needs, without its bytes."""

    __slots__ = ("all_blobs", "blobs", "children", "has_subject", "media_type", "size")

    def __init__(self, manifest: Manifest, media_type: str) -> None:
        self.media_type = media_type
        self.size = len(manifest.raw)
        self.blobs = tuple(blob.digest for blob in manifest.blobs)
        self.all_blobs = (*self.blobs, *(blob.digest for blob in manifest.foreign_layers))
        self.children = tuple(child.digest for child in manifest.children)
        self.has_subject = manifest.subject is not None


def _read_lines(directory: Path) -> Iterator[dict[str, str]]:
    with (directory / UNFINISHED / CATALOGUE_FILE).open("rb") as file:
        for line in file:
            yield orjson.loads(line)


def end_bundle(directory: Path, packing: Packing, former: Former, created_at: str) -> BundleRecord:
    """Finish the bundle of an export in `directory`. Raises OSError, and ArchiveError if content is missing; a repeated
    export continues then.
    """
    catalogue = Catalogue(directory)
    for digest in packing.waiting():
        packing.pack(digest)
    blobs = catalogue.blobs(packing, former)
    for digest, raw in catalogue.contents():
        catalogue.offsets[digest] = packing.pack_bytes(digest, raw).offset
    parts = packing.finish((LAYOUT_FILE, LAYOUT_BYTES), (INDEX_FILE, orjson.dumps(catalogue.index())))
    unused = {
        digest: (member.size, member.offset)
        for digest, member in packing.members.items()
        if digest not in blobs and digest not in catalogue.offsets
    }
    needs_former = any(offset is None for _, offset in blobs.values())
    record = BundleRecord(
        created_at=created_at,
        parts=parts,
        images=catalogue.images(),
        repositories=catalogue.repositories(blobs),
        manifests=catalogue.manifests(),
        blobs={**blobs, **unused},
        needs=former.identities if needs_former else (),
    )
    _write_last(directory / BUNDLE_FILE, record.to_bytes())
    shutil.rmtree(directory / UNFINISHED)
    return record


def _write_last(path: Path, raw: bytes) -> None:
    """Write a file completely to the disk, or not at all."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
