"""The servers of bundles: the process that takes an export in, and the one that serves an import.

The storage behind the server of an export: blobs go from their uploads into the parts of the bundle, manifests and
tags into a list, from which the bundle is ended.

A blob that the bundle has, it has for all repositories. One that the former bundle has is taken to be there too, but
for the repositories of that bundle only: in these it is at the destination, once the former bundle has been imported.
In another one it would not be found there.

The storage behind the server of an import: a bundle as a registry that nobody can write to. Nothing is unpacked.
"""

from __future__ import annotations

import base64
import os
import queue
import shutil
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from image_syncer.embedded.catalogue_storage import CatalogueStorage
from image_syncer.embedded.file_content import FileUpload
from image_syncer.embedded.manifests import describe_manifest
from image_syncer.embedded.process import serve_child
from image_syncer.embedded.refusal import Refusal
from image_syncer.layout.bundle_catalogue import CATALOGUE_FILE, read_former
from image_syncer.layout.bundle_ending import end_bundle
from image_syncer.layout.bundle_reading import open_bundle
from image_syncer.layout.layout_server import LayoutServer
from image_syncer.layout.packing import UNFINISHED, Packing, finished_path, lock_bundle
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.tar_parts import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.embedded import Storage
    from image_syncer.embedded.catalogue import StoredManifest
    from image_syncer.embedded.upload import BlobReader, Upload
    from image_syncer.layout.bundle_catalogue import Former
    from image_syncer.layout.bundle_reading import Bundle
    from image_syncer.oci import Digest

__all__ = [
    "BundleServer",
    "BundleSource",
    "ExportStorage",
    "bundle_place",
    "export_server",
    "import_server",
    "serve_bundle",
]


class BundleSource(CatalogueStorage):
    """The images of `bundle`, which was checked; blobs that it lacks come from the `former` ones, if they have them.

    Raises ArchiveError.
    """

    def __init__(self, bundle: Bundle, former: Sequence[Bundle] = ()) -> None:
        super().__init__()
        self._bundle = bundle
        self._holders_of_blobs = (bundle, *former)
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
        for bundle in self._holders_of_blobs:
            bundle.parts.close()

    def _reader(self, digest: Digest) -> BlobReader | None:
        for bundle in self._holders_of_blobs:
            reader = bundle.open_blob(digest)
            if reader is not None:
                return reader
        return None

    def _open(self, digest: Digest) -> BlobReader:
        reader = self._reader(digest)
        assert reader is not None
        return reader

    def _read(self, digest: Digest) -> bytes:
        if digest in self._bundle.record.manifests:
            return self._bundle.read_manifest(digest).raw
        reader = self._open(digest)
        pieces, offset = [], 0
        while piece := reader.read(offset, reader.size):
            pieces.append(bytes(piece))
            offset += len(piece)
        return b"".join(pieces)

    def _new_upload(self, repository: str) -> Upload:  # noqa: ARG002 - as the class above has it
        _refuse()

    def _drop_upload(self, upload: Upload) -> None:  # noqa: ARG002
        _refuse()

    def _keep_upload(self, upload: Upload, digest: Digest) -> None:  # noqa: ARG002
        _refuse()

    def _write(self, digest: Digest, raw: bytes) -> None:  # noqa: ARG002
        _refuse()

    def _drop(self, digest: Digest) -> None:  # noqa: ARG002
        _refuse()

    def _record_repository(self, name: str) -> None:
        pass

    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:  # noqa: ARG002
        _refuse()

    def _forget(self, repository: str, noun: str, name: str) -> None:  # noqa: ARG002
        _refuse()


def _refuse() -> NoReturn:
    raise Refusal(405, "UNSUPPORTED", "a bundle is read, and never written to")


class ExportStorage(CatalogueStorage):
    """Takes a run's images in for the bundle in `directory`, and goes on with what an export before has packed. Its
    manifests are asked for again: which images the bundle has is for this run to say.

    Packing is done in a thread: a blob of 100 GB takes minutes. Raises OSError, and PlaceError where another export
    writes to the directory.
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
        """The size of a blob that the bundle has, or that the former one has for this repository."""
        size = self._sizes.get(digest)
        return self._former.blobs.get(repository, {}).get(digest) if size is None else size

    def open_blob(self, repository: str, digest: Digest) -> BlobReader | None:  # noqa: ARG002 - as the class above has it
        """None: a bundle that is being made is not read."""
        return None

    def read_blob(self, repository: str, digest: Digest) -> bytes | None:  # noqa: ARG002
        """None, for the same reason."""
        return None

    def put_manifest(self, repository: str, manifest: StoredManifest, raw: bytes, tag: str | None = None) -> None:
        """As the class above does, even where an export that was killed had packed the manifest already."""
        if manifest.digest in self._sizes and manifest.digest not in self._raw:
            self._write(manifest.digest, raw)
        super().put_manifest(repository, manifest, raw, tag)

    def finish(self) -> None:
        """Pack what waits, and make a bundle of all that came."""
        self._queue.put(None)
        self._thread.join()
        if self._failed:  # what it was about to append is cut off, and tried once more
            self._packing.close()
            self._packing = Packing(self._directory, self._part_bytes)
        try:
            end_bundle(self._directory, self._packing, self._former, self._created_at)
        except ArchiveError as error:
            raise PlaceError(error.message, error.hint or "") from None

    def close(self) -> None:
        """Leave what there is for the next export, which goes on with it."""
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
                self._failed = True  # no space, most likely: uploads meet that as well
                return

    def _new_upload(self, repository: str) -> Upload:
        path = self._uploads_path / uuid.uuid4().hex
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return _SpoolUpload(repository, path, os.open(path, flags, 0o600))

    def _drop_upload(self, upload: Upload) -> None:
        assert isinstance(upload, _SpoolUpload)
        upload.close()
        upload.path.unlink(missing_ok=True)

    def _keep_upload(self, upload: Upload, digest: Digest) -> None:
        assert isinstance(upload, _SpoolUpload)
        upload.close()
        upload.path.replace(finished_path(self._directory, digest))
        self._queue.put(digest)

    def _open(self, digest: Digest) -> BlobReader:  # noqa: ARG002
        raise RuntimeError("a bundle that is being made is not read")

    def _read(self, digest: Digest) -> bytes:
        offset, size = self._raw[digest]
        return base64.b64decode(orjson.loads(os.pread(self._catalogue, size, offset))["raw"])

    def _write(self, digest: Digest, raw: bytes) -> None:
        self._raw[digest] = self._tell({"digest": digest, "raw": base64.b64encode(raw).decode()})

    def _drop(self, digest: Digest) -> None:  # noqa: ARG002
        raise RuntimeError("from a bundle that is being made nothing is deleted")

    def _record_repository(self, name: str) -> None:
        pass  # one without a manifest is none

    def _record(self, repository: str, noun: str, name: str, value: str | StoredManifest) -> None:
        if noun == "tags":
            self._tell({"repository": repository, "tag": name, "digest": str(value)})
        elif noun == "manifests":
            assert not isinstance(value, str)
            self._tell({"repository": repository, "manifest": value.digest, "media_type": value.media_type})

    def _forget(self, repository: str, noun: str, name: str) -> None:
        pass

    def _tell(self, line: dict[str, str]) -> tuple[int, int]:
        """Append a line, all of it or nothing; returns where it is, and its length."""
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


class _SpoolUpload(FileUpload):
    def __init__(self, repository: str, path: Path, descriptor: int) -> None:
        super().__init__(repository, descriptor)
        self.path = path


class BundleServer(LayoutServer):
    """Serves a bundle at a Unix socket; `opened` says what, as plain data."""

    program = "from image_syncer.layout.bundle_server import serve_bundle; serve_bundle()"

    def __init__(self, directory: Path, unix_socket: str, opened: dict[str, Any]) -> None:
        super().__init__(bundle_place(directory), unix_socket, writes=opened["writes"])
        self._settings["storage"] = opened


def bundle_place(directory: Path) -> str:
    """What stands for a bundle where a reference has its registry."""
    return f"bundle:{directory.absolute()}"


def export_server(
    directory: Path, unix_socket: str, *, part_bytes: int, against: Sequence[Path], created_at: str
) -> BundleServer:
    """The server of an export into `directory`; `against` are the files of former bundles."""
    opened = {
        "writes": True,
        "directory": str(directory),
        "part_bytes": part_bytes,
        "former": [str(path) for path in against],
        "created_at": created_at,
    }
    return BundleServer(directory, unix_socket, opened)


def import_server(directory: Path, unix_socket: str, *, former: Sequence[Path]) -> BundleServer:
    """The server of an import from `directory`; `former` are directories of bundles that bring what it leaves out."""
    opened = {"writes": False, "directory": str(directory), "former": [str(path) for path in former]}
    return BundleServer(directory, unix_socket, opened)


def serve_bundle() -> None:
    """What the process runs."""
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
