"""Messages on the socket between coordinator and worker: JSON with a length in front.

A frame is four bytes of length (big endian) and one JSON array: the name of the message, and its fields. An unknown
name or a field that is missing is a mistake of ours and raises.

`LeaseJob` and `JobEnded` are said for every blob, however small, so they are written out by hand, and a place that was
read once is not built again.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import orjson

from image_syncer.oci import Repository
from image_syncer.planning import RetryPolicy
from image_syncer.registry import Endpoint, Scope
from image_syncer.worker.messages import (
    AbandonJob,
    AuthorizationGiven,
    AuthorizationWanted,
    Beat,
    Crashed,
    FellBehind,
    JobEnded,
    Learnt,
    LeaseJob,
    LeaveAlone,
    Message,
    Place,
    Ready,
    Result,
    Setup,
    SideBroke,
    Stop,
    TargetEnded,
    TargetPlace,
    UploadOpened,
)
from image_syncer.worker.pacing_messages import (
    AllowanceTold,
    BytesGiven,
    BytesWanted,
    Metering,
    Paced,
    Refused,
    TurnsGiven,
    TurnsWanted,
)

__all__ = ["decode", "encode", "read_message"]

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 2**20
"""No message comes near it; a length beyond it means that the stream is broken."""
PLACES = 1024
"""Places that are remembered as they were read."""

_PLAIN: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        AuthorizationGiven,
        LeaveAlone,
        AbandonJob,
        Stop,
        Ready,
        Beat,
        FellBehind,
        UploadOpened,
        SideBroke,
        Learnt,
        Crashed,
        Refused,
        AllowanceTold,
        Paced,
        TurnsWanted,
        TurnsGiven,
        BytesWanted,
        BytesGiven,
        Metering,
    )
}


def encode(message: Message) -> bytes:
    """The frame of `message`."""
    if isinstance(message, LeaseJob):
        body = orjson.dumps(_lease_data(message))
    elif isinstance(message, JobEnded):
        body = orjson.dumps(_ended_data(message))
    elif isinstance(message, AuthorizationWanted):
        body = orjson.dumps(("AuthorizationWanted", {**asdict(message), "endpoint": message.endpoint.to_data()}))
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
        resume, metered = RetryPolicy.from_data(data["resume"]), tuple(data["metered"])
        return Setup(**{**data, "resume": resume, "metered": metered})
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
        [
            (_place_data(target.endpoint, target.repository), target.mount_from, target.session, target.absent)
            for target in lease.targets
        ],
        lease.may_split,
        [_place_data(mirror.endpoint, mirror.repository) for mirror in lease.mirrors],
    )


def _lease(
    job_id: int,
    digest: str,
    size: int,
    source: list[Any],
    targets: list[Any],
    may_split: bool,
    mirrors: list[list[Any]],
) -> LeaseJob:
    places = []
    for where, *rest in targets:
        place = _place(*where)
        places.append(TargetPlace(place.endpoint, place.repository, *rest))
    sources = tuple(_place(*mirror) for mirror in mirrors)
    return LeaseJob(job_id, digest, size, _place(*source), tuple(places), may_split, sources)


def _ended_data(ended: JobEnded) -> tuple[Any, ...]:
    return (
        "JobEnded",
        ended.job_id,
        [
            (result.arrival, result.bytes_moved, result.error, result.behind, result.session_stays)
            for result in ended.results
        ],
        ended.requests,
        ended.source_waited_s,
        ended.destination_waited_s,
        ended.pauses,
        ended.mirrored,
        ended.tally,
    )


def _ended(job_id: int, results: list[Any], *rest: Any) -> JobEnded:
    return JobEnded(job_id, tuple(Result(*one) for one in results), *rest)


def _place_data(endpoint: Endpoint, repository: Repository) -> tuple[Any, ...]:
    return (*endpoint.to_data(), repository.registry, repository.name)


@lru_cache(maxsize=PLACES)
def _place(*data: Any) -> Place:
    *endpoint, registry, name = data
    return Place(Endpoint.from_data(*endpoint), Repository(registry, name))


def _wanted(data: dict[str, Any]) -> AuthorizationWanted:
    repository = data["repository"]
    return AuthorizationWanted(
        request_id=data["request_id"],
        endpoint=Endpoint.from_data(*data["endpoint"]),
        repository=Repository(repository["registry"], repository["name"]) if repository else None,
        scopes=tuple(Scope(one["name"], tuple(one["actions"]), one["resource"]) for one in data["scopes"]),
        renew=data["renew"],
        rejected=data["rejected"],
        challenges=tuple(data["challenges"]),
    )
