from __future__ import annotations

import pytest

from image_syncer.errors import IntegrityError, Origin
from image_syncer.oci import Digest, digest_of
from image_syncer.transfer.stream import PIECE_BYTES, Signals, Stream, too_short
from support.digests import EMPTY_DIGEST

PAUSE_RECEIVE, PAUSE_SEND, ABORT_SEND, ABORT_RECEIVE = 101, 102, 103, 104
SIGNALS = Signals(
    pause_receive=PAUSE_RECEIVE, pause_send=PAUSE_SEND, abort_send=ABORT_SEND, abort_receive=ABORT_RECEIVE
)


class Due:
    """Counts how often the driver was told that there is something to do."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def stream_of(
    blob: bytes,
    *,
    room: int = 8,
    senders: int = 1,
    digest: Digest | None = None,
    due: Due | None = None,
    clock: Clock | None = None,
) -> Stream:
    return Stream(
        digest or digest_of(blob),
        len(blob),
        bytearray(room),
        senders=senders,
        signals=SIGNALS,
        on_due=due or Due(),
        clock=clock or Clock(),
    )


def receive(stream: Stream, chunk: bytes) -> int | None:
    return stream.receive(memoryview(chunk))


def sent(stream: Stream, most: int = 100, sender: int = 0) -> bytes | int:
    answer = stream.senders[sender].send(most)
    return answer if isinstance(answer, int) else bytes(answer)


def test_a_blob_goes_through() -> None:
    due = Due()
    stream = stream_of(b"abcdefgh12", due=due)
    assert stream.piece == 4
    assert sent(stream) == PAUSE_SEND
    assert receive(stream, b"abc") is None
    assert (due.times, stream.attend()) == (0, (False, []))  # less than a piece wakes nobody
    assert receive(stream, b"d") is None
    assert due.times == 1
    assert receive(stream, b"e") is None
    assert stream.attend() == (False, [0])
    assert sent(stream, 4) == b"abcd"
    assert sent(stream) == PAUSE_SEND
    assert receive(stream, b"fgh12") is None
    assert (stream.verified, stream.received, due.times) == (True, 10, 2)
    assert stream.attend() == (False, [0])
    assert [sent(stream), sent(stream)] == [b"efgh", b"12"]
    assert stream.senders[0].sent == 10
    assert stream.fault is None


def test_a_piece_is_never_more_than_half_of_the_ring() -> None:
    assert stream_of(b"a", room=1).piece == 1
    assert stream_of(b"a" * 100, room=2**16).piece == 2**15
    assert stream_of(b"a" * 100, room=2**20).piece == PIECE_BYTES == 2**18


def test_a_chunk_for_which_there_is_no_room_is_given_again() -> None:
    due = Due()
    blob = b"abcdefgh1234"
    stream = stream_of(blob, due=due)
    assert receive(stream, b"abcd") is None
    assert receive(stream, b"efgh") is None
    assert receive(stream, b"1234") == PAUSE_RECEIVE
    assert (stream.blocked, stream.received, due.times) == (True, 8, 0)
    assert sent(stream, 2) == b"ab"
    assert due.times == 0  # the ring is not yet half empty
    assert sent(stream, 2) == b"cd"
    assert due.times == 1
    assert stream.attend() == (True, [])
    assert not stream.blocked
    assert receive(stream, b"1234") is None
    assert stream.verified  # the chunk was hashed once
    assert [sent(stream), sent(stream)] == [b"efgh", b"1234"]


def test_the_driver_is_told_once_until_it_attends() -> None:
    due = Due()
    stream = stream_of(b"abcdefgh", senders=2, due=due)
    assert [sent(stream, sender=sender) for sender in (0, 1)] == [PAUSE_SEND, PAUSE_SEND]
    receive(stream, b"abcd")
    receive(stream, b"ef")
    receive(stream, b"gh")
    assert due.times == 1
    assert stream.attend() == (False, [0, 1])
    assert stream.attend() == (False, [])


def test_what_becomes_ready_while_the_driver_is_told_already_is_attended_too() -> None:
    stream = stream_of(b"abcdefgh1234")
    assert sent(stream) == PAUSE_SEND
    receive(stream, b"abcd")  # tells the driver
    receive(stream, b"efgh")
    assert receive(stream, b"12") == PAUSE_RECEIVE
    assert sent(stream, 4) == b"abcd"
    assert stream.attend() == (True, [0])


@pytest.mark.parametrize("chunks", [[b"abcd", b"efgX"], [b"abcdefgX"], [b"Xbcdefgh"], [b"Xbcd", b"efgh"]])
def test_wrong_bytes_never_have_a_last_one(chunks: list[bytes]) -> None:
    due = Due()
    stream = stream_of(b"abcdefgh", due=due)
    answers = [receive(stream, chunk) for chunk in chunks]
    assert answers == [*[None] * (len(chunks) - 1), ABORT_RECEIVE]
    assert due.times == 1
    assert not stream.verified
    assert stream.received == 8
    given = b"".join(iter(lambda: sent(stream, 1), PAUSE_SEND))
    assert len(given) < 8
    assert given == b"".join(chunks)[: len(given)]
    error = stream.fault
    assert isinstance(error, IntegrityError)
    assert (error.origin, error.retryable, error.digest) == (Origin.SOURCE, True, digest_of(b"abcdefgh"))
    assert (error.expected, error.actual) == (digest_of(b"abcdefgh"), digest_of(b"".join(chunks)))


def test_more_than_was_promised_is_refused_before_the_last_byte() -> None:
    stream = stream_of(b"abcdefgh")
    assert receive(stream, b"abcd") is None
    assert receive(stream, b"efghi") == ABORT_RECEIVE
    assert stream.received == 4
    assert stream.fault is not None
    assert stream.fault.message == "the source sends more than the 8 bytes that the manifest names"
    assert (stream.fault.expected, stream.fault.actual) == ("8 bytes", None)


def test_what_comes_after_a_right_blob_changes_nothing_about_it() -> None:
    stream = stream_of(b"abcdefgh")
    assert receive(stream, b"abcdefgh") is None
    assert receive(stream, b"i") == ABORT_RECEIVE
    assert stream.verified
    assert sent(stream) == b"abcdefgh"


def test_a_source_that_ends_early_falls_short() -> None:
    error = too_short(digest_of(b"abcdefgh"), 8, 6)
    assert error.message == "the source ended the blob after 6 of 8 bytes"
    assert (error.expected, error.actual, error.retryable) == ("8 bytes", "6 bytes", True)


def test_a_download_that_broke_while_it_stood_goes_on_where_it_was() -> None:
    clock = Clock()
    stream = stream_of(b"abcdefgh1234", clock=clock)
    receive(stream, b"abcdefgh")
    assert receive(stream, b"1234") == PAUSE_RECEIVE
    clock.now = 2.0
    assert stream.was_idle()
    stream.begin_receiving()
    assert (stream.blocked, stream.waited_s, stream.received) == (False, 2.0, 8)
    assert stream.was_idle()  # until just now
    clock.now = 4.0
    assert not stream.was_idle()
    assert sent(stream) == b"abcdefgh"
    assert receive(stream, b"1234") is None
    assert stream.verified


def with_checkpoints(stream: Stream, spacing: int) -> Stream:
    stream._spacing = stream._checkpoint_at = spacing
    return stream


def test_bytes_that_the_ring_no_longer_has_come_again_from_the_last_checkpoint_before_them() -> None:
    blob = b"abcdefgh12345678xyz"
    stream = with_checkpoints(stream_of(blob, senders=2), 8)
    for begin in (0, 4, 8, 12):
        receive(stream, blob[begin : begin + 4])
        assert sent(stream) == sent(stream, sender=1) == blob[begin : begin + 4]
    assert not stream.senders[0].seek(7)
    assert [stream.read_again_from(position) for position in (0, 7, 8, 16)] == [0, 0, 8, 16]
    stream.rewind(9)
    stream.senders[0].skip(9)
    assert stream.received == 8
    receive(stream, b"1234")
    assert sent(stream) == b"234"
    assert sent(stream, sender=1) == PAUSE_SEND  # it has these
    receive(stream, b"5678")
    assert sent(stream) == b"5678"
    receive(stream, b"xyz")
    assert stream.verified
    assert sent(stream) == sent(stream, sender=1) == b"xyz"


def test_a_verified_blob_that_is_read_again_has_to_be_verified_again() -> None:
    blob = b"abcdefgh1234"
    stream = stream_of(blob)
    receive(stream, b"abcdefgh")
    sent(stream)
    receive(stream, b"1234")
    assert stream.verified
    stream.rewind(0)
    stream.senders[0].skip(0)
    assert (stream.verified, stream.received) == (False, 0)
    receive(stream, b"abcdefgh")
    assert sent(stream) == b"abcdefgh"
    assert receive(stream, b"1235") == ABORT_RECEIVE
    assert sent(stream) == PAUSE_SEND


def test_other_bytes_the_second_time_are_a_fault_although_the_whole_is_right() -> None:
    blob = b"abcdefgh1234xyz-"
    stream = with_checkpoints(stream_of(blob), 4)
    receive(stream, b"abcd")
    receive(stream, b"WRONG-12"[:4])
    assert sent(stream) == b"abcdWRON"  # nobody can know yet
    receive(stream, b"1234")
    sent(stream)
    stream.rewind(6)
    receive(stream, b"ef")
    assert stream.fault is None
    assert receive(stream, b"gh") is None
    assert receive(stream, b"1234") == ABORT_RECEIVE
    assert stream.fault is not None
    assert "other bytes than before" in stream.fault.message
    assert receive(stream, b"xyz-") == ABORT_RECEIVE
    assert not stream.verified


def test_states_of_the_hash_are_bounded_whatever_the_size() -> None:
    stream = Stream(digest_of(b""), 10 * 2**30, bytearray(8), senders=1, signals=SIGNALS, on_due=Due(), clock=Clock())
    assert stream._spacing == 40 * 2**20


def test_a_request_takes_its_part_and_no_more() -> None:
    stream = stream_of(b"abcdefgh")
    sender = stream.senders[0]
    receive(stream, b"abcdefgh")
    sender.aim(3)
    assert [sent(stream, 2), sent(stream), sent(stream)] == [b"ab", b"c", b""]
    sender.aim(8)
    assert sent(stream) == b"defgh"
    assert sender.rewind()
    assert sender.sent == 3


def test_a_destination_that_has_a_part_already_waits_until_the_source_has_come_so_far() -> None:
    due = Due()
    stream = stream_of(b"abcdefgh1234", due=due)
    sender = stream.senders[0]
    sender.skip(8)
    assert sender.wait()
    receive(stream, b"abcd")
    assert stream.attend() == (False, [])
    receive(stream, b"efgh")
    receive(stream, b"1234")
    assert stream.attend() == (False, [0])
    assert not sender.wait()
    assert sent(stream) == b"1234"


def test_a_download_that_stood_for_long_goes_on_with_less_room() -> None:
    clock, due = Clock(), Due()
    stream = stream_of(bytes(40), room=16, due=due, clock=clock)
    stream.piece = 2
    receive(stream, bytes(16))
    assert receive(stream, bytes(4)) == PAUSE_RECEIVE
    sent(stream, 4)
    stream.hurry(0.5)
    assert stream.attend() == (False, [])
    stream.hurry(1.0)
    assert stream.attend() == (True, [])
    receive(stream, bytes(4))
    assert receive(stream, bytes(4)) == PAUSE_RECEIVE
    sent(stream, 4)
    assert stream.attend() == (False, [])  # and the next time it has patience again


def test_an_empty_blob_is_verified_before_it_came() -> None:
    due = Due()
    stream = stream_of(b"", room=1, due=due)
    assert (stream.verified, stream.fault, due.times) == (True, None, 0)
    assert sent(stream) == b""


def test_an_empty_blob_with_another_digest_is_a_fault() -> None:
    due = Due()
    stream = stream_of(b"", room=1, digest=digest_of(b"a"), due=due)
    assert not stream.verified
    assert due.times == 1
    assert stream.fault is not None
    assert stream.fault.actual == EMPTY_DIGEST


def test_sha512_is_understood() -> None:
    stream = stream_of(b"abcd", digest=digest_of(b"abcd", "sha512"))
    assert receive(stream, b"abcd") is None
    assert stream.verified


def test_a_destination_that_is_given_up_holds_nobody_back() -> None:
    due = Due()
    stream = stream_of(b"abcdefgh12345678", senders=2, due=due)
    receive(stream, b"abcdefgh")
    assert receive(stream, b"1234") == PAUSE_RECEIVE
    assert sent(stream, sender=0) == b"abcdefgh"
    assert due.times == 0
    stream.stop_sender(1)
    assert due.times == 1
    assert sent(stream, sender=1) == ABORT_SEND
    assert stream.attend() == (True, [])


def test_a_destination_that_is_given_up_while_it_waits_wakes_the_driver_no_more() -> None:
    due = Due()
    stream = stream_of(b"abcdefgh12345678", senders=2, due=due)
    assert sent(stream, sender=1) == PAUSE_SEND
    stream.stop_sender(1)
    for chunk in (b"abcd", b"efgh", b"1234"):
        receive(stream, chunk)
        assert sent(stream, sender=0) == chunk
    stream.hurry(0.0)
    assert due.times == 0


def test_a_slow_source_does_not_starve_an_upload() -> None:
    due = Due()
    stream = stream_of(b"abcdefgh", senders=2, due=due)
    assert sent(stream, sender=0) == PAUSE_SEND
    stream.hurry(0.0)
    assert due.times == 0  # there is nothing to send
    receive(stream, b"ab")
    stream.hurry(0.0)
    assert due.times == 1
    assert stream.attend() == (False, [0])
    assert sent(stream, sender=0) == b"ab"
    receive(stream, b"c")
    assert sent(stream, sender=0) == PAUSE_SEND  # it was hurried once
    assert sent(stream, sender=1) == b"ab"
    assert sent(stream, sender=1) == PAUSE_SEND


def test_an_upload_that_loses_its_connection_begins_again_while_the_ring_has_the_beginning() -> None:
    stream = stream_of(b"abcdefgh12", senders=2)
    receive(stream, b"abcdefgh")
    assert sent(stream, 6) == b"abcdef"
    assert stream.senders[0].rewind()
    assert stream.senders[0].sent == 0
    assert [sent(stream), sent(stream, sender=1)] == [b"abcdefgh", b"abcdefgh"]
    receive(stream, b"12")
    assert not stream.senders[0].rewind()
    assert [sent(stream), sent(stream, sender=1)] == [b"12", b"12"]


def test_an_upload_that_was_given_up_does_not_begin_again() -> None:
    stream = stream_of(b"abcdefgh")
    receive(stream, b"abcd")
    stream.stop_sender(0)
    assert not stream.senders[0].rewind()


def test_a_stream_tells_how_it_stands() -> None:
    blob = b"abcdefgh1234"
    stream = stream_of(blob)
    short = digest_of(blob).short
    assert repr(stream).startswith(f"<Stream {short} 0/12 flowing <Ring 0 written")
    receive(stream, b"abcdefgh")
    receive(stream, b"1234")
    assert repr(stream).startswith(f"<Stream {short} 8/12 blocked <Ring")
    sent(stream)
    receive(stream, b"1234")
    assert repr(stream).startswith(f"<Stream {short} 12/12 verified <Ring")
    receive(stream, b"5")
    faulty = stream_of(b"a")
    receive(faulty, b"b")
    assert "1/1 faulty" in repr(faulty)


def test_each_side_counts_how_long_it_waited_for_the_other() -> None:
    clock = Clock()
    stream = stream_of(b"abcdefgh1234", senders=2, clock=clock)
    sender = stream.senders[0]
    assert sent(stream) == PAUSE_SEND
    clock.now = 1.5
    receive(stream, b"abcdefgh")
    assert stream.attend() == (False, [0])
    assert (sender.waited_s, sender.pauses) == (1.5, 1)
    assert receive(stream, b"1234") == PAUSE_RECEIVE
    clock.now = 4.0
    sent(stream)
    sent(stream, sender=1)
    assert stream.attend() == (True, [])
    assert (stream.waited_s, stream.pauses) == (2.5, 1)
    assert (stream.senders[1].waited_s, stream.senders[1].pauses) == (0.0, 0)


def test_a_ring_that_is_full_publishes_what_is_no_whole_piece() -> None:
    stream = stream_of(b"abcdefgh1234", room=8)
    receive(stream, b"abcd")
    receive(stream, b"ef")
    assert sent(stream, 4) == b"abcd"
    receive(stream, b"g")
    assert receive(stream, b"h1234678"[:5]) is None
    assert sent(stream) == b"efgh"
    assert sent(stream) == b"1234"


def test_the_buffer_is_given_back() -> None:
    buffer = bytearray(8)
    stream = Stream(digest_of(b"a"), 1, buffer, senders=1, signals=SIGNALS, on_due=Due(), clock=Clock())
    stream.release()
    buffer.append(0)
