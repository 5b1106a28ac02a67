"""How a place of each kind becomes a storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.layout.docker_archive import DockerArchive
from image_syncer.layout.empty_storage import EmptyStorage
from image_syncer.layout.layout_storage import LayoutStorage
from image_syncer.layout.oci_archive import OciArchive
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.written_archive import WrittenArchive
from image_syncer.oci import split_place

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.embedded import Storage

__all__ = ["OPENERS", "open_storage"]


def _open_layout(path: str, registry: str, *, writes: bool) -> Storage:
    return LayoutStorage(path, writes=writes, place=registry)


def _open_oci_archive(path: str, registry: str, *, writes: bool) -> Storage:
    return WrittenArchive(path, registry) if writes else OciArchive(path, registry)


def _open_docker_archive(path: str, registry: str, *, writes: bool) -> Storage:
    if writes:
        raise PlaceError("archives of docker are read, and not written", "write oci-archive:FILE")
    return DockerArchive(path, registry)


OPENERS: dict[str, Callable[..., Storage]] = {
    "oci": _open_layout,
    "oci-archive": _open_oci_archive,
    "docker-archive": _open_docker_archive,
}
"""By the kind of a place, what opens it: called with its path, the place for people, and whether it is written. Raises
PlaceError.
"""


def open_storage(registry: str, *, writes: bool, must_be_there: bool) -> Storage:
    """The storage of a place: an empty one where it is not there, is not written, and need not be there. Raises
    PlaceError where it cannot be used.
    """
    place = split_place(registry)
    if place is None or place.kind not in OPENERS:
        raise PlaceError(f"{registry} is nothing that can be opened")
    if not (writes or must_be_there or Path(place.path).exists()):
        return EmptyStorage(registry)
    return OPENERS[place.kind](place.path, registry, writes=writes)
