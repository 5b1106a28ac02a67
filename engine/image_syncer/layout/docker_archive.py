"""What `docker save`, `podman save` and skopeo write: images as a configuration and layers, in a tar archive.

Such an archive has no manifests, so they are made here, always the same of the same archive. The layers stay as they
lie there: most are tar archives that are not compressed, whose digests stand in the configuration as `diff_ids` (OCI
image specification 1.1, "Image Configuration", section "rootfs"); whether they are right is checked as always, when the
bytes go by. A layer that is compressed has a digest of its own, for which it is read once.

`manifest.json`: https://github.com/moby/moby/blob/master/image/spec/spec.md#combined-image-json--filesystem-changeset-format
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from image_syncer.embedded.upload import BlobReader
from image_syncer.layout.archive_file import ArchiveFile, compression_of
from image_syncer.layout.index_file import REF_NAME, IndexFile
from image_syncer.layout.named_storage import NamedStorage
from image_syncer.layout.place_error import PlaceError
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
    from image_syncer.layout.tar_index import Member

__all__ = ["DockerArchive"]

_MAX_LIST_BYTES = 64 * 2**20
_MAX_CONFIG_BYTES = 8 * 2**20
_PIECE_BYTES = 2**20
_MAGIC_BYTES = 6
_DOCKER_TYPES = {None: DOCKER_LAYER_TAR, "gzip": DOCKER_LAYER}
_OCI_TYPES = {None: OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}


class DockerArchive(NamedStorage):
    """The images in the archive at `path`, by the names that they have there. Raises PlaceError where it is none."""

    def __init__(self, path: str, place: str) -> None:
        self._archive = ArchiveFile(path, follow_links=True)
        self._members: dict[Digest, Member] = {}
        self._digests: dict[str, Digest] = {}
        """Of layers that were read for it, by their member."""
        self._made: dict[Digest, bytes] = {}
        entries = [entry for image in self._read_list() for entry in self._enter(image)]
        index = orjson.dumps({"schemaVersion": 2, "manifests": entries})
        super().__init__(place, IndexFile(index, path))

    def content_size(self, digest: Digest) -> int | None:
        """The size of a layer, a configuration, or a manifest that was made."""
        if digest in self._made:
            return len(self._made[digest])
        member = self._members.get(digest)
        return None if member is None else member.size

    def open_content(self, digest: Digest) -> BlobReader | None:
        """A reader of the same."""
        if digest in self._made:
            return _Bytes(self._made[digest])
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

    def _enter(self, image: dict[str, Any]) -> list[dict[str, Any]]:
        """The entries at the top for one image: one for each of its names."""
        tags, layers = image.get("RepoTags") or [], image.get("Layers") or []
        if not all(isinstance(text, str) for text in (image.get("Config"), *tags, *layers)):
            raise self._damaged("manifest.json names no configuration, or layers that are no names")
        raw = self._archive.read(image["Config"], _MAX_CONFIG_BYTES)
        config = digest_of(raw)
        self._members[config] = self._member(image["Config"])
        diff_ids = self._diff_ids(raw, image["Config"])
        if len(diff_ids) != len(layers):
            raise self._damaged(f"{image['Config']} has {len(diff_ids)} layers, and manifest.json {len(layers)}")
        found = [self._layer(name, diff_id) for name, diff_id in zip(layers, diff_ids, strict=True)]
        # Docker's format has no layers that are compressed with zstd.
        as_docker = all(compression in _DOCKER_TYPES for compression, _, _ in found)
        types = _DOCKER_TYPES if as_docker else _OCI_TYPES
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if as_docker else OCI_MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG if as_docker else OCI_CONFIG,
                "size": len(raw),
                "digest": config,
            },
            "layers": [
                {"mediaType": types[compression], "size": size, "digest": digest} for compression, size, digest in found
            ],
        }
        made = orjson.dumps(manifest)
        digest = digest_of(made)
        self._made[digest] = made
        entry = {"mediaType": manifest["mediaType"], "size": len(made), "digest": digest}
        return [{**entry, "annotations": {REF_NAME: tag}} for tag in tags] or [entry]

    def _layer(self, name: str, diff_id: Digest) -> tuple[str | None, int, Digest]:
        """With what a layer is compressed, its size and its digest."""
        member = self._member(name)
        reader = self._archive.open(member)
        try:
            compression = compression_of(bytes(reader.read(0, _MAGIC_BYTES)))
            if compression not in _OCI_TYPES:
                raise self._damaged(f"{name} is compressed with {compression}, for which no registry has a name")
            digest = diff_id if compression is None else self._digest_of(name, reader)
        finally:
            reader.close()
        self._members[digest] = member
        return compression, member.size, digest

    def _digest_of(self, name: str, reader: BlobReader) -> Digest:
        if name not in self._digests:
            running, offset = hashlib.sha256(), 0
            while piece := reader.read(offset, _PIECE_BYTES):
                running.update(piece)
                offset += len(piece)
            self._digests[name] = Digest(f"sha256:{running.hexdigest()}")
        return self._digests[name]

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
        return PlaceError(f"{self._archive.path}: {what}", "make the archive anew")


class _Bytes(BlobReader):
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
