"""A body in chunks (RFC 9112, 7.1), whose end only its frames tell."""

from __future__ import annotations

__all__ = ["ChunkedBody"]

CRLF = 2
"""Bytes of a line's end."""


class ChunkedBody:
    """Takes bytes in whatever pieces they come. `taken` counts those of the body; it keeps them only if asked to."""

    __slots__ = ("_got", "_left", "ended", "kept", "taken")

    def __init__(self, *, keeps: bool) -> None:
        self.kept = bytearray() if keeps else None
        self.taken, self.ended = 0, False
        self._got, self._left = b"", 0

    def feed(self, data: bytes) -> bytes:
        """Take these bytes; returns what followed the end, where that is in them. Raises ValueError for no chunks."""
        data = self._got + data if self._got else data
        self._got, at = b"", 0
        while True:
            if self._left:  # of the chunk with the line end behind it
                piece = min(self._left, len(data) - at)
                content = max(0, min(piece, self._left - CRLF))
                if self.kept is not None:
                    self.kept += data[at : at + content]
                self.taken += content
                self._left -= piece
                at += piece
                if self._left:
                    return b""
            stop = data.find(b"\r\n", at)
            if stop < 0:
                self._got = data[at:]
                return b""
            size = int(data[at:stop].partition(b";")[0], 16)
            if size == 0:
                if len(data) < stop + 2 * CRLF:
                    self._got = data[at:]
                    return b""
                self.ended = True
                return data[stop + 2 * CRLF :]
            self._left, at = size + CRLF, stop + CRLF
