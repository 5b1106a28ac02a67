from __future__ import annotations

import pytest

from image_syncer.errors import IntegrityError, Origin
from image_syncer.oci import digest_of
from image_syncer.transfer.stream import Signals, SmallBlob

ABORT = 104
SIGNALS = Signals(pause_receive=101, pause_send=102, abort_send=103, abort_receive=ABORT)
BLOB = b"abcdefgh"


def small_blob_of(blob: bytes = BLOB, *, senders: int = 1, room: int = 16) -> SmallBlob:
    return SmallBlob(digest_of(blob), len(blob), memoryview(bytearray(room)), senders=senders, signals=SIGNALS)


def receive(small_blob: SmallBlob, chunk: bytes) -> int | None:
    return small_blob.receive(memoryview(bytearray(chunk)))


def test_a_blob_is_whole_before_it_is_sent_to_each_destination() -> None:
    small_blob = small_blob_of(senders=2)
    assert [receive(small_blob, b"abc"), small_blob.verified, small_blob.received] == [None, False, 3]
    assert [receive(small_blob, b"defgh"), small_blob.verified, small_blob.received] == [None, True, 8]
    for sender in small_blob.senders:
        assert [bytes(sender.send(5)), bytes(sender.send(5)), bytes(sender.send(5))] == [b"abcde", b"fgh", b""]
        assert sender.sent == 8


def test_it_is_sent_again_from_the_first_byte() -> None:
    small_blob = small_blob_of()
    receive(small_blob, BLOB)
    sender = small_blob.senders[0]
    sender.send(5)
    assert sender.rewind()
    assert (sender.sent, bytes(sender.send(100))) == (0, BLOB)


@pytest.mark.parametrize("chunks", [[b"abcdefgX"], [b"Xbcd", b"efgh"]])
def test_wrong_bytes_are_refused_with_the_last_chunk(chunks: list[bytes]) -> None:
    small_blob = small_blob_of()
    assert [receive(small_blob, chunk) for chunk in chunks] == [*[None] * (len(chunks) - 1), ABORT]
    assert not small_blob.verified
    assert isinstance(small_blob.fault, IntegrityError)
    assert (small_blob.fault.origin, small_blob.fault.retryable) == (Origin.SOURCE, True)
    assert (small_blob.fault.expected, small_blob.fault.actual) == (digest_of(BLOB), digest_of(b"".join(chunks)))


def test_more_than_was_promised_is_refused_and_goes_nowhere() -> None:
    buffer = bytearray(16)
    small_blob = SmallBlob(digest_of(BLOB), 8, memoryview(buffer), senders=1, signals=SIGNALS)
    receive(small_blob, b"abcd")
    assert receive(small_blob, b"efghi") == ABORT
    assert not small_blob.verified
    assert small_blob.fault is not None
    assert small_blob.fault.message == "the source sends more than the 8 bytes that the manifest names"
    assert bytes(buffer) == b"abcd" + bytes(12)


def test_an_empty_blob_needs_no_download() -> None:
    assert small_blob_of(b"").verified
    wrong = SmallBlob(digest_of(b"a"), 0, memoryview(bytearray(1)), senders=1, signals=SIGNALS)
    assert not wrong.verified
    assert wrong.fault is not None


def test_what_was_left_in_the_buffer_is_not_sent() -> None:
    buffer = bytearray(b"an older and longer blob")
    small_blob = SmallBlob(digest_of(BLOB), 8, memoryview(buffer), senders=1, signals=SIGNALS)
    receive(small_blob, BLOB)
    assert bytes(small_blob.senders[0].send(100)) == BLOB


def test_the_buffer_is_given_back() -> None:
    buffer = bytearray(8)
    view = memoryview(buffer)
    small_blob = SmallBlob(digest_of(BLOB), 8, view, senders=1, signals=SIGNALS)
    small_blob.release()
    view.release()
    buffer.append(0)


def test_a_parcel_tells_how_it_stands() -> None:
    small_blob = small_blob_of()
    assert repr(small_blob) == f"<SmallBlob {digest_of(BLOB).short} 0/8 incomplete>"
    receive(small_blob, BLOB)
    assert repr(small_blob).endswith("8/8 verified>")
