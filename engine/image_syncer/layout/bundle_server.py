"""The process that serves a bundle: the storage that an export writes, and the one that an import reads."""

from __future__ import annotations

import base64
import os
import queue
import shutil
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.call import Refusal
from image_syncer.embedded.catalogue_storage import CatalogueStorage
from image_syncer.embedded.manifests import describe_manifest
from image_syncer.embedded.process import serve_child
from image_syncer.embedded.storage import FileUpload, read_all
from image_syncer.errors import PlaceError
from image_syncer.layout.bundle_reading import CATALOGUE_FILE, end_bundle, open_bundle, read_former
from image_syncer.layout.layout_server import LayoutServer
from image_syncer.layout.packing import UNFINISHED, Packing, finished_path, lock_bundle
from image_syncer.layout.tar_index import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.embedded import Storage
    from image_syncer.embedded.storage import BlobReader, StorageUpload, StoredManifest
    from image_syncer.layout.bundle_reading import Bundle, Former
    from image_syncer.oci import Digest


class BundleSource(CatalogueStorage):
    """The images of the checked `bundle`, read without unpacking; missing blobs come from the `former` ones.

    Raises ArchiveError.
    """

    def __init__(self, bundle: Bundle, former: Sequence[Bundle] = ()) -> None:
        super().__init__()
        self._bundles = (bundle, *former)
        record = bundle.record
        for digest, listed in record.manifests.items():
            self._sizes[digest] = listed.size
        for digest, (size, _) in record.blobs.items():
            if self._reader(digest) is not None:
                self._sizes[digest] = size
        for name, repository in record.repositories.items():
            found = self._repository(name)
            found.blobs.update(digest for digest in repository.blobs if digest in self._sizes)
            for digest in repository.manifests:
                found.add_manifest(describe_manifest(bundle.read_manifest(digest)))
        for image in record.images:
            if image.tag is not None:
                self._repository(image.repository).set_tag(image.tag, image.digest)

    def close(self) -> None:
        """Close the files."""
        for bundle in self._bundles:
            bundle.parts.close()

    def _reader(self, digest: Digest) -> BlobReader | None:
        readers = (bundle.open_blob(digest) for bundle in self._bundles)
        return next((reader for reader in readers if reader is not None), None)

    def _open(self, digest: Digest) -> BlobReader:
        reader = self._reader(digest)
        assert reader is not None
        return reader

    def _read(self, digest: Digest) -> bytes:
        bundle = self._bundles[0]
        return bundle.read_manifest(digest).raw if digest in bundle.record.manifests else read_all(self._open(digest))

    def read_only(self) -> Exception:
        """Return the refusal of every change."""
        return Refusal(405, "UNSUPPORTED", "a bundle is read, and never written to")

    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:  # noqa: ARG002
        raise self.read_only()

    def _forget(self, repository: str, noun: str, name: str) -> None:  # noqa: ARG002
        raise self.read_only()


class ExportStorage(CatalogueStorage):
    """Writes a run's images to the bundle in `directory`, and continues an interrupted export: blobs go from their
    uploads into the parts of the bundle, manifests and tags into a list that becomes its record at the end.

    The bundle's blobs belong to all repositories. Those of a former bundle belong to its repositories only, since its
    import creates them there. The run sends all manifests again, since it decides which images the bundle has. A thread
    packs: a blob of 100 GB takes minutes. Raises OSError, and PlaceError if another export writes to the directory.
    """

    def __init__(self, directory: Path, part_bytes: int, former: Former, created_at: str) -> None:
        super().__init__()
        self._directory = directory
        self._part_bytes = part_bytes
        self._former = former
        self._created_at = created_at
        self._lock = lock_bundle(directory)
        self._uploads_path = self._directory / UNFINISHED / "uploads"
        if self._uploads_path.exists():
            shutil.rmtree(self._uploads_path)
        self._uploads_path.mkdir(parents=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._catalogue = os.open(self._directory / UNFINISHED / CATALOGUE_FILE, flags, 0o600)
        self._catalogue_bytes = 0
        self._raw: dict[Digest, tuple[int, int]] = {}
        self._packing = Packing(self._directory, part_bytes)
        self._failed = self._ended = False
        self._queue: queue.SimpleQueue[Digest | None] = queue.SimpleQueue()
        for digest, member in self._packing.members.items():
            self._add_size(digest, member.size)
        for digest in self._packing.waiting():
            self._add_size(digest, finished_path(self._directory, digest).stat().st_size)
            self._queue.put(digest)
        self._thread = threading.Thread(target=self._pack, daemon=True)
        self._thread.start()

    def blob_size(self, repository: str, digest: Digest) -> int | None:
        """Return the size of a blob of the bundle, or of the former one in this repository."""
        size = self._sizes.get(digest)
        return self._former.blobs.get(repository, {}).get(digest) if size is None else size

    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:  # noqa: ARG002
        """Return None: an unfinished bundle is not read."""
        return None

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:
        """Store a manifest, even if an interrupted export has packed it already."""
        if manifest.digest in self._sizes and manifest.digest not in self._raw:
            self._write(manifest.digest, raw)
        super().put_manifest(repository, manifest, raw, tag)

    def finish(self) -> None:
        """Pack the waiting blobs, and finish the bundle. Raises OSError and PlaceError."""
        self._queue.put(None)
        self._thread.join()
        if self._failed:  # the incomplete member is cut off, and packed again
            self._packing.close()
            self._packing = Packing(self._directory, self._part_bytes)
        try:
            end_bundle(self._directory, self._packing, self._former, self._created_at)
        except ArchiveError as error:
            raise PlaceError(error.message, error.hint or "") from None

    def close(self) -> None:
        """Release the files; the next export continues with them."""
        self._ended = True
        self._queue.put(None)
        self._thread.join()
        self._packing.close()
        os.close(self._catalogue)
        os.close(self._lock)

    def _pack(self) -> None:
        while (digest := self._queue.get()) is not None and not self._ended:
            try:
                self._packing.pack(digest)
            except (OSError, ArchiveError):  # noqa: PERF203 - a blob is worth more than a microsecond
                self._failed = True  # most likely a full disk, which uploads report too
                return

    def _new_upload(self, repository: str) -> StorageUpload:
        path = self._uploads_path / uuid.uuid4().hex
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return FileUpload(repository, os.open(path, flags, 0o600), str(path))

    def _drop_upload(self, upload: StorageUpload) -> None:
        assert isinstance(upload, FileUpload)
        upload.close()
        Path(upload.name).unlink(missing_ok=True)

    def _keep_upload(self, upload: StorageUpload, digest: Digest) -> None:
        assert isinstance(upload, FileUpload)
        upload.close()
        Path(upload.name).replace(finished_path(self._directory, digest))
        self._queue.put(digest)

    def _open(self, digest: Digest) -> BlobReader:  # noqa: ARG002
        raise RuntimeError("a bundle that is being made is not read")

    def _read(self, digest: Digest) -> bytes:
        offset, size = self._raw[digest]
        return base64.b64decode(orjson.loads(os.pread(self._catalogue, size, offset))["raw"])

    def _write(self, digest: Digest, raw: bytes) -> None:
        self._raw[digest] = self._append({"digest": digest, "raw": base64.b64encode(raw).decode()})

    def _drop(self, digest: Digest) -> None:  # noqa: ARG002
        raise RuntimeError("nothing is deleted from a bundle that is being made")

    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:
        if noun == "tags":
            self._append({"repository": repository, "tag": name, "digest": str(value)})
        elif noun == "manifests":
            assert not isinstance(value, str)
            self._append({"repository": repository, "manifest": value.digest, "media_type": value.media_type})

    def _append(self, line: dict[str, str]) -> tuple[int, int]:
        """Append a whole line or nothing, and return its offset and length."""
        raw = orjson.dumps(line) + b"\n"
        begin = self._catalogue_bytes
        try:
            written = 0
            while written < len(raw):
                written += os.pwrite(self._catalogue, raw[written:], begin + written)
        except OSError:
            os.ftruncate(self._catalogue, begin)
            raise
        self._catalogue_bytes += len(raw)
        return begin, len(raw)


class BundleServer(LayoutServer):
    """Serves a bundle at a Unix socket; `opened` describes it, as plain data."""

    program = "from image_syncer.layout.bundle_server import serve_bundle; serve_bundle()"

    def __init__(self, directory: Path, unix_socket: str, opened: dict[str, Any]) -> None:
        super().__init__(bundle_location(directory), unix_socket, writes=opened["writes"])
        self._settings["storage"] = opened


def bundle_location(directory: Path) -> str:
    """Return the registry of a bundle in references."""
    return f"bundle:{directory.absolute()}"


def export_server(
    directory: Path, unix_socket: str, *, part_bytes: int, against: Sequence[Path], created_at: str
) -> BundleServer:
    """Return the server of an export into `directory`; `against` are the files of former bundles."""
    opened = {
        "writes": True,
        "directory": str(directory),
        "part_bytes": part_bytes,
        "former": [str(path) for path in against],
        "created_at": created_at,
    }
    return BundleServer(directory, unix_socket, opened)


def import_server(directory: Path, unix_socket: str, *, former: Sequence[Path]) -> BundleServer:
    """Return the server of an import from `directory`; `former` are the directories of former bundles."""
    opened = {"writes": False, "directory": str(directory), "former": [str(path) for path in former]}
    return BundleServer(directory, unix_socket, opened)


def serve_bundle() -> None:
    """Run the process."""
    serve_child(_open)


def _open(settings: dict[str, Any]) -> Storage:
    opened = settings["storage"]
    directory, former = Path(opened["directory"]), [Path(path) for path in opened["former"]]
    try:
        if opened["writes"]:
            return ExportStorage(directory, opened["part_bytes"], read_former(former), opened["created_at"])
        return BundleSource(open_bundle(directory), [open_bundle(path) for path in former])
    except ArchiveError as error:
        raise PlaceError(error.message, error.hint or "") from None
