"""The members of a tar archive: names, offsets and sizes. Nothing is unpacked.

Supported are ustar, GNU long names, and pax (POSIX.1-2008, "pax", "ustar Interchange Format"). Archives are untrusted:
names are only keys of a dictionary, and everything without use in an image archive is refused: links, devices, sparse
files, absolute names, "..", duplicates, sizes beyond the end, invalid headers, and a missing end. Memory grows with the
number of members, which is bounded. `tarfile` parses the headers; its own walk would read extended headers of any size
and end silently at an invalid header.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from image_syncer.embedded.storage import BlobReader
from image_syncer.errors import SyncError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType


_OPEN_FILES = 64  # a bundle of many terabytes has more parts than a process may open files


class ArchiveError(SyncError):
    """An archive, or a bundle of archives, cannot be used: it is damaged, incomplete, or malicious."""

    kind = "archive"


class PartFiles:
    """Reads several files as one. For one thread at a time. Their sizes are read once. Raises OSError."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.paths = tuple(map(Path, paths))
        self._begins: list[int] = []
        self._open: OrderedDict[int, int] = OrderedDict()
        self.size = 0
        """Bytes of all files."""
        for path in self.paths:
            self._begins.append(self.size)
            self.size += path.stat().st_size

    def pread(self, offset: int, size_bytes: int) -> bytes:
        """Return `size_bytes` from `offset`, fewer only at the end of the last file."""
        pieces = []
        while size_bytes > 0 and 0 <= offset < self.size:
            piece = self.pread_some(offset, size_bytes)
            if not piece:
                break  # the file was truncated meanwhile: the caller notices the missing bytes
            pieces.append(piece)
            offset += len(piece)
            size_bytes -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pread_some(self, offset: int, limit_bytes: int) -> bytes:
        """Return at least one and at most `limit_bytes` from `offset`, of one file; nothing at the end."""
        if not 0 <= offset < self.size:
            return b""
        position = bisect_right(self._begins, offset) - 1
        end = self._begins[position + 1] if position + 1 < len(self._begins) else self.size
        begin = self._begins[position]
        return os.pread(self._file(position), min(limit_bytes, end - offset), offset - begin)

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __enter__(self) -> PartFiles:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _file(self, position: int) -> int:
        found = self._open.get(position)
        if found is None:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            found = self._open[position] = os.open(self.paths[position], os.O_RDONLY | os.O_CLOEXEC)
        else:
            self._open.move_to_end(position)
        return found


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
    """The position of a member's bytes in the archive: `offset` and `size` in bytes."""

    offset: int
    size: int


class MemberReader(BlobReader):
    """Reads a member of an archive for the embedded registry."""

    def __init__(self, parts: PartFiles, member: Member) -> None:
        self._parts = parts
        self._begin = member.offset
        self.size = member.size

    def read(self, offset: int, limit: int) -> bytes:
        """Return at least one and at most `limit` bytes from `offset`; nothing at the end."""
        return self._parts.pread_some(self._begin + offset, min(limit, self.size - offset))


class TarIndex:
    """The members of an archive by their names, without a leading "./". The caller closes `parts`."""

    def __init__(self, parts: PartFiles, members: Mapping[str, Member]) -> None:
        self.parts = parts
        self.members = members

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Return all bytes of a small member. Raises ArchiveError if it is missing or longer than `limit_bytes`."""
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
        """Return a reader of the member, or None."""
        member = self.members.get(name)
        return None if member is None else MemberReader(self.parts, member)


def index_tar(parts: PartFiles, *, follow_links: bool = False, begun: bool = False) -> TarIndex:
    """Read the headers of the archive in `parts` once from begin to end. Raises ArchiveError with the offset.

    With `follow_links`, a link to a regular member is another name of it, as `docker save` and skopeo write it for a
    repeated layer; a link to nothing or to a link is left out, and one out of the archive is refused. With `begun`, an
    unfinished archive ends after its last complete member.
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
    """Reads an archive header by header."""

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
        """Read the next header with its extended data; False at the end of the archive."""
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
            header.size = self._add(header, begin)
        self._offset = begin + -(-header.size // _BLOCK) * _BLOCK
        return True

    def check_end(self) -> None:
        """Check that two blocks of zeros end the archive, with only zeros after them."""
        tail_bytes = self._parts.size - self._offset
        if tail_bytes < 2 * _BLOCK:
            raise self._refusal("the two blocks of zeros that end an archive are missing")
        if tail_bytes > _MAX_TAIL_BYTES or any(self._parts.pread(self._offset, tail_bytes)):
            raise self._refusal("something lies behind the end of the archive")
        if self._long_name is not None or self._pax:
            raise self._refusal("it ends with the name of a member that does not come")

    def _add(self, header: tarfile.TarInfo, begin: int) -> int:
        """Add the member, and return its size."""
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
        """Return the name without a leading "./" and the "/" of a directory; refuse one that leads elsewhere."""
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
        """Parse the records of an extended header: lines of the form "length keyword=value"."""
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
            # Other values (times, owners, extended attributes) are not used, and may be no text.
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
