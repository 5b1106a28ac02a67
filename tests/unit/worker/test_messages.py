from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.errors import IntegrityError, Origin, RateLimitedError, SyncError
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import Allowance, Endpoint, Scope
from image_syncer.scheduling import Arrival, BlobOutcome
from image_syncer.worker.protocol import (
    MAX_FRAME_BYTES,
    AbandonJob,
    AllowanceReported,
    AuthorizationGiven,
    AuthorizationWanted,
    Beat,
    BytesGranted,
    BytesWanted,
    Crashed,
    FellBehind,
    FrameReader,
    JobEnded,
    Learnt,
    LeaseJob,
    Message,
    MessageChannel,
    Metering,
    Paced,
    Place,
    Ready,
    Refused,
    RegistryPause,
    RequestsGranted,
    RequestsWanted,
    Setup,
    SideBroke,
    Stop,
    TargetEnded,
    TargetPlace,
    UploadOpened,
    decode,
    encode,
)

DIGEST = digest_of(b"blob")
ENDPOINT = Endpoint("r.example:5000", "http://r.example:5000", verify=False, ca_file="/etc/ca.pem", pieces_above=2**20)
APP = Repository("r.example:5000", "team/app")
ERROR = RateLimitedError(
    "wait", origin=Origin.SOURCE, status=429, codes=("TOOMANYREQUESTS",), retry_after_s=1.5, digest=DIGEST
)

BROKEN = {"kind": "transport", "message": "reset", "side": "source", "phase": "receive"}

MESSAGES: list[Message] = [
    Setup(
        window_bytes=2**20,
        streams=16,
        small_blob_bytes=2**20,
        small_blobs=64,
        connect_timeout_s=15.0,
        stall_timeout_s=60.0,
        answer_timeout_s=300.5,
        fan_out_lag_s=5.0,
    ),
    LeaseJob(
        7,
        DIGEST,
        2**63 - 1,
        Place.of(Endpoint("docker.io", "https://registry-1.docker.io"), Repository("docker.io", "library/nginx")),
        (
            TargetPlace(Place.of(ENDPOINT, APP), "team/app"),
            TargetPlace(
                Place.of(ENDPOINT, Repository("r.example:5000", "x")),
                "team/app",
                "https://r.example:5000/v2/up?_state=1",
            ),
            TargetPlace(Place.of(ENDPOINT, APP), "team/app", absent=True),
        ),
    ),
    UploadOpened(7, 1, "https://r.example:5000/v2/up?_state=2"),
    SideBroke(7, None, BROKEN, idle=True),
    SideBroke(7, 1, BROKEN, idle=False),
    Learnt("r.example:5000", "takes uploads in pieces", value=False),
    LeaseJob(8, DIGEST, -1, Place.of(ENDPOINT, APP), (), may_split=True),
    AuthorizationGiven(1, "Bearer hunter2", 59.5),
    AuthorizationGiven(2, None, 0.0),
    AuthorizationGiven(3, None, 0.0, SyncError("denied", origin=Origin.DESTINATION).to_data()),
    RegistryPause("r.example:5000", 2.5),
    AbandonJob(7, BROKEN),
    Stop(),
    Ready(4711),
    Beat({"head manifest": 2, "put upload": 1}, {"7": 2**40}),
    Beat({}, {}),
    Beat({}, {}, {"r.example:5000": [0.002, 1.5]}, {"7": 3}),
    Beat({}, {"7": 9}, sent={"7": [4, 2**40], "8": []}),
    JobEnded(7, (BlobOutcome(Arrival.MOVED, 2**40), BlobOutcome(None, behind=True))),
    FellBehind(9, (0, 2)),
    TargetEnded(9, 1, BlobOutcome(Arrival.MOVED, 7)),
    JobEnded(9, (BlobOutcome(Arrival.MOUNTED, session_stays=True),)),
    JobEnded(8, (), {"get blob": 1}, source_waited_s=0.25, destination_waited_s=1.5, pauses=3),
    AuthorizationWanted(4, ENDPOINT.to_data(), APP, (Scope("team/app", ("push", "pull")), Scope("x", ("pull",)))),
    AuthorizationWanted(
        5,
        ENDPOINT.to_data(),
        None,
        (Scope("catalog", ("*",), "registry"),),
        renew=True,
        rejected="Bearer hunter2",
        challenges=('Bearer realm="https://t/"', "Basic"),
    ),
    Crashed("Traceback:\n  …"),
    Refused("r.example:5000", None),
    Refused("r.example:5000", 1.5),
    AllowanceReported("r.example:5000", Allowance(100.0, 21600.0, 76, None)),
    Paced("r.example:5000", paced=True),
    Metering(""),
    RequestsWanted("r.example:5000", -2),
    RequestsGranted("r.example:5000", 3),
    BytesWanted("r.example:5000", sending=True),
    BytesGranted("r.example:5000", sending=False, size=4096),
]


def test_every_message_is_tried() -> None:
    assert {type(message) for message in MESSAGES} == set(get_args(Message))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_said(message: Message) -> None:
    frame = encode(message)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    again = decode(frame[4:])
    assert again == message
    assert type(again) is type(message)
    for field in dataclasses.fields(message):
        assert type(getattr(again, field.name)) is type(getattr(message, field.name))


@given(st.lists(st.sampled_from(MESSAGES)), st.data())
def test_messages_come_in_pieces_of_any_size(messages: list[Message], data: st.DataObject) -> None:
    stream, reader, came = b"".join(map(encode, messages)), FrameReader(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        came += reader.feed(stream[:size])
        stream = stream[size:]
    assert came == messages


@given(st.sampled_from(MESSAGES), st.data())
def test_a_message_that_was_cut_off_was_not_said(message: Message, data: st.DataObject) -> None:
    frame = encode(message)
    assert FrameReader().feed(frame[: data.draw(st.integers(0, len(frame) - 1))]) == []


def test_a_broken_stream_of_messages_crashes() -> None:
    assert max(len(encode(message)) for message in MESSAGES) < MAX_FRAME_BYTES
    with pytest.raises(RuntimeError, match="the stream of messages is broken"):
        FrameReader().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))


async def open_channel() -> tuple[MessageChannel, socket.socket, list[Message]]:
    """A channel, the other end of its socket, and the messages that came."""
    ours, theirs = socket.socketpair()
    came: list[Message] = []
    channel = MessageChannel(came.append)
    await channel.connect(ours)
    return channel, theirs, came


def test_messages_follow_each_other() -> None:
    async def exchange() -> list[Message]:
        channel, other, came = await open_channel()
        with other:
            other.sendall(b"".join(map(encode, MESSAGES)))
            other.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(channel.ended, 5)
            return came

    assert asyncio.run(exchange()) == MESSAGES


def test_what_was_sent_arrives_before_the_end() -> None:
    async def exchange() -> bytes:
        channel, other, _ = await open_channel()
        with other:
            for message in MESSAGES:
                channel.send(message)
            channel.close()
            channel.send(MESSAGES[0])
            await asyncio.wait_for(channel.ended, 5)
            return b"".join(iter(lambda: other.recv(2**16), b""))

    assert FrameReader().feed(asyncio.run(exchange())) == MESSAGES


def test_a_connection_that_is_gone_has_nothing_more_to_say() -> None:
    async def exchange() -> list[Message]:
        channel, other, came = await open_channel()
        other.close()
        await asyncio.wait_for(channel.ended, 5)
        channel.send(MESSAGES[0])
        return came

    assert asyncio.run(exchange()) == []


@pytest.mark.parametrize("broken", [(MAX_FRAME_BYTES + 1).to_bytes(4, "big"), encode(Stop())])
def test_an_error_ends_the_messages(broken: bytes) -> None:
    async def exchange() -> list[Message]:
        channel, other, came = await open_channel()

        def hear(message: Message) -> None:
            if isinstance(message, Stop):
                raise RuntimeError("the stream of messages is broken")
            came.append(message)

        channel.on_message = hear
        with other:
            other.sendall(broken)
            with pytest.raises(RuntimeError, match="the stream of messages is broken"):
                await asyncio.wait_for(asyncio.shield(channel.ended), 5)
            other.sendall(encode(Ready(1)))
            await asyncio.sleep(0.05)
            return came

    assert asyncio.run(exchange()) == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"type": "Hello"}', b'{"type": "Ready"}', b'{"type": "Ready", "pid": 1, "x": 2}']
)
def test_what_has_no_message_cannot_be_said(body: bytes) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        decode(body)


@pytest.mark.parametrize("error", [ERROR, IntegrityError("wrong", digest=DIGEST, expected=DIGEST, retryable=True)])
def test_an_error_crosses_in_an_outcome(error: SyncError) -> None:
    message = decode(encode(JobEnded(1, (BlobOutcome(None, error=error, behind=True),)))[4:])
    assert isinstance(message, JobEnded)
    [outcome] = message.outcomes
    again = outcome.error
    assert again is not None
    assert outcome.behind
    assert type(again) is type(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_no_repr_shows_a_secret(message: Message) -> None:
    assert "hunter2" not in repr(message)
    assert "hunter2" not in str([message])
