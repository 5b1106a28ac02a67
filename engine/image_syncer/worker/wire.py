"""Messages on the socket between coordinator and worker: JSON with a length in front.

A frame is four bytes of length (big endian) and one JSON array: the name of the message, and its fields. An unknown
name, or a field that is missing or of another type, is an internal error and raises.
"""

from __future__ import annotations

import asyncio
import struct
from functools import cache
from typing import Any

from msgspec import json

from image_syncer.errors import SyncError
from image_syncer.worker.messages import Message

__all__ = ["decode", "encode", "read_message"]

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 2**20
"""No message comes near it; a length beyond it means that the stream is broken."""


def _plain(value: object) -> str | dict[str, Any]:
    """A value of a type of our own that the codec does not know: an error, or a text such as a digest."""
    if isinstance(value, SyncError):
        return value.to_data()
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} cannot be said in a message")
    return str(value)


def _typed(kind: type, data: Any) -> SyncError:
    """The other way round."""
    if not issubclass(kind, SyncError):
        raise TypeError(f"{kind.__name__} cannot be said in a message")
    return SyncError.from_data(data)


_encode = json.Encoder(enc_hook=_plain).encode


def encode(message: Message) -> bytes:
    """The frame of `message`."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message in the body of a frame; raises ValueError where it is none."""
    return _decoder().decode(body)


@cache
def _decoder() -> json.Decoder[Message]:
    """Made when the first message comes: a run in which nothing changed has none."""
    decoder: json.Decoder[Message] = json.Decoder(Message, dec_hook=_typed)
    return decoder


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """The next message, or None where the other side has closed (or was cut off in the middle of one)."""
    try:
        head = await reader.readexactly(_LENGTH.size)
        (length,) = _LENGTH.unpack(head)
        if length > MAX_FRAME_BYTES:
            raise RuntimeError(f"a frame of {length} bytes: the stream of messages is broken")
        return decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
