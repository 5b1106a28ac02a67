"""Bundles that are made without a run: images are pushed into the storage of an export, and it is finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.embedded import ContentBuilder, push_to
from image_syncer.layout.bundle_reading import read_former
from image_syncer.layout.bundle_server import ExportStorage
from image_syncer.layout.packing import UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from image_syncer.embedded import MadeManifest

PART_BYTES = 8192


def open_export(directory: Path, *, part_bytes: int = PART_BYTES, against: Sequence[Path] = ()) -> ExportStorage:
    """The storage of an export that begins, or goes on."""
    (directory / UNFINISHED).mkdir(parents=True, exist_ok=True)
    former = read_former([path / "bundle.json" for path in against])
    return ExportStorage(directory, part_bytes, former, "2026-11-25T12:00:00+00:00")


def make_bundle(
    directory: Path,
    images: Mapping[str, MadeManifest],
    *,
    part_bytes: int = PART_BYTES,
    against: Sequence[Path] = (),
) -> Path:
    """A bundle with `images`, by repository and tag."""
    storage = open_export(directory, part_bytes=part_bytes, against=against)
    put_images(storage, images)
    storage.finish()
    storage.close()
    return directory


def put_images(storage: ExportStorage, images: Mapping[str, MadeManifest]) -> None:
    """Push images by repository and tag; what the storage has already comes again, as it never does in a run."""
    for name, manifest in images.items():
        repository, _, tag = name.partition(":")
        push_to(storage, repository, manifest, (tag,) if tag else ())


def some_images(seed: int = 1) -> dict[str, MadeManifest]:
    """An index with attestations and an image, which share nothing; some 30 KB."""
    content = ContentBuilder(seed=seed)
    index = content.index(platforms=("linux/amd64", "linux/arm64"), attestations=True)
    return {"team/app:v1": index, "team/app:latest": index, "library/nginx:1.27": content.image(2)}
