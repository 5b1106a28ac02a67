"""The storage behind the server of an import: a bundle as a registry that nobody can write to. Nothing is unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from image_syncer.embedded.catalogue_storage import CatalogueStorage
from image_syncer.embedded.manifests import describe_manifest
from image_syncer.embedded.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.embedded.catalogue import StoredManifest
    from image_syncer.embedded.upload import BlobReader, Upload
    from image_syncer.layout.bundle_reading import Bundle
    from image_syncer.oci import Digest

__all__ = ["BundleSource"]


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
