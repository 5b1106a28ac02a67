"""Transfer: how one blob moves. Pure: the ring, the stream of bytes, and the state machine of the pipe.

The byte path is `Stream.receive` (libcurl's write callback) and `Sender.send` (its read callback) over one `Ring`; the
rare events around them are the `Pipe`'s. A small blob is a `SmallBlob`: whole in memory before its first byte goes out.
"""

from __future__ import annotations

from image_syncer.transfer.faults import too_short
from image_syncer.transfer.pipe import (
    Abandoned,
    CancelSession,
    Event,
    Instruction,
    Pipe,
    PipeState,
    SinkAccepted,
    SinkFailed,
    SinkOutcome,
    SinkPresent,
    SinkReady,
    SourceAnswered,
    SourceFailed,
    SourceVerified,
    StartSink,
    StartSource,
    StopSink,
    StopSource,
    StreamRewound,
)
from image_syncer.transfer.resumption import Resumption
from image_syncer.transfer.ring import Ring
from image_syncer.transfer.sender import Sender, Signals
from image_syncer.transfer.small_blob import SmallBlob, SmallBlobSender
from image_syncer.transfer.stream import PIECE_BYTES, Stream
from image_syncer.transfer.watches import LagWatch, SilenceWatch

__all__ = [
    "PIECE_BYTES",
    "Abandoned",
    "CancelSession",
    "Event",
    "Instruction",
    "LagWatch",
    "Pipe",
    "PipeState",
    "Resumption",
    "Ring",
    "Sender",
    "Signals",
    "SilenceWatch",
    "SinkAccepted",
    "SinkFailed",
    "SinkOutcome",
    "SinkPresent",
    "SinkReady",
    "SmallBlob",
    "SmallBlobSender",
    "SourceAnswered",
    "SourceFailed",
    "SourceVerified",
    "StartSink",
    "StartSource",
    "StopSink",
    "StopSource",
    "Stream",
    "StreamRewound",
    "too_short",
]
