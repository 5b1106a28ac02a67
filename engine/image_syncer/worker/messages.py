"""What the coordinator and a worker say to each other: typed messages, as JSON with a length in front.

A frame is four bytes of length (big endian) and one JSON array: the name of the message, and its fields. Tokens travel
in messages, because a socket pair is seen by nobody else; they stand in no process's arguments or environment. What has
no message here cannot be said: an unknown name or a field that is missing is a mistake of ours and raises.

`LeaseJob` and `JobEnded` are said for every blob, however small, so they are written out by hand, and a place that was
read once is not built again.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from image_syncer.oci import Repository
from image_syncer.planning import RetryPolicy
from image_syncer.registry import Endpoint, Scope

__all__ = [
    "AuthorizationGiven",
    "AuthorizationWanted",
    "Beat",
    "Crashed",
    "FellBehind",
    "JobEnded",
    "LeaseJob",
    "LeaveAlone",
    "Message",
    "Place",
    "Ready",
    "Result",
    "Setup",
    "Stop",
    "TargetEnded",
    "TargetPlace",
    "decode",
    "encode",
    "read_message",
]

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 2**20
"""No message comes near it; a length beyond it means that the stream is broken."""
PLACES = 1024
"""Places that are remembered as they were read."""


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

    @property
    def mounts(self) -> bool:
        """Whether the blob is expected to arrive by a mount from another repository, without bytes."""
        return self.mount_from != self.repository.name


@dataclass(frozen=True)
class Setup:
    """To a worker, first: how it works. Sizes in bytes, times in seconds.

    `streams` blobs at once go through windows of `window_bytes`; up to `parcels` more, of at most `parcel_bytes`, are
    held whole. `resume` says when a broken transfer goes on from where it was, within one lease.
    """

    window_bytes: int
    streams: int
    parcel_bytes: int
    parcels: int
    connect_timeout_s: float
    stall_timeout_s: float
    answer_timeout_s: float
    fan_out_lag_s: float
    resume: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True)
class LeaseJob:
    """To a worker: bring this blob to these places; `size` in bytes, -1 where nobody knows it yet.

    `may_split` says that a place that holds the others back may be left to another job.
    """

    job_id: int
    digest: str
    size: int
    source: Place
    targets: tuple[TargetPlace, ...]
    may_split: bool = False


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
    """What became of one target: `arrival` (an `Arrival` value) or `error` (a `SyncError` as data).

    Where it was `behind` nothing is wrong with it but its speed, and it wants a job of its own.
    """

    arrival: str | None
    bytes_moved: int
    error: dict[str, Any] | None
    behind: bool = False


@dataclass(frozen=True)
class FellBehind:
    """From a worker: these targets (by their numbers in the lease) held the others back, and want a job of their own.

    When the job ends, their results say so again.
    """

    job_id: int
    targets: tuple[int, ...]


@dataclass(frozen=True)
class TargetEnded:
    """From a worker: one target of a job (by its number in the lease) has an outcome, while others have none yet.

    When the job ends, its results say so again.
    """

    job_id: int
    target: int
    result: Result


@dataclass(frozen=True)
class JobEnded:
    """From a worker: a job is over; `results` in the order of its targets, `requests` as in a `Beat`.

    `source_waited_s` and `destination_waited_s` are how long each side was paused because the other was slower (of
    several destinations, the one that waited longest), `pauses` how often.
    """

    job_id: int
    results: tuple[Result, ...]
    requests: dict[str, int] = field(default_factory=dict)
    source_waited_s: float = 0.0
    destination_waited_s: float = 0.0
    pauses: int = 0


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
    Setup
    | LeaseJob
    | AuthorizationGiven
    | LeaveAlone
    | Stop
    | Ready
    | Beat
    | FellBehind
    | TargetEnded
    | JobEnded
    | AuthorizationWanted
    | Crashed
)

_PLAIN: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (AuthorizationGiven, LeaveAlone, Stop, Ready, Beat, FellBehind, Crashed)
}


def encode(message: Message) -> bytes:
    """The frame of `message`."""
    if isinstance(message, LeaseJob):
        body = orjson.dumps(_lease_data(message))
    elif isinstance(message, JobEnded):
        body = orjson.dumps(_ended_data(message))
    else:
        body = orjson.dumps((type(message).__name__, asdict(message)))
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message in the body of a frame."""
    name, *fields = orjson.loads(body)
    if name == "LeaseJob":
        return _lease(*fields)
    if name == "JobEnded":
        return _ended(*fields)
    (data,) = fields
    if name == "Setup":
        return Setup(**{**data, "resume": RetryPolicy.from_data(data["resume"])})
    if name == "TargetEnded":
        return TargetEnded(data["job_id"], data["target"], Result(**data["result"]))
    if name == "FellBehind":
        return FellBehind(data["job_id"], tuple(data["targets"]))
    if name == "AuthorizationWanted":
        return _wanted(data)
    plain: Message = _PLAIN[name](**data)
    return plain


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


def _lease_data(lease: LeaseJob) -> tuple[Any, ...]:
    return (
        "LeaseJob",
        lease.job_id,
        lease.digest,
        lease.size,
        _place_data(lease.source.endpoint, lease.source.repository),
        [(_place_data(target.endpoint, target.repository), target.mount_from) for target in lease.targets],
        lease.may_split,
    )


def _lease(job_id: int, digest: str, size: int, source: list[Any], targets: list[Any], may_split: bool) -> LeaseJob:
    places = []
    for where, mount_from in targets:
        place = _place(*where)
        places.append(TargetPlace(place.endpoint, place.repository, mount_from))
    return LeaseJob(job_id, digest, size, _place(*source), tuple(places), may_split)


def _ended_data(ended: JobEnded) -> tuple[Any, ...]:
    return (
        "JobEnded",
        ended.job_id,
        [(result.arrival, result.bytes_moved, result.error, result.behind) for result in ended.results],
        ended.requests,
        ended.source_waited_s,
        ended.destination_waited_s,
        ended.pauses,
    )


def _ended(job_id: int, results: list[Any], *rest: Any) -> JobEnded:
    return JobEnded(job_id, tuple(Result(*one) for one in results), *rest)


def _place_data(endpoint: Endpoint, repository: Repository) -> tuple[Any, ...]:
    return (
        endpoint.registry,
        endpoint.base_url,
        endpoint.verify,
        endpoint.ca_file,
        repository.registry,
        repository.name,
    )


@lru_cache(maxsize=PLACES)
def _place(endpoint_registry: str, base_url: str, verify: bool, ca_file: str | None, registry: str, name: str) -> Place:
    return Place(Endpoint(endpoint_registry, base_url, verify, ca_file), Repository(registry, name))


def _wanted(data: dict[str, Any]) -> AuthorizationWanted:
    repository = data["repository"]
    return AuthorizationWanted(
        request_id=data["request_id"],
        endpoint=Endpoint(**data["endpoint"]),
        repository=Repository(repository["registry"], repository["name"]) if repository else None,
        scopes=tuple(Scope(one["name"], tuple(one["actions"]), one["resource"]) for one in data["scopes"]),
        renew=data["renew"],
        rejected=data["rejected"],
        challenges=tuple(data["challenges"]),
    )
