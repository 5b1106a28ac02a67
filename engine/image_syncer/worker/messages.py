"""What the coordinator and a worker say to each other: typed messages; `wire.py` puts them on the socket.

Tokens travel in messages, because a socket pair is seen by nobody else; they stand in no process's arguments or
environment. What has no message here cannot be said.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

from msgspec import field

from image_syncer.net import TallyRow  # noqa: TC001 - the codec asks for the types of fields
from image_syncer.oci import Repository  # noqa: TC001 - the same
from image_syncer.planning import BlobOutcome, RetryPolicy
from image_syncer.registry import Endpoint, Scope
from image_syncer.values import Value, repr_without
from image_syncer.worker.pacing_messages import PacingMessage, Spoken

__all__ = [
    "AbandonJob",
    "AuthorizationGiven",
    "AuthorizationWanted",
    "Beat",
    "Crashed",
    "FellBehind",
    "JobEnded",
    "Learnt",
    "LeaseJob",
    "LeaveAlone",
    "Message",
    "Place",
    "Ready",
    "Setup",
    "SideBroke",
    "Stop",
    "TargetEnded",
    "TargetPlace",
    "UploadOpened",
]


EndpointData: TypeAlias = tuple[str, str, bool, str | None, int | None, str, str | None, bool, bool]
"""What `Endpoint.to_data` says of an endpoint."""

PLACES = 1024
"""Endpoints that are remembered as they were read: a lease names one for each side of each blob."""


class Place(Value, frozen=True, array_like=True):
    """A repository, and where its registry is spoken to."""

    at: EndpointData
    repository: Repository

    __repr__ = repr_without("at")  # a proxy's password may be in it

    @classmethod
    def of(cls, endpoint: Endpoint, repository: Repository) -> Place:
        """The place of `repository` at `endpoint`."""
        return cls(endpoint.to_data(), repository)

    @property
    def endpoint(self) -> Endpoint:
        """Where its registry is spoken to."""
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
        """Where the registry is spoken to."""
        return _endpoint(self.place.at)

    @property
    def repository(self) -> Repository:
        """The repository that needs the blob."""
        return self.place.repository

    @property
    def mounts(self) -> bool:
        """Whether the blob is expected to arrive by a mount from another repository, without bytes."""
        return self.mount_from != self.place.repository.name


@lru_cache(maxsize=PLACES)
def _endpoint(at: EndpointData) -> Endpoint:
    return Endpoint.from_data(*at)


class Setup(Spoken, frozen=True):
    """To a worker, first: how it works. Sizes in bytes, times in seconds.

    `streams` blobs at once go through windows of `window_bytes`; up to `small_blobs` more, of at most
    `small_blob_bytes`, are held whole. `resume` says when a broken transfer goes on from where it was, within one
    lease. The bytes of blobs from and to registries that are `metered` (see `image_syncer.planning.metered`) need an
    allowance (`BytesWanted`). `tallied` says whether requests are counted by registry and status, and timed.
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


class LeaseJob(Spoken, frozen=True):
    """To a worker: bring this blob to these places; `size` in bytes, -1 where nobody knows it yet.

    `may_split` says that a place that holds the others back may be left to another job. `mirrors` are tried before the
    source, in their order.
    """

    job_id: int
    digest: str
    size: int
    source: Place
    targets: tuple[TargetPlace, ...]
    may_split: bool = False
    mirrors: tuple[Place, ...] = ()

    @property
    def sources(self) -> tuple[Place, ...]:
        """Where the blob can be had, in the order of trial."""
        return (*self.mirrors, self.source)


class AuthorizationGiven(Spoken, frozen=True):
    """To a worker: the answer to `AuthorizationWanted`; `error` is a `SyncError` as data where there is none."""

    request_id: int
    value: str | None
    usable_s: float
    error: dict[str, Any] | None = None

    __repr__ = repr_without("value")


class LeaveAlone(Spoken, frozen=True):
    """Both ways: `registry` asked to be left alone for `seconds`."""

    registry: str
    seconds: float


class AbandonJob(Spoken, frozen=True):
    """To a worker: give the job up; `error` (a `SyncError` as data) is its result."""

    job_id: int
    error: dict[str, Any]


class Stop(Spoken, frozen=True):
    """To a worker: break everything off and end."""


class Ready(Spoken, frozen=True):
    """From a worker: it can take jobs."""

    pid: int


class Beat(Spoken, frozen=True):
    """From a worker, every `BEAT_S`: it is alive; requests since the last one by kind, bytes received by job, how many
    seconds some requests took to be answered, by registry, and by job numbers that change with every sign of progress;
    what mirrors gave, see `Mirrors.take_counts`; and where requests are tallied, `RequestTally.take`, and where each
    target of each job is in its blob.
    """

    requests: dict[str, int]
    received: dict[str, int]
    answer_s: dict[str, list[float]] = field(default_factory=dict)
    signs: dict[str, int] = field(default_factory=dict)
    mirrored: dict[str, list[int]] = field(default_factory=dict)
    tally: list[TallyRow] = field(default_factory=list)
    sent: dict[str, list[int]] = field(default_factory=dict)


class FellBehind(Spoken, frozen=True):
    """From a worker: these targets (by their numbers in the lease) held the others back, and want a job of their own.

    When the job ends, its outcomes say so again.
    """

    job_id: int
    targets: tuple[int, ...]


class UploadOpened(Spoken, frozen=True):
    """From a worker: the upload session of this target (by its number in the lease) is at `url` from now on."""

    job_id: int
    target: int
    url: str

    __repr__ = repr_without("url")


class SideBroke(Spoken, frozen=True):
    """From a worker: one side of a job broke off with `error` (a `SyncError` as data), and goes on.

    `target` is the number of the destination in the lease, None for the source; `idle` says that the side had nothing
    to do just then, because it waited for the other.
    """

    job_id: int
    target: int | None
    error: dict[str, Any]
    idle: bool


class Learnt(Spoken, frozen=True):
    """Both ways: `fact` is true of `registry`, or is not."""

    registry: str
    fact: str
    value: bool


class TargetEnded(Spoken, frozen=True):
    """From a worker: one target of a job (by its number in the lease) has an outcome, while others have none yet.

    When the job ends, its results say so again.
    """

    job_id: int
    target: int
    outcome: BlobOutcome


class JobEnded(Spoken, frozen=True):
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


class AuthorizationWanted(Spoken, frozen=True):
    """From a worker: what to send to this registry; `rejected` with `challenges` where the last one met a 401."""

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
        """Where the registry is spoken to."""
        return _endpoint(self.at)


class Crashed(Spoken, frozen=True):
    """From a worker, last: an internal error ended it; `text` is the traceback."""

    text: str


Message: TypeAlias = (
    Setup
    | LeaseJob
    | AuthorizationGiven
    | LeaveAlone
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
    | PacingMessage
)
