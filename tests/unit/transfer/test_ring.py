from __future__ import annotations

import pytest

from image_syncer.transfer.ring import Ring


def put(ring: Ring, chunk: bytes | memoryview) -> None:
    assert ring.try_put(chunk, len(chunk))
    ring.publish(0)


def test_bytes_come_out_as_they_went_in() -> None:
    ring = Ring(bytearray(8))
    put(ring, b"abcde")
    assert (ring.capacity, ring.free, ring.written, ring.readable(0), ring.taken(0)) == (8, 3, 5, 5, 0)
    assert bytes(ring.take(0, 3)) == b"abc"
    assert (ring.free, ring.written, ring.readable(0), ring.taken(0)) == (6, 5, 2, 3)
    assert bytes(ring.take(0, 9)) == b"de"
    assert bytes(ring.take(0, 9)) == b""


def test_what_is_not_published_is_hidden() -> None:
    ring = Ring(bytearray(4))
    assert ring.try_put(b"abc", 3)
    assert (ring.written, ring.published, ring.free, ring.readable(0)) == (3, 0, 1, 0)
    assert bytes(ring.take(0, 9)) == b""
    assert [bytes(view) for view in ring.hidden()] == [b"abc"]
    ring.publish(0)
    assert bytes(ring.take(0, 9)) == b"abc"
    assert ring.try_put(b"defg", 4)
    assert [bytes(view) for view in ring.hidden()] == [b"d", b"efg"]


def test_a_wrap_ends_a_view_early() -> None:
    ring = Ring(bytearray(4))
    put(ring, b"abc")
    ring.take(0, 2)
    put(ring, memoryview(b"def"))
    assert ring.free == 0
    assert [bytes(ring.take(0, 9)) for _ in range(3)] == [b"cd", b"ef", b""]


def test_the_slowest_reader_decides_how_much_room_there_is() -> None:
    ring = Ring(bytearray(4), readers=2)
    put(ring, b"abcd")
    ring.take(0, 4)
    assert ring.free == 0
    ring.take(1, 1)
    assert ring.free == 1
    ring.close_reader(1)
    ring.close_reader(1)
    assert ring.free == 4


def test_without_an_open_reader_nothing_is_held_back() -> None:
    ring = Ring(bytearray(4), readers=2)
    put(ring, b"abc")
    ring.close_reader(0)
    ring.close_reader(1)
    for _ in range(3):
        put(ring, b"defg")
        assert ring.free == 4


def test_what_does_not_fit_is_refused_whole() -> None:
    ring = Ring(bytearray(4))
    put(ring, b"ab")
    assert not ring.try_put(b"cde", 3)
    assert bytes(ring.take(0, 9)) == b"ab"


def test_a_closed_reader_gets_nothing() -> None:
    ring = Ring(bytearray(4), readers=2)
    put(ring, b"ab")
    ring.close_reader(0)
    with pytest.raises(RuntimeError, match="reader 0 is closed"):
        ring.take(0, 1)


def test_a_reader_begins_again_while_the_beginning_is_there() -> None:
    ring = Ring(bytearray(4), readers=2)
    put(ring, b"abc")
    ring.take(0, 3)
    ring.take(1, 3)
    assert ring.seek(0, 0)
    assert (ring.free, ring.readable(0), ring.readable(1)) == (1, 3, 0)
    put(ring, b"d")
    assert bytes(ring.take(0, 9)) == b"abcd"
    ring.take(1, 1)
    put(ring, b"e")
    assert not ring.seek(0, 0)
    assert (ring.taken(0), ring.readable(0)) == (4, 1)


def test_a_closed_reader_cannot_begin_again() -> None:
    ring = Ring(bytearray(4), readers=2)
    put(ring, b"ab")
    ring.close_reader(0)
    assert not ring.seek(0, 0)


def test_a_reader_goes_back_to_any_place_that_is_still_there() -> None:
    ring = Ring(bytearray(4))
    put(ring, b"abcd")
    ring.take(0, 4)
    put(ring, b"ef")
    assert not ring.seek(0, 1)  # overwritten
    assert ring.seek(0, 3)
    assert bytes(ring.take(0, 9)) == b"d"
    assert bytes(ring.take(0, 9)) == b"ef"
    assert not ring.seek(0, 7)  # never there
    assert ring.seek(0, 6)


def test_the_writer_goes_back_and_a_reader_that_is_ahead_waits() -> None:
    ring = Ring(bytearray(4), readers=2)
    put(ring, b"abcd")
    ring.take(0, 4)
    ring.take(1, 1)
    ring.begin_at(1, 4)
    assert (ring.written, ring.published, ring.free) == (1, 1, 4)
    assert (ring.readable(0), ring.readable(1)) == (-3, 0)
    assert not ring.seek(1, 0)  # what lies before is gone
    put(ring, b"bc")
    assert bytes(ring.take(0, 9)) == b""
    assert bytes(ring.take(1, 9)) == b"bc"
    put(ring, b"de")
    assert bytes(ring.take(0, 9)) == b"e"
    assert ring.taken(0) == 5


def test_readers_that_are_ahead_do_not_hold_the_writer_back() -> None:
    ring = Ring(bytearray(4))
    ring.skip(0, 10)
    for chunk in (b"abcd", b"efgh", b"ij"):
        put(ring, chunk)
    assert bytes(ring.take(0, 9)) == b""
    put(ring, b"kl")
    assert bytes(ring.take(0, 9)) == b"kl"


def test_a_ring_needs_room() -> None:
    with pytest.raises(RuntimeError, match="at least one byte"):
        Ring(bytearray())


def test_the_buffer_is_given_back() -> None:
    buffer = bytearray(4)
    ring = Ring(buffer)
    with pytest.raises(BufferError):
        buffer.append(0)
    ring.release()
    buffer.append(0)


def test_a_ring_tells_how_it_stands() -> None:
    ring = Ring(bytearray(8), readers=3)
    put(ring, b"abcde")
    ring.take(0, 2)
    ring.close_reader(1)
    assert repr(ring) == "<Ring 5 written, 3 of 8 free, waiting {0: 3, 2: 5}>"
