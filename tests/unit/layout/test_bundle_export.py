"""An export that is cut off anywhere goes on, and what it makes then is a bundle like any other."""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder
from image_syncer.errors import ConfigurationError, PlaceError
from image_syncer.layout.bundle_reading import check_bundle, open_bundle
from image_syncer.layout.packing import UNFINISHED, check_bundle_directory, finished_path, lock_bundle
from support.bundles import PART_BYTES, make_bundle, open_export, put_images, some_images

if TYPE_CHECKING:
    from pathlib import Path

    from image_syncer.layout.bundle_server import ExportStorage


def wait_until_packed(storage: ExportStorage) -> None:
    """What came until now is in the parts."""
    storage._queue.put(None)
    storage._thread.join()


def cut_off(directory: Path, storage: ExportStorage, to: Path) -> Path:
    """What a kill would leave of an export that has packed all that came."""
    wait_until_packed(storage)
    return shutil.copytree(directory, to)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """An export that was killed before it could end: all blobs are packed, in several parts and an open one."""
    storage = open_export(tmp_path / "whole")
    put_images(storage, some_images())
    left = cut_off(tmp_path / "whole", storage, tmp_path / "begun")
    storage.close()
    return left


def go_on(directory: Path) -> set[str]:
    """Run the export to its end; returns the blobs that came again."""
    storage = open_export(directory)
    again = {
        str(blob.digest)
        for name, manifest in some_images().items()
        for blob in manifest.all_blobs()
        if storage.blob_size(name.partition(":")[0], blob.digest) is None
    }
    put_images(storage, some_images())
    storage.finish()
    storage.close()
    check_bundle(open_bundle(directory))
    assert not (directory / UNFINISHED).exists()
    assert sorted(path.name for path in directory.iterdir()) == [
        "bundle.json",
        *(part.name for part in open_bundle(directory).record.parts),
    ]
    return again


def test_what_was_packed_does_not_come_again(begun: Path) -> None:
    parts = {path.name: path.read_bytes() for path in begun.glob("part-*.tar")}
    assert len(parts) > 1
    assert go_on(begun) == set()
    assert all((begun / name).read_bytes() == raw for name, raw in parts.items())


def test_a_bundle_is_the_same_whether_it_was_cut_off_or_not(begun: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "straight", some_images())
    go_on(begun)
    assert open_bundle(begun).record == open_bundle(tmp_path / "straight").record


def test_an_open_part_is_cut_behind_its_last_whole_blob(begun: Path, tmp_path: Path) -> None:
    [partial] = begun.glob("*.partial")
    size = partial.stat().st_size
    for kept in sorted({0, 1, 511, 512, size // 2, size - 1}):
        directory = shutil.copytree(begun, tmp_path / str(kept))
        with (directory / partial.name).open("r+b") as file:
            file.truncate(kept)
        assert len(go_on(directory)) <= 3


def test_what_the_power_failure_left_as_zeros_comes_again(begun: Path) -> None:
    [partial] = begun.glob("*.partial")
    size = partial.stat().st_size
    with partial.open("r+b") as file:
        file.truncate(size - 600)
        file.truncate(size)
    assert 1 <= len(go_on(begun)) <= 2


def test_a_part_that_got_its_name_and_not_its_line_is_the_open_one(begun: Path) -> None:
    records = begun / UNFINISHED / "parts"
    lines = records.read_bytes().splitlines(keepends=True)
    for path in begun.glob("*.partial"):
        path.unlink()
    records.write_bytes(b"".join(lines[:-1]) + lines[-1][:10])
    go_on(begun)


def test_a_part_that_is_gone_comes_again_with_all_behind_it(begun: Path) -> None:
    (begun / "part-0001.tar").unlink()
    assert len(go_on(begun)) > 3


def test_finished_blobs_that_waited_are_packed_and_spoiled_ones_come_again(tmp_path: Path) -> None:
    directory = tmp_path / "bundle"
    storage = open_export(directory)
    wait_until_packed(storage)  # nothing is packed from here on
    put_images(storage, some_images())
    storage.close()
    waiting = sorted((directory / UNFINISHED / "finished").iterdir())
    assert len(waiting) > 3
    waiting[0].write_bytes(b"spoiled")
    assert go_on(directory) == {waiting[0].name.replace("-", ":", 1)}


def test_an_end_that_was_cut_off_is_made_again_with_the_images_of_the_new_run(begun: Path) -> None:
    # The manifests and the index were appended already, and bundle.json was not written.
    bundle = open_bundle(make_bundle(begun, some_images())).record
    (begun / "bundle.json").unlink()
    (begun / UNFINISHED).mkdir()
    lines = b"".join(
        b'{"name":"%s","size":%d,"sha256":"%s"}\n' % (part.name.encode(), part.size, part.sha256.encode())
        for part in bundle.parts
    )
    (begun / UNFINISHED / "parts").write_bytes(lines)
    storage = open_export(begun)
    put_images(storage, {"other/app:1": some_images()["library/nginx:1.27"]})
    storage.finish()
    storage.close()
    opened = open_bundle(begun)
    check_bundle(opened)
    assert [image.name for image in opened.record.images] == ["other/app:1"]


def test_other_part_sizes_hold_from_where_it_goes_on(begun: Path) -> None:
    storage = open_export(begun, part_bytes=1024)
    put_images(storage, some_images())
    storage.finish()
    storage.close()
    opened = open_bundle(begun)
    check_bundle(opened)
    assert opened.record.parts[0].size == PART_BYTES
    assert opened.record.parts[-2].size == 1024


def test_a_disk_that_is_full_for_a_while_costs_no_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "bundle"
    storage = open_export(directory)
    pack = storage._packing.pack

    def fail(_digest: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage._packing, "pack", fail)
    put_images(storage, some_images())
    storage._thread.join()
    monkeypatch.setattr(storage._packing, "pack", pack)
    storage.finish()
    storage.close()
    check_bundle(open_bundle(directory))


def test_a_blob_that_vanished_is_named(tmp_path: Path) -> None:
    directory = tmp_path / "bundle"
    storage = open_export(directory)
    wait_until_packed(storage)
    put_images(storage, some_images())
    gone = some_images()["library/nginx:1.27"].all_blobs()[0].digest
    finished_path(directory, gone).unlink()
    with pytest.raises(PlaceError, match=f"the blob {gone} of library/nginx"):
        storage.finish()
    storage.close()
    assert go_on(directory) == {str(gone)}


def test_an_image_that_was_deleted_leaves_a_bundle_that_is_whole(tmp_path: Path) -> None:
    content = ContentBuilder(seed=5)
    storage = open_export(tmp_path / "bundle")
    put_images(storage, {"team/app:v1": content.image(1)})
    put_images(storage, {"team/app:v1": content.image(1)})  # the tag has moved on
    storage.finish()
    storage.close()
    check_bundle(open_bundle(tmp_path / "bundle"))


def test_where_a_bundle_may_be_made(tmp_path: Path) -> None:
    check_bundle_directory(tmp_path / "new")
    check_bundle_directory(tmp_path)
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ConfigurationError, match="files in it"):
        check_bundle_directory(tmp_path)
    with pytest.raises(ConfigurationError, match="no directory"):
        check_bundle_directory(tmp_path / "photo.jpg")
    (tmp_path / UNFINISHED).mkdir()
    check_bundle_directory(tmp_path)
    (tmp_path / "bundle.json").touch()
    with pytest.raises(ConfigurationError, match="whole bundle already"):
        check_bundle_directory(tmp_path)


def test_one_export_at_a_time(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    first = lock_bundle(tmp_path)
    with pytest.raises(PlaceError, match="another export"):
        lock_bundle(tmp_path, 0)
    threading.Timer(0.01, os.close, (first,)).start()
    os.close(lock_bundle(tmp_path))
