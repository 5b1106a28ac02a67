"""The messages between coordinator and worker, and their frames on the socket.

A frame is four bytes of length (big endian) and a JSON array: the name of the message and its fields. An unknown name,
or a field that is missing or of another type, is an internal error and raises. Tokens travel in messages, because only
the two processes see a socket pair; arguments and environment of a process are visible to others.
"""

from __future__ import annotations

import asyncio
import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from msgspec import field, json

from image_syncer.errors import SyncError
from image_syncer.net import TallyRow  # noqa: TC001 - msgspec reads the annotations
from image_syncer.oci import Digest, Repository
from image_syncer.registry import Allowance, Endpoint, Scope
from image_syncer.registry.endpoint import EndpointData  # noqa: TC001 - msgspec reads the annotations
from image_syncer.scheduling import BlobOutcome, RetryPolicy
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 2**20
"""No message comes near it; a length beyond it means that the stream is broken."""
KEPT_ENDPOINTS = 1024
"""Endpoints that are kept as they were decoded: a lease names one for each side of each blob."""


def encode(message: Message) -> bytes:
    """The frame of `message`."""
    body = _encode(message)
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message in the body of a frame; raises ValueError where it is none."""
    return _decoder().decode(body)


class FrameReader:
    """Finds the messages in the bytes of a socket, which come in pieces of any size."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> list[Message]:
        """The messages that `piece` completes. Raises RuntimeError and ValueError where the stream is broken."""
        self._bytes += piece
        messages, at, end = [], 0, len(self._bytes)
        with memoryview(self._bytes) as view:
            while end - at >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, at)
                if length > MAX_FRAME_BYTES:
                    raise RuntimeError(f"a frame of {length} bytes: the stream of messages is broken")
                begin = at + _LENGTH.size
                if begin + length > end:
                    break
                at = begin + length
                messages.append(_decoder().decode(view[begin:at]))
        del self._bytes[:at]
        return messages


class MessageChannel(asyncio.Protocol):
    """One end of the socket between coordinator and worker.

    `on_message` gets each message that comes; it may be replaced. `ended` has a result when the other side has closed,
    even in the middle of a message, or the exception that a broken stream or `on_message` raised; no message comes
    after that. uvloop joins what is sent within one turn.
    """

    def __init__(self, on_message: Callable[[Message], None]) -> None:
        self.on_message = on_message
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._incoming = FrameReader()

    async def connect(self, connected: socket.socket) -> None:
        """Use a connected socket; the channel closes it in the end."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connected)

    def send(self, message: Message) -> None:
        """Send a message; nothing happens where the other side is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    def close(self, *, reading: bool = False) -> None:
        """Close this side after what was sent; where `reading`, messages still come until the other side closes."""
        if self._transport is None or self._transport.is_closing():
            return
        if reading:
            self._transport.write_eof()
        else:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            for message in self._incoming.feed(data):
                if not self.ended.done():
                    self.on_message(message)
        except Exception as error:  # noqa: BLE001 - it is the result of `ended`
            if not self.ended.done():
                self.ended.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why does not matter
        """See `asyncio.Protocol`."""
        if not self.ended.done():
            self.ended.set_result(None)


def _to_plain(value: object) -> str | dict[str, Any]:
    """The codec's hook for types that it does not know: errors, and subclasses of `str` such as digests."""
    if isinstance(value, SyncError):
        return value.to_data()
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} cannot be said in a message")
    return str(value)


def _from_plain(kind: type, data: Any) -> SyncError | Digest:
    """The same for decoding."""
    if kind is Digest:
        return Digest(data)
    if not issubclass(kind, SyncError):
        raise TypeError(f"{kind.__name__} cannot be said in a message")
    return SyncError.from_data(data)


_encode = json.Encoder(enc_hook=_to_plain).encode


@cache
def _decoder() -> json.Decoder[Message]:
    """Made for the first message: a run in which nothing changed has none."""
    decoder: json.Decoder[Message] = json.Decoder(Message, dec_hook=_from_plain)
    return decoder


@lru_cache(maxsize=KEPT_ENDPOINTS)
def _endpoint(at: EndpointData) -> Endpoint:
    return Endpoint.from_data(*at)


class MessageBase(Value, frozen=True, array_like=True, tag=True):
    """The base of messages: on the socket an array of its name and its fields."""


class Refused(MessageBase, frozen=True):
    """From a worker: `registry` answered 429, with a Retry-After of `retry_after_s` (None: without one)."""

    registry: str
    retry_after_s: float | None


class AllowanceReported(MessageBase, frozen=True):
    """From a worker: what `registry` said of its limits."""

    registry: str
    allowance: Allowance


class Paced(MessageBase, frozen=True):
    """To a worker: whether requests to `registry` need a turn (`RequestsWanted`) from now on."""

    registry: str
    paced: bool


class RequestsWanted(MessageBase, frozen=True):
    """From a worker: so many requests more (or fewer) wait for a turn at `registry`."""

    registry: str
    turns: int


class RequestsGranted(MessageBase, frozen=True):
    """To a worker: so many of them may go out now."""

    registry: str
    turns: int


class BytesWanted(MessageBase, frozen=True):
    """From a worker: what may move from `registry` (where `sending`: to it) is used up; it needs more."""

    registry: str
    sending: bool


class BytesGranted(MessageBase, frozen=True):
    """To a worker: so many bytes more may move. From a worker: it does not need so many of them."""

    registry: str
    sending: bool
    size: int


class Metering(MessageBase, frozen=True):
    """To a worker: bytes from and to `registry` (see `image_syncer.scheduling.metered`) need an allowance from now
    on.
    """

    registry: str


class Place(Value, frozen=True, array_like=True):
    """A repository, and the endpoint of its registry."""

    at: EndpointData
    repository: Repository

    __repr__ = repr_without("at")  # a proxy's password may be in it

    @classmethod
    def of(cls, endpoint: Endpoint, repository: Repository) -> Place:
        """The place of `repository` at `endpoint`."""
        return cls(endpoint.to_data(), repository)

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of its registry."""
        return _endpoint(self.at)


class TargetPlace(Value, frozen=True, array_like=True):
    """A place that needs a blob, and the repository of the same registry from which to mount it (perhaps itself)."""

    place: Place
    mount_from: str
    session: str | None = None
    """The address of an upload session for this blob that may still be open there."""
    absent: bool = False
    """Whether the registry has just said that the blob is not there."""

    __repr__ = repr_without("session")

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of its registry."""
        return _endpoint(self.place.at)

    @property
    def repository(self) -> Repository:
        """The repository that needs the blob."""
        return self.place.repository

    @property
    def mounts(self) -> bool:
        """Whether the blob is expected to arrive by a mount from another repository, without bytes."""
        return self.mount_from != self.place.repository.name


class Setup(MessageBase, frozen=True):
    """To a worker, first: its settings. Sizes in bytes, times in seconds.

    `streams` blobs at once go through windows of `window_bytes`; up to `small_blobs` more, of at most
    `small_blob_bytes`, are held whole. `resume` is the retry policy of a broken transfer within one lease. Bytes from
    and to registries that are `metered` (see `image_syncer.scheduling.metered`) need an allowance (`BytesWanted`).
    `tallied` says whether requests are counted by registry and status, and timed.
    """

    window_bytes: int
    streams: int
    small_blob_bytes: int
    small_blobs: int
    connect_timeout_s: float
    stall_timeout_s: float
    answer_timeout_s: float
    fan_out_lag_s: float
    resume: RetryPolicy = field(default_factory=RetryPolicy)
    metered: tuple[str, ...] = ()
    tallied: bool = False


class LeaseJob(MessageBase, frozen=True):
    """To a worker: copy this blob to these targets; `size` in bytes, -1 where it is not known.

    `may_split` says that a target that holds the others back may be left to another job. `mirrors` are tried before
    the source, in their order.
    """

    job_id: int
    digest: Digest
    size: int
    source: Place
    targets: tuple[TargetPlace, ...]
    may_split: bool = False
    mirrors: tuple[Place, ...] = ()

    @property
    def sources(self) -> tuple[Place, ...]:
        """Where the blob is asked for, in the order of trial."""
        return (*self.mirrors, self.source)


class AuthorizationGiven(MessageBase, frozen=True):
    """To a worker: the answer to `AuthorizationWanted`; `error` is a `SyncError` as data where there is none."""

    request_id: int
    value: str | None
    usable_s: float
    error: dict[str, Any] | None = None

    __repr__ = repr_without("value")


class RegistryPause(MessageBase, frozen=True):
    """Both ways: `registry` asked for a pause of `seconds`."""

    registry: str
    seconds: float


class AbandonJob(MessageBase, frozen=True):
    """To a worker: give the job up; `error` (a `SyncError` as data) is its result."""

    job_id: int
    error: dict[str, Any]


class Stop(MessageBase, frozen=True):
    """To a worker: break everything off and end."""


class Ready(MessageBase, frozen=True):
    """From a worker: it can take jobs."""

    pid: int


class Beat(MessageBase, frozen=True):
    """From a worker, every `BEAT_S`: a sign of life.

    `requests` since the last one by kind, bytes `received` by job, `answer_s`, seconds that some requests took to be
    answered, by registry, `signs`, numbers by job that change with every progress, `mirrored`, see
    `Mirrors.take_counts`. Where requests are tallied: `tally`, see `RequestTally.take`, and the bytes `sent` to each
    target of each job.
    """

    requests: dict[str, int]
    received: dict[str, int]
    answer_s: dict[str, list[float]] = field(default_factory=dict)
    signs: dict[str, int] = field(default_factory=dict)
    mirrored: dict[str, list[int]] = field(default_factory=dict)
    tally: list[TallyRow] = field(default_factory=list)
    sent: dict[str, list[int]] = field(default_factory=dict)


class FellBehind(MessageBase, frozen=True):
    """From a worker: these targets (by their numbers in the lease) held the others back, and need a job of their own.
    The outcomes at the end of the job repeat it.
    """

    job_id: int
    targets: tuple[int, ...]


class UploadOpened(MessageBase, frozen=True):
    """From a worker: the address of the upload session of this target (by its number in the lease) is `url` now."""

    job_id: int
    target: int
    url: str

    __repr__ = repr_without("url")


class SideBroke(MessageBase, frozen=True):
    """From a worker: one side of a job broke off with `error` (a `SyncError` as data), and is resumed.

    `target` is the number of the destination in the lease, None for the source; `idle` says that the side was waiting
    for the other one.
    """

    job_id: int
    target: int | None
    error: dict[str, Any]
    idle: bool


class Learnt(MessageBase, frozen=True):
    """Both ways: `fact` is true of `registry`, or is not."""

    registry: str
    fact: str
    value: bool


class TargetEnded(MessageBase, frozen=True):
    """From a worker: one target of a job (by its number in the lease) has an outcome, while others have none yet. The
    outcomes at the end of the job repeat it.
    """

    job_id: int
    target: int
    outcome: BlobOutcome


class JobEnded(MessageBase, frozen=True):
    """From a worker: a job is over; `outcomes` in the order of its targets, `requests`, `mirrored` and `tally` as in
    a `Beat`.

    `source_waited_s` and `destination_waited_s` are how long each side was paused because the other was slower (of
    several destinations, the one that waited longest), `pauses` how often.
    """

    job_id: int
    outcomes: tuple[BlobOutcome, ...]
    requests: dict[str, int] = field(default_factory=dict)
    source_waited_s: float = 0.0
    destination_waited_s: float = 0.0
    pauses: int = 0
    mirrored: dict[str, list[int]] = field(default_factory=dict)
    tally: list[TallyRow] = field(default_factory=list)


class AuthorizationWanted(MessageBase, frozen=True):
    """From a worker: it needs the authorization for this registry. With `renew`, `rejected` met a 401 with
    `challenges`.
    """

    request_id: int
    at: EndpointData
    repository: Repository | None
    scopes: tuple[Scope, ...]
    renew: bool = False
    rejected: str | None = None
    challenges: tuple[str, ...] = ()

    __repr__ = repr_without("at", "rejected")

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the registry."""
        return _endpoint(self.at)


class Crashed(MessageBase, frozen=True):
    """From a worker, last: an internal error ended it; `text` is the traceback."""

    text: str


Message: TypeAlias = (
    Setup
    | LeaseJob
    | AuthorizationGiven
    | RegistryPause
    | AbandonJob
    | Stop
    | Ready
    | Beat
    | FellBehind
    | UploadOpened
    | SideBroke
    | Learnt
    | TargetEnded
    | JobEnded
    | AuthorizationWanted
    | Crashed
    | Refused
    | AllowanceReported
    | Paced
    | RequestsWanted
    | RequestsGranted
    | BytesWanted
    | BytesGranted
    | Metering
)
