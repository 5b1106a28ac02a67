"""The servers of bundles: the process that takes an export in, and the one that serves an import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.embedded.process import serve_child
from image_syncer.layout.bundle_catalogue import read_former
from image_syncer.layout.bundle_export import ExportStorage
from image_syncer.layout.bundle_reading import open_bundle
from image_syncer.layout.bundle_source import BundleSource
from image_syncer.layout.layout_server import LayoutServer
from image_syncer.layout.place_error import PlaceError
from image_syncer.layout.tar_parts import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.embedded import Storage

__all__ = ["BundleServer", "bundle_place", "export_server", "import_server", "serve_bundle"]


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
