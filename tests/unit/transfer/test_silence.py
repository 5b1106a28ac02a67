from __future__ import annotations

import pytest

from image_syncer.oci import digest_of
from image_syncer.transfer.stream import Signals, Stream
from image_syncer.transfer.watches import SilenceWatch

BLOB = bytes(range(8))
SIGNALS = Signals(pause_receive=101, pause_send=102, abort_send=103)
ASKED = (0, 100.0)
"""The source was asked at 100 s, with no byte before."""


@pytest.fixture
def stream() -> Stream:
    return Stream(
        digest_of(BLOB), len(BLOB), bytearray(4), senders=2, signals=SIGNALS, on_due=lambda: None, clock=lambda: 0.0
    )


@pytest.fixture
def watch() -> SilenceWatch:
    return SilenceWatch(2, stall_s=10, answer_s=30, least_bytes=1)


def receive(stream: Stream, begin: int, end: int) -> None:
    stream.receive(memoryview(BLOB[begin:end]))


def test_a_source_that_does_not_answer(watch: SilenceWatch) -> None:
    assert watch.source(0, 109, asked=ASKED, waits=False) is None
    assert watch.source(0, 110, asked=ASKED, waits=False) == 10


def test_a_source_that_sends_nothing(watch: SilenceWatch, stream: Stream) -> None:
    assert watch.source(stream.received, 109.9, asked=ASKED, waits=stream.blocked) is None
    assert watch.source(stream.received, 112, asked=ASKED, waits=stream.blocked) == 12
    receive(stream, 0, 1)
    assert watch.source(stream.received, 115, asked=ASKED, waits=stream.blocked) is None
    assert watch.source(stream.received, 124, asked=ASKED, waits=stream.blocked) is None
    assert watch.source(stream.received, 125, asked=ASKED, waits=stream.blocked) == 10


def test_a_source_that_trickles_is_not_silent(watch: SilenceWatch, stream: Stream) -> None:
    for number in range(4):
        receive(stream, number, number + 1)
        assert watch.source(stream.received, 109 + 9 * number, asked=ASKED, waits=stream.blocked) is None


def test_a_source_that_sends_next_to_nothing_is_silent_too() -> None:
    watch = SilenceWatch(1, stall_s=10, answer_s=30)
    for second in range(1, 10):
        assert watch.source(63 * second, 100 + second, asked=ASKED, waits=False) is None
    assert watch.source(630, 110, asked=ASKED, waits=False) == 10
    assert watch.source(630 + 640, 209, asked=(630, 200), waits=False) is None
    assert watch.source(630 + 650, 218, asked=(630, 200), waits=False) is None
    assert watch.source(0, 219, asked=(630, 200), waits=False) is None  # it is read again from its beginning


def test_a_source_that_is_asked_again_has_its_time_again(watch: SilenceWatch) -> None:
    assert watch.source(5, 109, asked=ASKED, waits=False) is None
    assert watch.source(5, 159, asked=(5, 150), waits=False) is None
    assert watch.source(5, 160, asked=(5, 150), waits=False) == 10


def test_a_source_that_was_paused_is_not_silent(watch: SilenceWatch, stream: Stream) -> None:
    receive(stream, 0, 4)
    assert watch.source(stream.received, 105, asked=ASKED, waits=stream.blocked) is None
    receive(stream, 4, 8)
    assert stream.blocked
    for now in (115, 125, 135):
        assert watch.source(stream.received, now, asked=ASKED, waits=stream.blocked) is None
    for sender in (0, 1):
        stream.senders[sender].send(4)
    stream.attend()
    # From now on it is the source's turn.
    assert watch.source(stream.received, 144, asked=ASKED, waits=stream.blocked) is None
    assert watch.source(stream.received, 145, asked=ASKED, waits=stream.blocked) == 10


def test_a_destination_that_takes_nothing(watch: SilenceWatch, stream: Stream) -> None:
    receive(stream, 0, 4)
    assert watch.sink(stream, 0, 100) is None
    assert watch.sink(stream, 0, 109) is None
    assert watch.sink(stream, 0, 110) == 10
    stream.senders[0].send(2)
    assert watch.sink(stream, 0, 111) is None
    assert watch.sink(stream, 0, 121) == 10


def test_a_destination_that_begins_late_is_not_silent_before(watch: SilenceWatch, stream: Stream) -> None:
    assert watch.sink(stream, 0, 1000) is None
    assert watch.sink(stream, 0, 1010) == 10


def test_a_destination_that_waits_for_us_is_not_silent(watch: SilenceWatch, stream: Stream) -> None:
    assert stream.senders[0].send(4) == 102
    for now in (100, 120, 140):
        assert watch.sink(stream, 0, now) is None
    receive(stream, 0, 4)
    stream.attend()
    assert watch.sink(stream, 0, 149) is None
    assert watch.sink(stream, 0, 150) == 10


def test_a_destination_has_its_time_again_with_each_request(watch: SilenceWatch, stream: Stream) -> None:
    receive(stream, 0, 4)
    assert watch.sink(stream, 0, 100) is None
    watch.sink_begins(0)
    assert watch.sink(stream, 0, 150) is None
    assert watch.sink(stream, 0, 160) == 10


def test_each_destination_is_watched_for_itself(watch: SilenceWatch, stream: Stream) -> None:
    receive(stream, 0, 4)
    assert [watch.sink(stream, index, 100) for index in (0, 1)] == [None, None]
    stream.senders[1].send(4)
    assert [watch.sink(stream, index, 110) for index in (0, 1)] == [10, None]


def test_a_destination_that_has_every_byte_may_take_longer(watch: SilenceWatch, stream: Stream) -> None:
    for begin in (0, 4):
        receive(stream, begin, begin + 4)
        for sender in (0, 1):
            stream.senders[sender].send(4)
    assert watch.sink(stream, 0, 200) is None
    assert watch.sink(stream, 0, 229) is None
    assert watch.sink(stream, 0, 230) == 30


def test_there_is_no_time_for_the_whole_of_an_empty_blob_but_for_its_answer(watch: SilenceWatch) -> None:
    empty = Stream(digest_of(b""), 0, bytearray(1), senders=1, signals=SIGNALS, on_due=lambda: None, clock=lambda: 0.0)
    assert watch.sink(empty, 0, 100) is None
    assert watch.sink(empty, 0, 129) is None
    assert watch.sink(empty, 0, 130) == 30
