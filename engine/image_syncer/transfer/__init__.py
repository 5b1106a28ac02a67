"""Transfer of one blob, without I/O: the ring, the stream of bytes, and the state machine of the pipe.

The byte path is `Stream.receive` (libcurl's write callback) and `Sender.send` (its read callback) over one `Ring`; the
`Pipe` handles the rare events around them. A `SmallBlob` is whole in memory before its first byte is sent.
"""

from __future__ import annotations

__all__: list[str] = []
