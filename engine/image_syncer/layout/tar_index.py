"""What is in a tar archive, and where: names, offsets and sizes. Nothing is ever unpacked.

Read are ustar, the long names of GNU tar, and pax (POSIX.1-2008, "pax", "ustar Interchange Format"). An archive from a
stranger gets nothing out of us: its names are keys of a dictionary and never paths, and what has no place in an archive
of images is refused: links, devices, sparse files, absolute names, "..", two members of one name, sizes beyond the end,
headers that are no headers, and an end that is missing. Memory grows with the number of members, which is bounded.
"""

from __future__ import annotations

import posixpath
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from image_syncer.embedded.upload import BlobReader
from image_syncer.layout.tar_parts import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.layout.tar_parts import PartFiles

__all__ = ["Member", "MemberReader", "TarIndex", "index_tar"]

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
_MAX_MEMBERS = 4_000_000  # some 200 bytes each: a million images, and not all memory of the machine
_MAX_NAME_BYTES = 4096  # PATH_MAX of Linux; names of blobs have 141 at most
_MAX_EXTENDED_BYTES = 2**20  # of a pax header or a long name: what tar programs write has a few hundred
_MAX_TAIL_BYTES = 2**20  # of zeros behind the end: tar pads to its blocking factor, 10 KiB unless told otherwise
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
_LINKS = (tarfile.LNKTYPE, tarfile.SYMTYPE)
_WHAT = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.GNUTYPE_LONGLINK: "a link with a long name",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class Member(NamedTuple):
    """Where the bytes of a member lie in the archive: `offset` and `size` in bytes."""

    offset: int
    size: int


class MemberReader(BlobReader):
    """A member of an archive, as what the embedded registry sends."""

    def __init__(self, parts: PartFiles, member: Member) -> None:
        self._parts = parts
        self._begin = member.offset
        self.size = member.size

    def read(self, offset: int, limit: int) -> bytes:
        """At least one and at most `limit` bytes from `offset`; nothing at the end."""
        return self._parts.pread_some(self._begin + offset, min(limit, self.size - offset))


class TarIndex:
    """The members of an archive by their names, without a "./" in front. `parts` stays the caller's to close."""

    def __init__(self, parts: PartFiles, members: Mapping[str, Member]) -> None:
        self.parts = parts
        self.members = members

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def read(self, name: str, limit_bytes: int) -> bytes:
        """All bytes of a small member. Raises ArchiveError where there is none, or more than `limit_bytes` in it."""
        member = self.members.get(name)
        if member is None:
            raise ArchiveError(f"the archive has no {name}")
        if member.size > limit_bytes:
            raise ArchiveError(f"{name} has {member.size} bytes, and {limit_bytes} are the most that it may have")
        raw = self.parts.pread(member.offset, member.size)
        if len(raw) != member.size:
            raise ArchiveError(f"{name} ends too early: the archive has become shorter while it was read")
        return raw

    def open(self, name: str) -> MemberReader | None:
        """A reader of the member, None where there is none."""
        member = self.members.get(name)
        return None if member is None else MemberReader(self.parts, member)


def index_tar(parts: PartFiles, *, follow_links: bool = False, begun: bool = False) -> TarIndex:
    """The index of the archive in `parts`, which is read once from its begin to its end, headers only.

    With `follow_links`, as `docker save` and skopeo write them for a layer that is there twice, a link to a regular
    member is another name of it; a link that leads nowhere, or to a link, is left out, and one that leads out of the
    archive is refused. With `begun`, the archive may end behind any whole member: what lies behind it is left out.

    Raises ArchiveError, with the offset.
    """
    reading = _Reading(parts, follow_links=follow_links)
    try:
        while reading.read_member():
            pass
        reading.check_end()
    except ArchiveError:
        if not begun:
            raise
    return TarIndex(parts, reading.finished())


class _Reading:
    """The walk from header to header."""

    def __init__(self, parts: PartFiles, *, follow_links: bool) -> None:
        self._parts = parts
        self._follow_links = follow_links
        self._offset = 0
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._long_name: str | None = None
        self._pax: dict[str, str] = {}

    def finished(self) -> dict[str, Member]:
        for name, target in self._links.items():
            if target in self._members and target not in self._links:
                self._members[name] = self._members[target]
        return {name: member for name, member in self._members.items() if member.offset >= 0}

    def read_member(self) -> bool:
        """Take the next header and what belongs to it; False at the end of the archive."""
        block = self._parts.pread(self._offset, _BLOCK)
        if block == _ZEROS:
            return False
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, ValueError) as error:
            what = "it ends too early" if len(block) < _BLOCK else f"this is no header of a tar archive: {error}"
            raise self._refusal(what) from None
        begin = self._offset + _BLOCK
        if header.type == tarfile.GNUTYPE_LONGNAME:
            self._long_name = self._text(self._extended(begin, header.size).rstrip(b"\0"))
        elif header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
            self._pax = self._parse_pax(self._extended(begin, header.size))
        elif header.type == tarfile.XGLTYPE:
            if self._parse_pax(self._extended(begin, header.size)).keys() & {"path", "size", "linkpath"}:
                raise self._refusal("its global header gives every member one name or size")
        else:
            header.size = self._take(header, begin)
        self._offset = begin + -(-header.size // _BLOCK) * _BLOCK
        return True

    def check_end(self) -> None:
        """Two blocks of zeros end an archive; behind them are only more of them."""
        tail_bytes = self._parts.size - self._offset
        if tail_bytes < 2 * _BLOCK:
            raise self._refusal("the two blocks of zeros that end an archive are missing")
        if tail_bytes > _MAX_TAIL_BYTES or any(self._parts.pread(self._offset, tail_bytes)):
            raise self._refusal("something lies behind the end of the archive")
        if self._long_name is not None or self._pax:
            raise self._refusal("it ends with the name of a member that does not come")

    def _take(self, header: tarfile.TarInfo, begin: int) -> int:
        """Note the member, and return its size."""
        name = self._pax.get("path", self._long_name if self._long_name is not None else header.name)
        size = self._pax_size(header.size)
        target = self._pax.get("linkpath", header.linkname)
        sparse = any(key.startswith("GNU.sparse.") for key in self._pax)
        self._long_name, self._pax = None, {}
        if header.type == tarfile.DIRTYPE:
            self._plain_name(name)
            return self._fitting(name, begin, size)
        name = self._plain_name(name)
        if not name or name in self._members:
            raise self._refusal(f"“{name}” is there twice" if name else "a member has no name")
        if len(self._members) >= _MAX_MEMBERS:
            raise self._refusal(f"it has more than {_MAX_MEMBERS} members")
        if header.type in _LINKS and self._follow_links:
            self._members[name] = Member(-1, 0)
            self._links[name] = self._link_target(name, target, header.type)
            return 0
        if sparse or header.type not in _REGULAR:
            what = "a sparse file" if sparse else _WHAT.get(header.type, f"of the unknown type {header.type!r}")
            raise self._refusal(f"“{name}” is {what}, which has no place in an archive of images")
        self._members[name] = Member(begin, self._fitting(name, begin, size))
        return size

    def _fitting(self, name: str, begin: int, size: int) -> int:
        if size < 0:
            raise self._refusal(f"“{name}” has a size below zero")
        if begin + -(-size // _BLOCK) * _BLOCK > self._parts.size:
            raise self._refusal(f"“{name}” ends behind the end of the archive, which is not whole")
        return size

    def _plain_name(self, name: str) -> str:
        """The name without "./" in front, "/" at the end of a directory's; refused where it leads elsewhere."""
        if len(name) > _MAX_NAME_BYTES or "\0" in name:
            raise self._refusal("a name is too long, or has a zero byte in it")
        plain = name
        while plain.startswith("./"):
            plain = plain[2:]
        plain = "" if plain == "." else plain.rstrip("/") if not plain.startswith("/") else plain
        if plain and any(part in ("", ".", "..") for part in plain.split("/")):
            raise self._refusal(f"the name “{name}” leads out of the archive, or has an empty part")
        return plain

    def _link_target(self, name: str, target: str, kind: bytes) -> str:
        start = posixpath.dirname(name) if kind == tarfile.SYMTYPE else ""
        led = posixpath.normpath(posixpath.join(start, target))
        if led.startswith(("/", "../")) or led in ("..", "."):
            raise self._refusal(f"the link “{name}” leads out of the archive, to “{target}”")
        return led

    def _extended(self, begin: int, size: int) -> bytes:
        if not 0 < size <= _MAX_EXTENDED_BYTES:
            raise self._refusal(f"an extended header of {size} bytes")
        raw = self._parts.pread(begin, size)
        if len(raw) != size:
            raise self._refusal("it ends too early")
        return raw

    def _parse_pax(self, raw: bytes) -> dict[str, str]:
        """The records "length keyword=value", a line each, of an extended header."""
        records: dict[str, str] = {}
        offset = 0
        while offset < len(raw):
            length_text, _, _ = raw[offset : offset + 8].partition(b" ")
            length = int(length_text) if length_text.isdigit() else 0
            record = raw[offset + len(length_text) + 1 : offset + length]
            keyword, equals, value = record[:-1].partition(b"=")
            if not equals or record[-1:] != b"\n" or offset + length > len(raw):
                raise self._refusal("a pax header that is none")
            name = self._text(keyword)
            # Other values (times, owners, extended attributes) are nobody's business here, and may be no text.
            records[name] = self._text(value) if name in ("path", "size", "linkpath") else ""
            offset += length
        return records

    def _pax_size(self, size: int) -> int:
        text = self._pax.get("size")
        if text is None:
            return size
        if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 - digits of 2 to the 64th
            raise self._refusal(f"“{text}” is not a size")
        return int(text)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise self._refusal("a name is not UTF-8") from None

    def _refusal(self, what: str) -> ArchiveError:
        paths = self._parts.paths
        archive = (
            str(paths[0]) if len(paths) == 1 else f"{paths[0]} … {paths[-1].name}" if paths else "an empty archive"
        )
        return ArchiveError(f"{archive}, at byte {self._offset}: {what}")
