"""An OCI image layout in a directory, as a storage: read, or read and written.

A blob appears under its digest when it is whole, verified and on the disk; `index.json` is replaced as a whole. So
whatever ends the process leaves a layout that is valid, with the blobs that had come.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded import DigestMismatch, StoredManifest
from image_syncer.embedded.file_content import FileReader, FileUpload
from image_syncer.layout.index_file import MAX_INDEX_BYTES, IndexFile, Name, check_layout_file
from image_syncer.layout.layout_files import LayoutFiles
from image_syncer.layout.named_storage import NamedStorage
from image_syncer.layout.place_error import PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.embedded.upload import BlobReader, Upload
    from image_syncer.oci import Digest

__all__ = ["LayoutStorage"]

LAYOUT_FILE = orjson.dumps({"imageLayoutVersion": "1.0.0"})
_LAYOUT_FILE_BYTES = 64 * 1024
_SYNC_EVERY_BYTES = 64 * 2**20


class LayoutStorage(NamedStorage):
    """The layout below the directory `root`, which is made where it is missing and written.

    Raises PlaceError where it cannot be used.
    """

    def __init__(self, root: str, *, writes: bool, place: str = "") -> None:
        self.writes = writes
        self._on_disk: bytes | None = None
        """`index.json`, as we have read or written it."""
        self._files = LayoutFiles(root, writes=writes)
        try:
            super().__init__(place or root, self._read_index())
        except BaseException:
            self._files.close()
            raise
        self._loose: dict[Digest, dict[str, Any]] = {}
        """Manifests that came under their digest alone: children of what comes later, most of them."""
        self._entered: set[Digest] = set()
        """Those that refer to another, and were entered by us without a name."""
        self._whole: set[Digest] = set()
        self._changes = self._saved_changes = 0
        """Of `index.json`: how many there were, and how many of them are on the disk."""
        self._saving: asyncio.Future[None] | None = None
        self._parents: dict[Digest, set[Digest]] | None = None
        """The indexes that have a manifest in them; made when something is to be deleted."""

    def _read_index(self) -> IndexFile:
        raw = self._files.read_top("oci-layout", _LAYOUT_FILE_BYTES)
        index = self._files.read_top("index.json", MAX_INDEX_BYTES)
        if raw is None and index is None and self.writes:
            self._refuse_other_files()
            raw = LAYOUT_FILE
            self._files.replace_top("oci-layout", raw)
        check_layout_file(raw, self._files.root)
        if index is None and not self.writes:
            raise PlaceError(f"{self._files.root} has no index.json, so it names no image", "make the layout anew")
        found = IndexFile(index, self._files.root)
        if index is None:  # after "oci-layout": who is killed between the two leaves what the next run goes on with
            index = found.to_bytes()
            self._files.replace_top("index.json", index)
        if self.writes:
            self._on_disk = index
        return found

    def _refuse_other_files(self) -> None:
        others = self._files.other_names()
        if others:
            raise PlaceError(
                f"{self._files.root} is no image layout, and has {others[0]} in it",
                "give a directory that is empty or not there yet, or that of a layout",
            )

    # Content

    def content_size(self, digest: Digest) -> int | None:
        """The size of the blob's file."""
        return self._files.blob_size(digest)

    def open_content(self, digest: Digest) -> BlobReader | None:
        """A reader of the blob's file."""
        descriptor = self._files.open_blob(digest)
        return None if descriptor is None else FileReader(descriptor)

    # Uploads

    def _new_upload(self, repository: str) -> Upload:
        if not self.writes:
            return super()._new_upload(repository)
        return _LayoutUpload(repository, *self._files.new_file())

    def _drop_upload(self, upload: Upload) -> None:
        assert isinstance(upload, _LayoutUpload)
        upload.close()
        self._files.drop_new(upload.name)

    def commit_upload(self, upload: Upload, digest: Digest) -> None:
        """Make the bytes of the session a blob. Raises DigestMismatch, and discards the session then."""
        assert isinstance(upload, _LayoutUpload)
        actual = upload.digest(digest.algorithm)
        if actual != digest:
            self.discard_upload(upload)
            raise DigestMismatch(digest, actual)
        self._uploads.pop(upload.id, None)
        try:
            if self.content_size(digest) != upload.offset:
                upload.sync()
                self._files.keep_as_blob(upload.name, digest)
        finally:
            self._drop_upload(upload)

    # Manifests and tags

    def manifest(self, repository: str, digest: Digest) -> StoredManifest | None:
        """A manifest that something names; where we write, only one whose blobs are all there, so that what is missing
        is brought.
        """
        found = super().manifest(repository, digest)
        return found if found is None or self._is_whole(digest) else None

    def tag(self, repository: str, name: str) -> Digest | None:
        """The manifest for which a name stands; where we write, only a whole one."""
        found = super().tag(repository, name)
        return found if found is None or self._is_whole(found) else None

    def _is_whole(self, digest: Digest) -> bool:
        if not self.writes or digest in self._whole:
            return True
        parsed = self._parse(digest, "")
        if parsed is None or parsed.digest != digest:
            return False
        blobs = all(blob.size in (-1, self.content_size(blob.digest)) for blob in parsed.blobs)
        if not blobs or not all(self._is_whole(child.digest) for child in parsed.children):
            return False
        self._whole.add(digest)
        return True

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:
        """Keep a manifest, and let the name stand for it. One that refers to another is entered without a name."""
        if not self.writes:
            super().put_manifest(repository, manifest, raw, tag)
        digest = manifest.digest
        if self.content_size(digest) != len(raw) or self._read_content(digest) != raw:
            upload = self.start_upload(repository)
            upload.expect_algorithm(digest.algorithm)
            upload.append((raw,))
            self.commit_upload(upload, digest)
        self._known[digest] = manifest
        self._parents = None
        self._note_subject(manifest)
        entry = {"mediaType": manifest.media_type, "digest": digest, "size": len(raw)}
        if manifest.artifact_type and manifest.subject is not None:
            entry["artifactType"] = manifest.artifact_type
        if tag is not None:
            self._loose.pop(digest, None)
            self._entered.discard(digest)
            self.index.set_name(Name(repository, tag), entry)
        elif manifest.subject is not None and not self.index.has(digest):
            self.index.add(entry)
            self._entered.add(digest)
        elif not self.is_named(digest):
            self._loose[digest] = entry
        self._names().update((digest, *manifest.names))
        for child in manifest.names:
            self._loose.pop(child, None)
            if child in self._entered:
                self._entered.discard(child)
                self.index.drop(child)
        if tag is not None or manifest.subject is not None:
            self._changes += 1

    def delete_tag(self, repository: str, name: str) -> bool:
        """Take a name away; the manifest and its blobs stay."""
        if not self.writes:
            return super().delete_tag(repository, name)
        found = self.index.drop_name(Name(repository, name))
        if found:
            self._changes += 1
        return found

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Take the names of the repository away that stand for a manifest, and what it is entered as without one. Its
        bytes and its blobs stay; and so does the entry of what refers to something that has a name in whatever
        repository: a signature in a layout is that of all repositories that have the image.
        """
        if not self.writes:
            return super().delete_manifest(repository, digest)
        if not self.index.has(digest):
            return False
        if not self.index.is_named(digest) and self._is_about_named(digest):
            return True
        names = [name for name, each in self.index.names.items() if each.digest == digest]
        for name in names:
            if name.repository == repository:
                self.index.drop_name(name)
        if all(name.repository == repository for name in names):
            self.index.drop(digest)
        self._changes += 1
        return True

    def _is_about_named(self, digest: Digest) -> bool:
        """Whether a manifest refers to one that has a name, is in an index that has one, or refers to such a one."""
        found = self.manifest("", digest)
        waiting = [found.subject] if found is not None and found.subject is not None else []
        seen = set(waiting)
        while waiting:
            above = waiting.pop()
            if self.index.is_named(above):
                return True
            found = self.manifest("", above)
            ways = set(self._parents_of(above))
            if found is not None and found.subject is not None:
                ways.add(found.subject)
            waiting += ways - seen
            seen |= ways
        return False

    def _parents_of(self, digest: Digest) -> Iterable[Digest]:
        if self._parents is None:
            self._parents = {}
            for each in list(self._names()):
                found = self.manifest("", each)
                for child in found.names if found is not None else ():
                    self._parents.setdefault(child, set()).add(each)
        return self._parents.get(digest, ())

    # index.json

    def close(self) -> None:
        """What has no name and is no part of anything is entered as it is; `index.json` is on the disk."""
        try:
            if self.writes:
                self.enter_loose()
                for upload in list(self._uploads.values()):
                    with suppress(OSError):
                        self.discard_upload(upload)
                if self._saved_changes < self._changes:
                    self._save()
        finally:
            self._files.close()

    def enter_loose(self) -> None:
        """Enter what has no name and is no part of anything."""
        for entry in self._loose.values():
            self.index.add(entry)
            self._changes += 1
        self._loose.clear()

    @property
    def has_changed(self) -> bool:
        """Whether `index.json` says something else than it did."""
        return self._changes > 0

    async def settle(self) -> None:
        """Returns when `index.json` is on the disk with all that was changed until now.

        One of 100,000 images is 30 MB, and as many are entered: so those that come while it is saved go together with
        the next time.
        """
        wanted = self._changes
        while self._saved_changes < wanted:
            if self._saving is None:
                self._saving = asyncio.ensure_future(self._save_aside())
            await asyncio.shield(self._saving)

    async def _save_aside(self) -> None:
        try:
            self._take_what_others_wrote()
            changes, raw = self._changes, self.index.to_bytes()
            self._on_disk = raw
            await asyncio.to_thread(self._files.replace_top, "index.json", raw)
            self._saved_changes = changes
        finally:
            self._saving = None

    def _save(self) -> None:
        self._take_what_others_wrote()
        self._on_disk = self.index.to_bytes()
        self._files.replace_top("index.json", self._on_disk)
        self._saved_changes = self._changes

    def _take_what_others_wrote(self) -> None:
        """Enter what another program has entered since we read or wrote the file: skopeo asks for no lock. Raises
        PlaceError where it is no index any more.
        """
        raw = self._files.read_top("index.json", MAX_INDEX_BYTES)
        if raw is None or raw == self._on_disk:
            return
        self.index.take(IndexFile(raw, self._files.root), beyond=IndexFile(self._on_disk, self._files.root))
        self._named = self._by_subject = self._parents = None
        self._on_disk = raw


class _LayoutUpload(FileUpload):
    def __init__(self, repository: str, descriptor: int, name: str) -> None:
        super().__init__(repository, descriptor, _SYNC_EVERY_BYTES)
        self.name = name
