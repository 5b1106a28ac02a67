"""An OCI image layout in a directory as a storage, read, or read and written.

A blob gets its final name when it is complete, verified and on the disk; `index.json` is replaced as a whole. So the
layout is valid whenever the process ends, with the blobs so far.

OCI image specification 1.1, "Image Layout": `oci-layout`, `index.json`, `blobs/<algorithm>/<hex>`.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded import DigestMismatch, StoredManifest
from image_syncer.embedded.storage import FileReader, FileUpload
from image_syncer.errors import PlaceError
from image_syncer.layout.named_storage import MAX_INDEX_BYTES, IndexFile, Name, NamedStorage, check_layout_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from image_syncer.embedded.storage import BlobReader, StorageUpload
    from image_syncer.oci import Digest


LAYOUT_FILE = orjson.dumps({"imageLayoutVersion": "1.0.0"})
_ALGORITHMS = ("sha256", "sha512")
_OWN = ".image-syncer"
"""The directory of the lock and of incomplete files, while this process writes."""
_FILE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""O_NONBLOCK: a pipe or a device with the name of a blob must not block before it is refused."""
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_LAYOUT_FILE_BYTES = 64 * 1024
_SYNC_EVERY_BYTES = 64 * 2**20


class LayoutFiles:
    """Reads, and with `writes` changes, the files below `root`. Thread-safe.

    Every file is opened step by step from `root`, and links below it are not followed, so that no file outside can be
    read or written. Raises PlaceError if `root` cannot be used, or another process writes to it.
    """

    def __init__(self, root: str, *, writes: bool) -> None:
        self.root = root
        self.writes = writes
        if writes:
            with _reported(f"cannot make the directory {root}"):
                Path(root).mkdir(parents=True, exist_ok=True)
        with _reported(f"cannot open the directory {root}"):
            self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._blobs: dict[str, int] = {}
        self._own = -1
        self._lock = -1
        try:
            if writes:
                self._begin_writing()
            self._open_blobs()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the lock and all files, and delete the temporary files; may be called again."""
        if self._own >= 0:
            self._sweep()
            with suppress(OSError):
                os.unlink("lock", dir_fd=self._own)
            with suppress(OSError):
                os.rmdir(_OWN, dir_fd=self._root)
        for descriptor in (self._lock, self._own, *self._blobs.values(), self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._own = self._root = -1
        self._blobs.clear()

    # Blobs

    def blob_size(self, digest: Digest) -> int | None:
        """Return the size of a blob in bytes, or None if there is no such file."""
        directory = self._blobs.get(digest.algorithm, -1)
        if directory < 0:
            return None
        try:
            found = os.stat(digest.hex, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def open_blob(self, digest: Digest) -> int | None:
        """Return a descriptor for reading a blob, or None if there is no such file."""
        directory = self._blobs.get(digest.algorithm, -1)
        try:
            return None if directory < 0 else _open_regular(digest.hex, directory)
        except PlaceError:
            return None

    def drop_blob(self, digest: Digest) -> None:
        """Delete a blob."""
        with suppress(FileNotFoundError):
            os.unlink(digest.hex, dir_fd=self._blobs[digest.algorithm])

    # Files at the top

    def read_top(self, name: str, limit: int) -> bytes | None:
        """Return the bytes of a file beside `blobs`, or None. Raises PlaceError for more than `limit`."""
        descriptor = _open_regular(name, self._root)
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise PlaceError(f"{self.root}/{name} has more than {limit} bytes", "this is no image layout")
        return raw

    def replace_top(self, name: str, raw: bytes) -> None:
        """Replace the content of a file beside `blobs` atomically."""
        descriptor, temporary = self.new_file()
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=self._own, dst_dir_fd=self._root)
        except BaseException:
            self.drop_new(temporary)
            raise
        os.fsync(self._root)

    def other_names(self) -> list[str]:
        """Return the other names in the directory, sorted."""
        return sorted(name for name in os.listdir(self._root) if name != _OWN)  # noqa: PTH208 - a descriptor

    # Incomplete files

    def new_file(self) -> tuple[int, str]:
        """Return the descriptor and the name of a new incomplete file."""
        name = uuid.uuid4().hex
        return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _FILE, 0o644, dir_fd=self._own), name

    def drop_new(self, name: str) -> None:
        """Delete an incomplete file."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._own)

    def keep_as_blob(self, name: str, digest: Digest) -> None:
        """Make an incomplete file, which is on the disk, the blob with this digest."""
        directory = self._blobs_of(digest.algorithm)
        os.rename(name, digest.hex, src_dir_fd=self._own, dst_dir_fd=directory)
        os.fsync(directory)

    def _begin_writing(self) -> None:
        with _reported(f"cannot write in the directory {self.root}"):
            while self._own < 0:
                self._try_lock()
            self._sweep()

    def _try_lock(self) -> None:
        """Take the lock, unless a process that just ended has deleted it with its directory."""
        own = _make_directory(_OWN, self._root)
        lock = -1
        try:
            lock = os.open("lock", os.O_RDWR | os.O_CREAT | _FILE, 0o600, dir_fd=own)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(f"{_OWN}/lock", dir_fd=self._root)):
                self._own, self._lock = own, lock
                return
        except FileNotFoundError:
            pass
        except BlockingIOError:
            raise PlaceError(f"another process writes into {self.root}", "wait until it is done, or end it") from None
        finally:
            if self._own < 0:
                for descriptor in (own, lock):
                    if descriptor >= 0:
                        os.close(descriptor)

    def _sweep(self) -> None:
        for name in os.listdir(self._own):  # noqa: PTH208 - a descriptor
            if name != "lock":
                with suppress(OSError):
                    os.unlink(name, dir_fd=self._own)

    def _open_blobs(self) -> None:
        for algorithm in _ALGORITHMS:
            with _reported(f"cannot open {self.root}/blobs/{algorithm}"), suppress(FileNotFoundError):
                blobs = os.open("blobs", _DIRECTORY, dir_fd=self._root)
                try:
                    self._blobs[algorithm] = os.open(algorithm, _DIRECTORY, dir_fd=blobs)
                finally:
                    os.close(blobs)

    def _blobs_of(self, algorithm: str) -> int:
        directory = self._blobs.get(algorithm, -1)
        if directory < 0:
            blobs = _make_directory("blobs", self._root)
            try:
                directory = self._blobs[algorithm] = _make_directory(algorithm, blobs)
            finally:
                os.close(blobs)
        return directory


def _make_directory(name: str, parent: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, _DIRECTORY, dir_fd=parent)


def _open_regular(name: str, directory: int) -> int | None:
    """Return a descriptor of the file, or None. Raises PlaceError for a link and for other kinds of files."""
    try:
        descriptor = os.open(name, os.O_RDONLY | _FILE, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _no_file(name) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file(name)
    return descriptor


def _no_file(name: str) -> PlaceError:
    return PlaceError(f"{name} in the layout is a link or no file", "links are not followed: put the file itself there")


@contextmanager
def _reported(what: str) -> Iterator[None]:
    """Raise an OSError of the directory as a PlaceError that begins with `what`."""
    try:
        yield
    except PlaceError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            mend = "links are not followed below a layout: put the directory itself there"
        elif error.errno == errno.ENOENT:
            mend = "give the path of a layout that exists"
        elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            mend = "give a directory that this user may use so"
        else:
            mend = ""
        raise PlaceError(f"{what}: {error.strerror}", mend) from None


class LayoutStorage(NamedStorage):
    """The layout below `root`, which is created if it is missing and `writes` is set. Raises PlaceError."""

    def __init__(self, root: str, *, writes: bool, location: str = "") -> None:
        self.writes = writes
        self._on_disk: bytes | None = None
        """`index.json` as this process read or wrote it."""
        self._files = LayoutFiles(root, writes=writes)
        try:
            super().__init__(location or root, self._read_index())
        except BaseException:
            self._files.close()
            raise
        self._loose: dict[Digest, dict[str, Any]] = {}
        """Entries of manifests without a name: mostly children of later indexes."""
        self._entered: set[Digest] = set()
        """Referrers that this process added without a name."""
        self._complete: set[Digest] = set()
        self._changes = self._saved_changes = 0
        """Changes of `index.json`: all of them, and those on the disk."""
        self._saving: asyncio.Future[None] | None = None
        self._parents: dict[Digest, set[Digest]] | None = None
        """The indexes of each manifest; read for the first deletion."""

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
        if index is None:  # after "oci-layout": after a kill between the two, the next run continues
            index = found.to_bytes()
            self._files.replace_top("index.json", index)
        if self.writes:
            self._on_disk = index
        return found

    def _refuse_other_files(self) -> None:
        others = self._files.other_names()
        if others:
            what = f"{self._files.root} is no image layout, and has {others[0]} in it"
            raise PlaceError(what, "give a directory that is empty or not there yet, or that of a layout")

    # Content

    def content_size(self, digest: Digest) -> int | None:
        """Return the size of a blob, or None."""
        return self._files.blob_size(digest)

    def open_content(self, digest: Digest) -> BlobReader | None:
        """Return a reader of a blob, or None."""
        descriptor = self._files.open_blob(digest)
        return None if descriptor is None else FileReader(descriptor)

    # Uploads

    def _new_upload(self, repository: str) -> StorageUpload:
        if not self.writes:
            return super()._new_upload(repository)
        return FileUpload(repository, *self._files.new_file(), _SYNC_EVERY_BYTES)

    def _drop_upload(self, upload: StorageUpload) -> None:
        assert isinstance(upload, FileUpload)
        upload.close()
        self._files.drop_new(upload.name)

    def commit_upload(self, upload: StorageUpload, digest: Digest) -> None:
        """Make the bytes of the session a blob. On DigestMismatch, the session is discarded."""
        assert isinstance(upload, FileUpload)
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
        """Return a manifest with a name; with `writes` only a complete one, so that missing blobs are copied."""
        found = super().manifest(repository, digest)
        return found if found is None or self._is_complete(digest) else None

    def tag(self, repository: str, name: str) -> Digest | None:
        """Return the digest of a tag; with `writes` only of a complete manifest."""
        found = super().tag(repository, name)
        return found if found is None or self._is_complete(found) else None

    def _is_complete(self, digest: Digest) -> bool:
        if not self.writes or digest in self._complete:
            return True
        parsed = self._parse(digest, "")
        if parsed is None or parsed.digest != digest:
            return False
        blobs = all(blob.size in (-1, self.content_size(blob.digest)) for blob in parsed.blobs)
        if not blobs or not all(self._is_complete(child.digest) for child in parsed.children):
            return False
        self._complete.add(digest)
        return True

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:
        """Store a manifest, and let the name point at it. A referrer is added to the index without a name."""
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
        """Remove a name; the manifest and its blobs stay."""
        if not self.writes:
            return super().delete_tag(repository, name)
        found = self.index.drop_name(Name(repository, name))
        if found:
            self._changes += 1
        return found

    def delete_manifest(self, repository: str, digest: Digest) -> bool:
        """Remove the names of a manifest in the repository, and its entry without a name; its content stays.

        A referrer of a manifest that has a name in any repository keeps its entry: a signature in a layout belongs to
        all repositories with the image.
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
        """Return whether a chain of subjects and indexes leads from the manifest to one with a name."""
        found = self.manifest("", digest)
        waiting = [found.subject] if found is not None and found.subject is not None else []
        seen = set(waiting)
        while waiting:
            above = waiting.pop()
            if self.index.is_named(above):
                return True
            found = self.manifest("", above)
            following = set(self._parents_of(above))
            if found is not None and found.subject is not None:
                following.add(found.subject)
            waiting += following - seen
            seen |= following
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
        """Add the manifests without a name to the index, and write it to the disk."""
        try:
            if self.writes:
                self._add_loose()
                for upload in list(self._uploads.values()):
                    with suppress(OSError):
                        self.discard_upload(upload)
                if self._saved_changes < self._changes:
                    self._save()
        finally:
            self._files.close()

    def _add_loose(self) -> None:
        for entry in self._loose.values():
            self.index.add(entry)
            self._changes += 1
        self._loose.clear()

    async def settle(self) -> None:
        """Wait until `index.json` is on the disk with all changes so far.

        With 100,000 images it has 30 MB, so the changes during one save are saved together by the next.
        """
        wanted = self._changes
        while self._saved_changes < wanted:
            if self._saving is None:
                self._saving = asyncio.ensure_future(self._save_in_thread())
            await asyncio.shield(self._saving)

    async def _save_in_thread(self) -> None:
        try:
            self._take_other_changes()
            changes, raw = self._changes, self.index.to_bytes()
            self._on_disk = raw
            await asyncio.to_thread(self._files.replace_top, "index.json", raw)
            self._saved_changes = changes
        finally:
            self._saving = None

    def _save(self) -> None:
        self._take_other_changes()
        self._on_disk = self.index.to_bytes()
        self._files.replace_top("index.json", self._on_disk)
        self._saved_changes = self._changes

    def _take_other_changes(self) -> None:
        """Add the entries that another program wrote meanwhile: skopeo takes no lock. Raises PlaceError."""
        raw = self._files.read_top("index.json", MAX_INDEX_BYTES)
        if raw is None or raw == self._on_disk:
            return
        self.index.take(IndexFile(raw, self._files.root), beyond=IndexFile(self._on_disk, self._files.root))
        self._named = self._by_subject = self._parents = None
        self._on_disk = raw
