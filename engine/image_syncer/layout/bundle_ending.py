"""The end of a bundle: its manifests and its index come into the archive, and bundle.json last of all."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import orjson

from image_syncer.layout.bundle_catalogue import Catalogue
from image_syncer.layout.bundle_record import BUNDLE_FILE, BundleRecord
from image_syncer.layout.packing import UNFINISHED
from image_syncer.layout.tar_writer import sync_directory

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.layout.bundle_catalogue import Former
    from image_syncer.layout.packing import Packing

__all__ = ["INDEX_FILE", "LAYOUT_BYTES", "LAYOUT_FILE", "end_bundle"]

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
LAYOUT_BYTES = b'{"imageLayoutVersion":"1.0.0"}'
"""OCI image layout specification 1.1, "oci-layout file"."""


def end_bundle(directory: Path, packing: Packing, former: Former, created_at: str) -> BundleRecord:
    """Make a bundle of what an export has gathered in `directory`. Raises OSError, and ArchiveError where something is
    not there that should be: the export can be run again then, and goes on.
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
    """The file is there whole, and on the disk, or not at all."""
    temporary = path.with_name(path.name + ".partial")
    with temporary.open("wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
