"""What the coordinator and a worker say to each other: typed messages, as JSON with a length in front.

A frame is four bytes of length (big endian) and one JSON object whose "type" names the message. Tokens travel in
messages, because a socket pair is seen by nobody else; they stand in no process's arguments or environment. What has
no message here cannot be said: an unknown type or a field that is missing is a mistake of ours and raises.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from image_syncer.oci import Repository
from image_syncer.registry import Endpoint, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AuthorizationGiven",
    "AuthorizationWanted",
    "Beat",
    "Crashed",
    "JobEnded",
    "LeaseJob",
    "LeaveAlone",
    "Message",
    "Place",
    "Ready",
    "Result",
    "Setup",
    "Stop",
    "TargetPlace",
    "decode",
    "encode",
    "read_message",
]

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 2**20
"""No message comes near it; a length beyond it means that the stream is broken."""


@dataclass(frozen=True)
class Place:
    """A repository, and where its registry is spoken to."""

    endpoint: Endpoint
    repository: Repository


@dataclass(frozen=True)
class TargetPlace:
    """A repository that needs a blob, and the one of the same registry from which to mount it (perhaps itself)."""

    endpoint: Endpoint
    repository: Repository
    mount_from: str


@dataclass(frozen=True)
class Setup:
    """To a worker, first: how it works. Sizes in bytes, times in seconds."""

    window_bytes: int
    streams: int
    connect_timeout_s: float
    stall_timeout_s: float
    answer_timeout_s: float


@dataclass(frozen=True)
class LeaseJob:
    """To a worker: bring this blob to these places; `size` in bytes, -1 where nobody knows it yet."""

    job_id: int
    digest: str
    size: int
    source: Place
    targets: tuple[TargetPlace, ...]


@dataclass(frozen=True)
class AuthorizationGiven:
    """To a worker: the answer to `AuthorizationWanted`; `error` is a `SyncError` as data where there is none."""

    request_id: int
    value: str | None = field(repr=False)
    usable_s: float
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class LeaveAlone:
    """Both ways: `registry` asked to be left alone for `seconds`."""

    registry: str
    seconds: float


@dataclass(frozen=True)
class Stop:
    """To a worker: break everything off and end."""


@dataclass(frozen=True)
class Ready:
    """From a worker: it can take jobs."""

    pid: int


@dataclass(frozen=True)
class Beat:
    """From a worker, every `BEAT_S`: it is alive; requests since the last one by kind, bytes received by job."""

    requests: dict[str, int]
    received: dict[str, int]


@dataclass(frozen=True)
class Result:
    """What became of one target: `arrival` (an `Arrival` value) or `error` (a `SyncError` as data)."""

    arrival: str | None
    bytes_moved: int
    error: dict[str, Any] | None


@dataclass(frozen=True)
class JobEnded:
    """From a worker: a job is over; `results` in the order of its targets."""

    job_id: int
    results: tuple[Result, ...]


@dataclass(frozen=True)
class AuthorizationWanted:
    """From a worker: what to send to this registry; `rejected` with `challenges` where the last one met a 401."""

    request_id: int
    endpoint: Endpoint
    repository: Repository | None
    scopes: tuple[Scope, ...]
    renew: bool = False
    rejected: str | None = field(default=None, repr=False)
    challenges: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crashed:
    """From a worker, last: a mistake of ours ended it; `text` is the traceback."""

    text: str


Message: TypeAlias = (
    Setup | LeaseJob | AuthorizationGiven | LeaveAlone | Stop | Ready | Beat | JobEnded | AuthorizationWanted | Crashed
)

_PLAIN: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (Setup, AuthorizationGiven, LeaveAlone, Stop, Ready, Beat, Crashed)
}


def encode(message: Message) -> bytes:
    """The frame of `message`."""
    data = asdict(message)
    data["type"] = type(message).__name__
    body = orjson.dumps(data)
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message in the body of a frame."""
    data = orjson.loads(body)
    name = data.pop("type")
    if name in _PLAIN:
        plain: Message = _PLAIN[name](**data)
        return plain
    return _NESTED[name](data)


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


def _repository(data: dict[str, Any]) -> Repository:
    return Repository(data["registry"], data["name"])


def _lease(data: dict[str, Any]) -> LeaseJob:
    source = data["source"]
    return LeaseJob(
        job_id=data["job_id"],
        digest=data["digest"],
        size=data["size"],
        source=Place(Endpoint(**source["endpoint"]), _repository(source["repository"])),
        targets=tuple(
            TargetPlace(Endpoint(**one["endpoint"]), _repository(one["repository"]), one["mount_from"])
            for one in data["targets"]
        ),
    )


def _ended(data: dict[str, Any]) -> JobEnded:
    return JobEnded(data["job_id"], tuple(Result(**one) for one in data["results"]))


def _wanted(data: dict[str, Any]) -> AuthorizationWanted:
    return AuthorizationWanted(
        request_id=data["request_id"],
        endpoint=Endpoint(**data["endpoint"]),
        repository=_repository(data["repository"]) if data["repository"] else None,
        scopes=tuple(Scope(one["name"], tuple(one["actions"]), one["resource"]) for one in data["scopes"]),
        renew=data["renew"],
        rejected=data["rejected"],
        challenges=tuple(data["challenges"]),
    )


_NESTED: dict[str, Callable[[dict[str, Any]], Message]] = {
    "LeaseJob": _lease,
    "JobEnded": _ended,
    "AuthorizationWanted": _wanted,
}
