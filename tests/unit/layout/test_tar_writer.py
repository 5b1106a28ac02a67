from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from image_syncer.layout.tar_index import ArchiveError, PartFiles, index_tar
from image_syncer.layout.tar_writer import Part, TarWriter, numbered_parts, partial_path

if TYPE_CHECKING:
    from pathlib import Path


def test_parts_are_cut_at_their_size_and_named_when_they_are_whole(tmp_path: Path) -> None:
    told: list[Part] = []
    writer = TarWriter(numbered_parts(tmp_path), part_bytes=1024, on_part=told.append)
    first = writer.append_bytes("a", b"x" * 700)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["part-0001.tar", "part-0002.tar.partial"]
    second = writer.append_file("b", io.BytesIO(b"y" * 10), 10)
    parts = writer.finish()
    assert parts == tuple(told)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [part.name for part in parts]
    for part in parts:
        raw = (tmp_path / part.name).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (part.size, part.sha256)
        assert part is parts[-1] or part.size == 1024
    index = index_tar(PartFiles([tmp_path / part.name for part in parts]))
    assert index.members == {"a": first, "b": second}
    assert index.read("a", 700) == b"x" * 700


def test_one_file_has_its_name_at_the_end_only(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    writer = TarWriter(lambda _: path)
    writer.append_bytes("a", b"1")
    assert not path.exists()
    writer.finish()
    assert not partial_path(path).exists()
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["a"]


@pytest.mark.parametrize("part_bytes", [None, 1000, 4096])
def test_an_archive_goes_on_from_any_whole_member_as_if_it_had_not_stopped(
    tmp_path: Path, part_bytes: int | None
) -> None:
    members = [(f"blobs/sha512/{n:0128}", bytes([n]) * (n * 432)) for n in range(1, 4)]
    whole = tmp_path / "whole"
    whole.mkdir()
    writer = TarWriter(numbered_parts(whole), part_bytes=part_bytes)
    ends = [0]
    for name, raw in members:
        writer.append_bytes(name, raw)
        ends.append(writer.size)
    wanted = writer.finish()
    for kept in range(4):
        for written in range(kept, 4):
            broken = tmp_path / f"{kept}-{written}"
            broken.mkdir()
            writer = TarWriter(numbered_parts(broken), part_bytes=part_bytes)
            for name, raw in members[:written]:
                writer.append_bytes(name, raw)
            writer.close()
            closed = writer.parts
            writer = TarWriter(numbered_parts(broken), part_bytes=part_bytes, closed=closed, keep_bytes=ends[kept])
            assert writer.size == ends[kept]
            for name, raw in members[kept:]:
                writer.append_bytes(name, raw)
            assert writer.finish() == wanted
            assert sorted(path.name for path in broken.iterdir()) == [part.name for part in wanted]


def test_what_ends_too_early_is_said(tmp_path: Path) -> None:
    writer = TarWriter(lambda _: tmp_path / "x.tar")
    with pytest.raises(ArchiveError, match="shorter by 3 bytes"):
        writer.append_file("a", io.BytesIO(b"12"), 5)
    writer.close()
    with pytest.raises(ArchiveError, match="bytes are missing"):
        TarWriter(lambda _: tmp_path / "x.tar", keep_bytes=4096)


def test_a_part_has_room_for_a_header(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least"):
        TarWriter(numbered_parts(tmp_path), part_bytes=511)


def test_parts_after_the_one_that_is_cut_go_however_small_they_are(tmp_path: Path) -> None:
    """As after an export that was killed, continued with smaller parts, and killed inside a blob."""
    sizes = (10240, 2048, 2048, 2048)
    names, closed = numbered_parts(tmp_path), []
    for number, size in enumerate(sizes, start=1):
        names(number).write_bytes(bytes([number]) * size)
        closed.append(Part(names(number).name, size, hashlib.sha256(bytes([number]) * size).hexdigest()))
    writer = TarWriter(names, part_bytes=2048, closed=closed, keep_bytes=8192)
    assert (writer.parts, writer.size) == ((), 8192)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == [partial_path(names(1)).name]
