"""Images in tar archives, read without unpacking: image layouts, also written, and the output of `docker save`."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.storage import BlobReader, FileReader, read_digest
from image_syncer.errors import PlaceError
from image_syncer.layout.layout_storage import LAYOUT_FILE, LayoutStorage
from image_syncer.layout.named_storage import MAX_INDEX_BYTES, REF_NAME, IndexFile, NamedStorage, check_layout_file
from image_syncer.layout.tar_index import ArchiveError, PartFiles, index_tar
from image_syncer.layout.tar_writer import TarWriter, partial_path
from image_syncer.oci import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_TAR,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Digest,
    digest_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.layout.tar_index import Member, TarIndex


_MAGICS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}
"""RFC 1952, section 2.3.1; RFC 8878, section 3.1.1; the file formats of the others."""
_MAGIC_BYTES = 6
_LAYOUT_FILE_BYTES = 64 * 1024
_MAX_LIST_BYTES = 64 * 2**20
_MAX_CONFIG_BYTES = 8 * 2**20
_LAYOUT_MEMBERS = ("oci-layout", "index.json")
_DOCKER_TYPES = {None: DOCKER_LAYER_TAR, "gzip": DOCKER_LAYER}
_OCI_TYPES = {None: OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
_MAKE_ANEW = "make the archive anew"
_GIVE_PATH = "give the path of an archive"


class ArchiveFile:
    """The archive at `path`, which stays open. Raises PlaceError if it is no archive, or a compressed one.

    `follow_links`: as in `index_tar`.
    """

    def __init__(self, path: str, *, follow_links: bool = False) -> None:
        self.path = path
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise PlaceError(f"{path} is no file", _GIVE_PATH)
            with PartFiles([path]) as parts:
                self.index = _index_of(parts, path, follow_links=follow_links)
        except OSError as error:
            self.close()
            if isinstance(error, PlaceError):
                raise
            raise PlaceError(f"cannot read {path}: {error.strerror}", _GIVE_PATH) from None

    def open(self, member: Member) -> FileReader:
        """Return a reader of a member."""
        return FileReader(os.dup(self._fd), member.offset, member.size)

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Return all bytes of a small member. Raises PlaceError if it is missing or longer."""
        try:
            return self.index.read(name, limit_bytes)
        except ArchiveError as error:
            raise PlaceError(f"{self.path}: {error}", _MAKE_ANEW) from None

    def read_index(self) -> IndexFile:
        """Return the index of an image layout. Raises PlaceError if the archive is none."""
        has_layout = "oci-layout" in self.index
        if not has_layout and "manifest.json" in self.index:
            what = f"{self.path} is an archive of docker, and no image layout"
            raise PlaceError(what, f"write docker-archive:{self.path}")
        check_layout_file(self.read("oci-layout", _LAYOUT_FILE_BYTES) if has_layout else None, self.path)
        return IndexFile(self.read("index.json", MAX_INDEX_BYTES), self.path)

    def blob_size(self, digest: Digest) -> int | None:
        """Return the size of a blob of an image layout, or None."""
        member = self.index.members.get(_blob_member(digest))
        return None if member is None else member.size

    def open_blob(self, digest: Digest) -> FileReader | None:
        """Return a reader of a blob of an image layout, or None."""
        member = self.index.members.get(_blob_member(digest))
        return None if member is None else self.open(member)

    def close(self) -> None:
        """Close the file; may be called again."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)


def _index_of(parts: PartFiles, path: str, *, follow_links: bool) -> TarIndex:
    compression = _compression_of(parts.pread(0, _MAGIC_BYTES))
    if compression is not None:
        what = f"{path} is compressed with {compression}, and is read only where its members lie"
        raise PlaceError(what, f"unpack it first: {compression} -d")
    try:
        return index_tar(parts, follow_links=follow_links)
    except ArchiveError as error:
        raise PlaceError(str(error), _MAKE_ANEW) from None


def _compression_of(head: bytes) -> str | None:
    """Return the compression of content that begins with `head`, or None."""
    return next((name for magic, name in _MAGICS.items() if head.startswith(magic)), None)


def _blob_member(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


class OciArchive(NamedStorage):
    """The image layout in the archive at `path`. Raises PlaceError if it is none."""

    def __init__(self, path: str, location: str) -> None:
        self._archive = ArchiveFile(path)
        super().__init__(location, self._archive.read_index())

    def content_size(self, digest: Digest) -> int | None:
        """Return the size of a blob, or None."""
        return self._archive.blob_size(digest)

    def open_content(self, digest: Digest) -> BlobReader | None:
        """Return a reader of a blob, or None."""
        return self._archive.open_blob(digest)

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


class DockerArchive(NamedStorage):
    """The images that `docker save`, `podman save` or skopeo wrote to the archive at `path`, by their names there.

    The archive has configurations and layers but no manifests, so they are made here, always the same ones. The layers
    stay as they are: most are uncompressed tar archives, whose digests are the `diff_ids` of the configuration (OCI
    image specification 1.1, "Image Configuration", section "rootfs"); the transfer verifies them as always. A
    compressed layer has its own digest, for which it is read once. Raises PlaceError if the archive has another form.

    https://github.com/moby/moby/blob/master/image/spec/spec.md#combined-image-json--filesystem-changeset-format
    """

    def __init__(self, path: str, location: str) -> None:
        self._archive = ArchiveFile(path, follow_links=True)
        self._members: dict[Digest, Member] = {}
        self._compressed: dict[str, Digest] = {}
        """The digests of compressed layers by member."""
        self._manifests: dict[Digest, bytes] = {}
        entries = [entry for image in self._read_list() for entry in self._add_image(image)]
        index = orjson.dumps({"schemaVersion": 2, "manifests": entries})
        super().__init__(location, IndexFile(index, path))

    def content_size(self, digest: Digest) -> int | None:
        """Return the size of a layer, a configuration or a made manifest, or None."""
        if digest in self._manifests:
            return len(self._manifests[digest])
        member = self._members.get(digest)
        return None if member is None else member.size

    def open_content(self, digest: Digest) -> BlobReader | None:
        """Return a reader of a layer, a configuration or a made manifest, or None."""
        if digest in self._manifests:
            return _BytesReader(self._manifests[digest])
        member = self._members.get(digest)
        return None if member is None else self._archive.open(member)

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def _read_list(self) -> list[dict[str, Any]]:
        archive = self._archive
        if "manifest.json" not in archive.index:
            if "repositories" in archive.index:
                what, mend = "was written by a docker before 1.10", "load it, and save it again"
            elif "oci-layout" in archive.index:
                what, mend = "is an image layout, and no archive of docker", f"write oci-archive:{archive.path}"
            else:
                what, mend = "is no archive of docker: it has no manifest.json", "make it with docker save"
            raise PlaceError(f"{archive.path} {what}", mend)
        found = _json(archive.read("manifest.json", _MAX_LIST_BYTES))
        if not isinstance(found, list) or not all(isinstance(image, dict) for image in found):
            raise self._damaged("manifest.json is no list of images")
        return found

    def _add_image(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the entries of one image, one for each of its names."""
        tags, layers = image.get("RepoTags") or [], image.get("Layers") or []
        if not all(isinstance(text, str) for text in (image.get("Config"), *tags, *layers)):
            raise self._damaged("manifest.json names no configuration, or layers that are no names")
        raw = self._archive.read(image["Config"], _MAX_CONFIG_BYTES)
        config = digest_of(raw)
        self._members[config] = self._member(image["Config"])
        diff_ids = self._diff_ids(raw, image["Config"])
        if len(diff_ids) != len(layers):
            raise self._damaged(f"{image['Config']} has {len(diff_ids)} layers, and manifest.json {len(layers)}")
        found = [self._add_layer(name, diff_id) for name, diff_id in zip(layers, diff_ids, strict=True)]
        # Docker's format has no layers that are compressed with zstd.
        as_docker = all(compression in _DOCKER_TYPES for compression, _, _ in found)
        types = _DOCKER_TYPES if as_docker else _OCI_TYPES
        media_type = DOCKER_MANIFEST if as_docker else OCI_MANIFEST
        config_type = DOCKER_CONFIG if as_docker else OCI_CONFIG
        manifest = orjson.dumps(
            {
                "schemaVersion": 2,
                "mediaType": media_type,
                "config": {"mediaType": config_type, "size": len(raw), "digest": config},
                "layers": [
                    {"mediaType": types[compression], "size": size, "digest": digest}
                    for compression, size, digest in found
                ],
            }
        )
        digest = digest_of(manifest)
        self._manifests[digest] = manifest
        entry = {"mediaType": media_type, "size": len(manifest), "digest": digest}
        return [{**entry, "annotations": {REF_NAME: tag}} for tag in tags] or [entry]

    def _add_layer(self, name: str, diff_id: Digest) -> tuple[str | None, int, Digest]:
        """Return the compression, the size and the digest of a layer."""
        member = self._member(name)
        reader = self._archive.open(member)
        try:
            compression = _compression_of(bytes(reader.read(0, _MAGIC_BYTES)))
            if compression not in _OCI_TYPES:
                raise self._damaged(f"{name} is compressed with {compression}, for which no registry has a name")
            digest = diff_id if compression is None else self._digest_of(name, reader)
        finally:
            reader.close()
        self._members[digest] = member
        return compression, member.size, digest

    def _digest_of(self, name: str, reader: BlobReader) -> Digest:
        if name not in self._compressed:
            self._compressed[name] = read_digest(reader, "sha256")
        return self._compressed[name]

    def _member(self, name: str) -> Member:
        member = self._archive.index.members.get(name.removeprefix("./"))
        if member is None:
            raise self._damaged(f"manifest.json names {name}, which is not there")
        return member

    def _diff_ids(self, raw: bytes, name: str) -> list[Digest]:
        config = _json(raw)
        rootfs = config.get("rootfs") if isinstance(config, dict) else None
        texts = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        try:
            return [Digest(text) for text in texts or ()]
        except (TypeError, ValueError):
            raise self._damaged(f"{name} is no configuration of an image") from None

    def _damaged(self, what: str) -> PlaceError:
        return PlaceError(f"{self._archive.path}: {what}", _MAKE_ANEW)


class _BytesReader(BlobReader):
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.size = len(raw)

    def read(self, offset: int, limit: int) -> bytes:
        return self._raw[offset : offset + limit]


def _json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None


class WrittenArchive(LayoutStorage):
    """The image layout in the archive at `path`, which is written. Raises PlaceError if it cannot be used.

    New content goes to a layout beside the archive and is packed at the end. An existing archive keeps its content; the
    new one replaces it when it is complete and on the disk. After a kill, the next run continues with the layout.
    """

    def __init__(self, path: str, location: str) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise PlaceError(f"there is no directory {self._path.parent}", "make it first")
        self._former = ArchiveFile(path) if self._path.exists() else None
        self._has_staged = False
        super().__init__(f"{path}.unpacked", writes=True, location=location)

    def _read_index(self) -> IndexFile:
        former = None if self._former is None else self._former.read_index()
        staged = super()._read_index()
        self._has_staged = bool(staged.descriptors)
        return staged if former is None or self._has_staged else former

    def content_size(self, digest: Digest) -> int | None:
        """Return the size of a new blob, or of one in the archive, or None."""
        staged = super().content_size(digest)
        return staged if staged is not None or self._former is None else self._former.blob_size(digest)

    def open_content(self, digest: Digest) -> BlobReader | None:
        """Return a reader of a new blob, or of one in the archive, or None."""
        staged = super().open_content(digest)
        return staged if staged is not None or self._former is None else self._former.open_blob(digest)

    def finish(self) -> None:
        """Pack the new content, if there is any. On PlaceError the new content stays in the layout."""
        self._add_loose()
        if not self.index.descriptors or not (self._has_staged or self._changes):
            return
        writer = TarWriter(lambda _number: self._path)
        try:
            packed = self._pack(writer)
            writer.finish()
        except (OSError, ArchiveError) as error:
            with suppress(OSError):  # the disk may be full for its buffer too
                writer.close()
            with suppress(OSError):
                partial_path(self._path).unlink()
            why = str(error) if isinstance(error, ArchiveError) else error.strerror
            mend = f"what came is in {self._files.root}, and the next run continues with it"
            raise PlaceError(f"{self._path} could not be written: {why}", mend) from None
        for digest in packed:
            self._files.drop_blob(digest)
        self._files.replace_top("index.json", IndexFile(None, "").to_bytes())
        self._saved_changes = self._changes

    def close(self) -> None:
        """Delete the layout beside the archive, unless it has content that is still needed."""
        super().close()
        if self._former is not None:
            self._former.close()
        root = Path(self._files.root)
        index = root / "index.json"
        staged = IndexFile(index.read_bytes() if index.exists() else None, "")
        if staged.descriptors or any((root / "blobs").rglob("?" * 64)):
            return
        for name in _LAYOUT_MEMBERS:
            (root / name).unlink(missing_ok=True)
        for directory in (root / "blobs/sha256", root / "blobs/sha512", root / "blobs", root):
            with suppress(OSError):
                directory.rmdir()

    def _pack(self, writer: TarWriter) -> list[Digest]:
        """Write every member, and return the new blobs."""
        writer.append_bytes("oci-layout", LAYOUT_FILE)
        writer.append_bytes("index.json", self.index.to_bytes())
        packed = list(self._new_blobs())
        for digest in packed:
            descriptor = self._files.open_blob(digest)
            assert descriptor is not None
            with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor
                writer.append_file(_blob_member(digest), file, self._files.blob_size(digest) or 0)
        if self._former is not None:
            written = {*_LAYOUT_MEMBERS, *map(_blob_member, packed)}
            for name, member in self._former.index.members.items():
                if name not in written:
                    _copy_member(writer, name, self._former.open(member))
        return packed

    def _new_blobs(self) -> Iterator[Digest]:
        """Yield the new blobs that a manifest names, sorted."""
        named: set[Digest] = set()
        for digest in self._names():
            parsed = self._parse(digest, "")
            named.add(digest)
            if parsed is not None:
                named.update(blob.digest for blob in parsed.named_blobs)
        for digest in sorted(named):
            if self._files.blob_size(digest) is not None:
                yield digest


def _copy_member(writer: TarWriter, name: str, reader: FileReader) -> None:
    try:
        reader.file.seek(reader.file_begin)
        writer.append_file(name, reader.file, reader.size)
    finally:
        reader.close()
