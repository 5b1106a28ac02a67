"""A bundle is opened, and checked from the first byte to the last, before anybody does anything with it."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.errors import ConfigurationError
from image_syncer.layout.bundle_catalogue import NAME_ANNOTATION
from image_syncer.layout.bundle_ending import INDEX_FILE, LAYOUT_FILE
from image_syncer.layout.bundle_record import BUNDLE_FILE, blob_path, parse_bundle_record
from image_syncer.layout.packing import UNFINISHED
from image_syncer.layout.tar_index import Member, MemberReader, index_tar
from image_syncer.layout.tar_parts import ArchiveError, PartFiles
from image_syncer.oci import Digest, InvalidManifest, parse_manifest

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from image_syncer.layout.bundle_record import BundleRecord
    from image_syncer.oci import Manifest

__all__ = ["Bundle", "check_bundle", "open_bundle"]

_PIECE_BYTES = 2**20
_MAX_RECORD_BYTES = 2**30  # some millions of images
_MAX_MANIFEST_BYTES = 4 * 2**20  # as registries have it, and a run
_MAX_LAYOUT_BYTES = 4096


class Bundle:
    """A bundle whose files are all there, with their sizes. Nothing of it was read but `record`."""

    def __init__(self, directory: Path, record: BundleRecord) -> None:
        self.directory = directory
        self.record = record
        self.parts = PartFiles([directory / part.name for part in record.parts])

    def read_manifest(self, digest: Digest) -> Manifest:
        """The manifest, which is what its digest says. Raises ArchiveError."""
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
        """A reader of the blob; None where it is not in this bundle."""
        size, offset = self.record.blobs.get(digest, (0, None))
        return None if offset is None else MemberReader(self.parts, Member(offset, size))


def open_bundle(path: str | os.PathLike[str]) -> Bundle:
    """The bundle in a directory. Raises ArchiveError where it is none, or is not whole, and says what to do."""
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
        if not stat.S_ISREG(found.st_mode):  # a pipe would have us wait, and a device has no end
            wrong.append(f"{part.name} is no file")
        elif found.st_size != part.size:
            wrong.append(f"{part.name} has {found.st_size} bytes instead of {part.size}")
    if wrong:
        raise _damaged(directory, wrong)
    return Bundle(directory, record)


def check_bundle(bundle: Bundle, on_bytes: Callable[[int], None] = lambda _size: None) -> None:
    """Read all of a bundle: each part has the SHA-256 that it should, and what is in the archive is what bundle.json
    says, no more and no less, down to every blob that a manifest names. `on_bytes` is told how much was read.

    Raises ArchiveError, and says which files to copy again.
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
    """The archive has the content that is listed, where it is listed, and nothing else."""
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
        raise _disagrees(
            bundle, f"{names[0]} is not where it says" + (f", nor {len(names) - 1} more" if names[1:] else "")
        )
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
            hint="Run the same export again: it goes on where it was.",
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
