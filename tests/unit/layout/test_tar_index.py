from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from image_syncer.layout.tar_index import ArchiveError, Member, PartFiles, index_tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def member(name: str, raw: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(raw)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, raw


def archive(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form) as tar:
        for info, raw in members:
            tar.addfile(info, io.BytesIO(raw))
    return written.getvalue()


@pytest.fixture
def parts_of(tmp_path: Path) -> Callable[..., PartFiles]:
    def write(raw: bytes, *cuts: int) -> PartFiles:
        paths = []
        for number, (begin, end) in enumerate(zip((0, *cuts), (*cuts, len(raw)), strict=True)):
            paths.append(tmp_path / f"{number}.tar")
            paths[-1].write_bytes(raw[begin:end])
        return PartFiles(paths)

    return write


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_found_in_every_form_and_across_parts(parts_of: Callable[..., PartFiles], form: int) -> None:
    long_name = "blobs/" + "n" * 90 + "/" + "x" * 99
    raw = archive(
        member("./oci-layout", b"{}"), member("blobs", type=tarfile.DIRTYPE), member(long_name, b"y" * 700), form=form
    )
    index = index_tar(parts_of(raw, 100, 100, 1300))
    assert list(index.members) == ["oci-layout", long_name]
    assert index.read("oci-layout", 10) == b"{}"
    assert index.read(long_name, 700) == b"y" * 700
    reader = index.open(long_name)
    assert reader is not None
    assert reader.size == 700
    assert bytes(reader.read(699, 10)) == b"y"
    assert reader.read(700, 10) == b""
    assert index.open("blobs") is None


def test_a_name_that_only_pax_can_hold(parts_of: Callable[..., PartFiles]) -> None:
    name = "blobs/sha512/" + "a" * 128
    index = index_tar(parts_of(archive(member(name, b"abc"))))
    assert index.read(name, 3) == b"abc"


@pytest.mark.parametrize(
    ("name", "fields", "what"),
    [
        ("layer", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a symbolic link"),
        ("layer", {"type": tarfile.LNKTYPE, "linkname": "index.json"}, "a hard link"),
        ("layer", {"type": tarfile.CHRTYPE}, "a device"),
        ("layer", {"type": tarfile.BLKTYPE}, "a device"),
        ("layer", {"type": tarfile.FIFOTYPE}, "a named pipe"),
        ("layer", {"type": tarfile.CONTTYPE}, "unknown type"),
        ("layer", {"pax_headers": {"GNU.sparse.major": "1"}}, "a sparse file"),
        ("/etc/passwd", {}, "leads out"),
        ("../x", {}, "leads out"),
        ("blobs/../../x", {}, "leads out"),
        ("blobs/..", {"type": tarfile.DIRTYPE}, "leads out"),
        ("/", {"type": tarfile.DIRTYPE, "pax_headers": {"path": "/etc"}}, "leads out"),
        ("blobs//x", {}, "empty part"),
        ("blobs/./x", {}, "empty part"),
        (".", {}, "no name"),
        ("layer", {"pax_headers": {"path": "../x"}}, "leads out"),
        ("layer", {"pax_headers": {"path": "a\0b"}}, "zero byte"),
        ("layer", {"pax_headers": {"path": "n" * 5000}}, "too long"),
        ("layer", {"pax_headers": {"size": str(2**63)}}, "ends behind the end"),
        ("layer", {"pax_headers": {"size": "-1"}}, "not a size"),
        ("layer", {"pax_headers": {"comment": "n" * 2**20}}, "extended header of"),
    ],
)
def test_what_has_no_place_in_an_archive_of_images_is_refused(
    parts_of: Callable[..., PartFiles], name: str, fields: dict[str, object], what: str
) -> None:
    raw = archive(member("first", b"1"), member(name, **fields))
    with pytest.raises(ArchiveError, match=what):
        index_tar(parts_of(raw))


@pytest.mark.parametrize("second", ["index.json", "./index.json", "././index.json"])
def test_two_members_of_one_name_are_refused(parts_of: Callable[..., PartFiles], second: str) -> None:
    # Which of them counts would depend on the program that reads: one verifies the first, another uses the last.
    with pytest.raises(ArchiveError, match="there twice"):
        index_tar(parts_of(archive(member("index.json", b"1"), member(second, b"2"))))


def test_a_global_header_that_names_every_member_is_refused_and_a_comment_is_not(
    parts_of: Callable[..., PartFiles],
) -> None:
    for records, refused in (({"comment": "hash"}, False), ({"path": "x"}, True), ({"size": "5"}, True)):
        raw = tarfile.TarInfo.create_pax_global_header(records) + archive(member("a", b"1"))
        if refused:
            with pytest.raises(ArchiveError, match="global header"):
                index_tar(parts_of(raw))
        else:
            assert index_tar(parts_of(raw)).read("a", 1) == b"1"


def test_an_archive_that_ends_anywhere_but_at_its_end_is_refused(parts_of: Callable[..., PartFiles]) -> None:
    raw = archive(member("a", b"1" * 600), member("b" * 101, b"2" * 600))
    end = len(raw.rstrip(b"\0"))
    end += -end % 512
    for length in (0, 1, 511, 512, 1000, 1536, 1537, 2100, end - 512, end, end + 512, end + 1023):
        with pytest.raises(ArchiveError):
            index_tar(parts_of(raw[:length]))
    assert set(index_tar(parts_of(raw[: end + 1024])).members) == {"a", "b" * 101}


def test_what_lies_behind_the_end_is_refused(parts_of: Callable[..., PartFiles]) -> None:
    raw = archive(member("a", b"1"))
    for tail in (archive(member("b", b"2")), b"x", bytes(2**20)):
        with pytest.raises(ArchiveError, match="behind the end"):
            index_tar(parts_of(raw + tail))


def test_an_archive_that_was_begun_gives_its_whole_members(parts_of: Callable[..., PartFiles]) -> None:
    raw = archive(member("a", b"1" * 600), member("b", b"2" * 600))
    for length, names in ((0, []), (700, []), (1536, ["a"]), (2000, ["a"]), (3071, ["a"]), (3072, ["a", "b"])):
        assert list(index_tar(parts_of(raw[:length]), begun=True).members) == names


def test_a_header_with_a_flipped_bit_is_none(parts_of: Callable[..., PartFiles]) -> None:
    raw = bytearray(archive(member("a", b"1")))
    raw[3] ^= 1
    with pytest.raises(ArchiveError, match="at byte 0: this is no header"):
        index_tar(parts_of(bytes(raw)))


def test_links_are_followed_once_and_inside_only(parts_of: Callable[..., PartFiles]) -> None:
    link = {"type": tarfile.SYMTYPE}
    raw = archive(
        member("2/layer.tar", linkname="../1/layer.tar", **link),
        member("1/layer.tar", b"layer"),
        member("3/layer.tar", linkname="../2/layer.tar", **link),
        member("4/layer.tar", linkname="../none", **link),
        member("5.tar", linkname="1/layer.tar", type=tarfile.LNKTYPE),
    )
    index = index_tar(parts_of(raw), follow_links=True)
    assert set(index.members) == {"1/layer.tar", "2/layer.tar", "5.tar"}
    assert index.members["2/layer.tar"] == index.members["1/layer.tar"] == index.members["5.tar"]
    assert index.read("2/layer.tar", 5) == b"layer"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "..", "../.."])
def test_a_link_that_leads_out_is_refused_even_where_links_are_followed(
    parts_of: Callable[..., PartFiles], target: str
) -> None:
    raw = archive(member("1/layer.tar", type=tarfile.SYMTYPE, linkname=target))
    with pytest.raises(ArchiveError, match="leads out"):
        index_tar(parts_of(raw), follow_links=True)


def test_a_small_member_is_read_within_its_limit_only(parts_of: Callable[..., PartFiles]) -> None:
    index = index_tar(parts_of(archive(member("index.json", b"12345"))))
    with pytest.raises(ArchiveError, match="4 are the most"):
        index.read("index.json", 4)
    with pytest.raises(ArchiveError, match="no oci-layout"):
        index.read("oci-layout", 4)


def test_an_archive_that_was_cut_while_it_is_read(parts_of: Callable[..., PartFiles], tmp_path: Path) -> None:
    index = index_tar(parts_of(archive(member("a", b"12345"))))
    with (tmp_path / "0.tar").open("r+b") as file:
        file.truncate(514)
    with pytest.raises(ArchiveError, match="shorter"):
        index.read("a", 5)


def test_more_parts_than_files_that_may_be_open(parts_of: Callable[..., PartFiles]) -> None:
    raw = archive(member("a", bytes(range(256)) * 4))
    parts = parts_of(raw, *range(10, 2000, 10))
    assert index_tar(parts).members["a"] == Member(512, 1024)
    assert parts.pread(512, 1024) == bytes(range(256)) * 4
    assert parts.pread(0, 2**30) == raw
