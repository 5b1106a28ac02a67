from __future__ import annotations

import pytest

from image_syncer.errors import IntegrityError, Origin
from image_syncer.oci import digest_of
from image_syncer.transfer import Parcel, Signals

ABORT = 104
SIGNALS = Signals(pause_receive=101, pause_send=102, abort_send=103, abort_receive=ABORT)
BLOB = b"abcdefgh"


def parcel_of(blob: bytes = BLOB, *, senders: int = 1, room: int = 16) -> Parcel:
    return Parcel(digest_of(blob), len(blob), memoryview(bytearray(room)), senders=senders, signals=SIGNALS)


def receive(parcel: Parcel, chunk: bytes) -> int | None:
    return parcel.receive(memoryview(bytearray(chunk)))


def test_a_blob_is_whole_before_it_is_sent_to_each_destination() -> None:
    parcel = parcel_of(senders=2)
    assert [receive(parcel, b"abc"), parcel.verified, parcel.received] == [None, False, 3]
    assert [receive(parcel, b"defgh"), parcel.verified, parcel.received] == [None, True, 8]
    for sender in parcel.senders:
        assert [bytes(sender.send(5)), bytes(sender.send(5)), bytes(sender.send(5))] == [b"abcde", b"fgh", b""]
        assert sender.sent == 8


def test_it_is_sent_again_from_the_first_byte() -> None:
    parcel = parcel_of()
    receive(parcel, BLOB)
    sender = parcel.senders[0]
    sender.send(5)
    assert sender.rewind()
    assert (sender.sent, bytes(sender.send(100))) == (0, BLOB)


@pytest.mark.parametrize("chunks", [[b"abcdefgX"], [b"Xbcd", b"efgh"]])
def test_wrong_bytes_are_refused_with_the_last_chunk(chunks: list[bytes]) -> None:
    parcel = parcel_of()
    assert [receive(parcel, chunk) for chunk in chunks] == [*[None] * (len(chunks) - 1), ABORT]
    assert not parcel.verified
    assert isinstance(parcel.fault, IntegrityError)
    assert (parcel.fault.origin, parcel.fault.retryable) == (Origin.SOURCE, True)
    assert (parcel.fault.expected, parcel.fault.actual) == (digest_of(BLOB), digest_of(b"".join(chunks)))


def test_more_than_was_promised_is_refused_and_goes_nowhere() -> None:
    buffer = bytearray(16)
    parcel = Parcel(digest_of(BLOB), 8, memoryview(buffer), senders=1, signals=SIGNALS)
    receive(parcel, b"abcd")
    assert receive(parcel, b"efghi") == ABORT
    assert not parcel.verified
    assert parcel.fault is not None
    assert parcel.fault.message == "the source sends more than the 8 bytes that the manifest names"
    assert bytes(buffer) == b"abcd" + bytes(12)


def test_an_empty_blob_needs_no_download() -> None:
    assert parcel_of(b"").verified
    wrong = Parcel(digest_of(b"a"), 0, memoryview(bytearray(1)), senders=1, signals=SIGNALS)
    assert not wrong.verified
    assert wrong.fault is not None


def test_what_was_left_in_the_buffer_is_not_sent() -> None:
    buffer = bytearray(b"an older and longer blob")
    parcel = Parcel(digest_of(BLOB), 8, memoryview(buffer), senders=1, signals=SIGNALS)
    receive(parcel, BLOB)
    assert bytes(parcel.senders[0].send(100)) == BLOB


def test_the_buffer_is_given_back() -> None:
    buffer = bytearray(8)
    view = memoryview(buffer)
    parcel = Parcel(digest_of(BLOB), 8, view, senders=1, signals=SIGNALS)
    parcel.release()
    view.release()
    buffer.append(0)


def test_a_parcel_tells_how_it_stands() -> None:
    parcel = parcel_of()
    assert repr(parcel) == f"<Parcel {digest_of(BLOB).short} 0/8 incomplete>"
    receive(parcel, BLOB)
    assert repr(parcel).endswith("8/8 verified>")
