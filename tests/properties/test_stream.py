"""A stream between a simulated libcurl's callbacks: no byte is lost, nothing waits for ever, no wrong blob is whole.

The simulation keeps libcurl's habits: a chunk for which a callback asked to pause is given again as a whole, from
inside the call that un-pauses; buffers are libcurl's own again when a callback returns; nothing is un-paused from
inside a callback, but in a later round.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from image_syncer.oci import digest_of
from image_syncer.transfer.stream import Signals, Stream

PAUSE_RECEIVE, PAUSE_SEND, ABORT_SEND, ABORT_RECEIVE = 101, 102, 103, 104
SIGNALS = Signals(
    pause_receive=PAUSE_RECEIVE, pause_send=PAUSE_SEND, abort_send=ABORT_SEND, abort_receive=ABORT_RECEIVE
)


@dataclass
class Upload:
    got: bytearray = field(default_factory=bytearray)
    paused: bool = False
    stopped: bool = False


class Libcurl:
    """Runs one download of `coming` and some uploads over a stream that expects `blob`."""

    def __init__(self, blob: bytes, coming: bytes, *, capacity: int, senders: int, piece: int) -> None:
        self.blob = blob
        self.coming = coming
        self.position = 0
        self.held: bytes | None = None
        self.refused = False
        self.due = 0
        self.inside = False
        kind = type("Pieces", (Stream,), {"largest_piece": piece})
        self.stream: Stream = kind(
            digest_of(blob),
            len(blob),
            bytearray(capacity),
            senders=senders,
            signals=SIGNALS,
            on_due=self.on_due,
            clock=lambda: 0.0,
        )
        self.stream._spacing = self.stream._checkpoint_at = 2 * piece
        self.uploads = [Upload() for _ in range(senders)]

    def on_due(self) -> None:
        self.due += 1

    @property
    def downloading(self) -> bool:
        return not self.refused and self.position < len(self.coming)

    def runnable(self) -> list[int]:
        """What libcurl would call for next: -1 the download, others by their index."""
        download = [-1] if self.downloading and self.held is None else []
        return download + [index for index in self.open() if not self.uploads[index].paused]

    def open(self) -> list[int]:
        return [
            index
            for index, upload in enumerate(self.uploads)
            if not upload.stopped and len(upload.got) < len(self.blob)
        ]

    def receive(self, chunk: bytes) -> None:
        lent = bytearray(chunk)
        answer = self.call(self.stream.receive, memoryview(lent))
        lent[:] = b"!" * len(lent)
        if answer is None:
            self.position += len(chunk)
            self.held = None
        elif answer == PAUSE_RECEIVE:
            self.held = chunk
        else:
            assert answer == ABORT_RECEIVE
            self.refused = True

    def send(self, index: int, most: int) -> None:
        upload = self.uploads[index]
        answer = self.call(self.stream.senders[index].send, min(most, len(self.blob) - len(upload.got)))
        if answer == PAUSE_SEND:
            upload.paused = True
        else:
            assert not isinstance(answer, int)
            assert len(answer) > 0, "libcurl would take it for the end of the body"
            upload.got += answer

    def call(self, callback, argument):
        assert not self.inside
        self.inside = True
        try:
            return callback(argument)
        finally:
            self.inside = False

    def cut(self) -> None:
        """The download breaks off, and goes on where it was."""
        self.stream.begin_receiving()
        self.position, self.held = self.stream.received, None

    def go_back(self, index: int, position: int) -> None:
        """The destination has lost what it had from `position` on."""
        sender = self.stream.senders[index]
        if not sender.seek(position):
            self.stream.rewind(position)
            sender.skip(position)
            self.position, self.held = self.stream.received, None
        del self.uploads[index].got[position:]

    def stop(self, index: int) -> None:
        self.uploads[index].stopped = True
        self.stream.stop_sender(index)

    def settle(self) -> None:
        while self.due:
            self.due = 0
            download, uploads = self.stream.attend()
            for index in uploads:
                assert self.uploads[index].paused
                self.uploads[index].paused = False
            if download:
                assert self.held is not None
                self.receive(self.held)


@st.composite
def transfers(draw: st.DrawFn, *, right: bool) -> Libcurl:
    blob = draw(st.binary(max_size=400))
    coming = blob
    if not right:
        coming = draw(
            st.one_of(
                st.binary(max_size=450),
                st.integers(0, max(len(blob) - 1, 0)).map(lambda end: blob[:end]),
                st.binary(min_size=1, max_size=50).map(lambda more: blob + more),
                st.integers(0, max(len(blob) - 1, 0)).map(
                    lambda at: blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :] if blob else b"x"
                ),
            )
        )
    capacity = draw(st.integers(2, 120))
    return Libcurl(
        blob,
        coming,
        capacity=max(1, min(capacity, len(blob))),
        senders=draw(st.integers(1, 4)),
        piece=draw(st.integers(1, max(1, min(capacity, len(blob)) // 2))),
    )


def run(curl: Libcurl, data: st.DataObject, *, stops: bool = False, breaks: bool = False) -> None:
    """Call what can be called, in any order, until all has ended; nothing un-pauses but through `attend`."""
    # A ring that cannot hold two of libcurl's chunks is never made; what is smaller holds the whole blob.
    capacity = curl.stream._ring.capacity
    largest = 60 if capacity >= len(curl.blob) else capacity // 2
    steps = data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60), st.integers(0, 9)), max_size=60))
    steps.reverse()
    while curl.open() and (runnable := curl.runnable()):
        which, size, aside = steps.pop() if steps else (0, 60, 1)
        if aside == 0:
            curl.stream.hurry(0.0)
        if aside == 8 and runnable[-1] >= 0 and curl.stream.senders[runnable[-1]].rewind():
            curl.uploads[runnable[-1]].got.clear()  # its connection was gone, and libcurl opened another
        if aside == 6 and breaks:
            curl.cut()
        if aside == 7 and breaks and not curl.stream.fault:
            index = data.draw(st.sampled_from(range(len(curl.uploads))))
            curl.go_back(index, data.draw(st.integers(0, len(curl.uploads[index].got))))
            continue
        if aside == 9 and stops:
            curl.stop(runnable[-1] if runnable[-1] >= 0 else curl.open()[0])
        elif (index := runnable[which % len(runnable)]) == -1:
            curl.receive(curl.coming[curl.position :][: min(size, largest)])
        else:
            curl.send(index, size)
        if aside < 7:  # several callbacks happen in one round of libcurl
            curl.settle()
        if not curl.runnable():
            curl.settle()


@given(transfers(right=True), st.data())
def test_a_right_blob_reaches_every_destination(curl: Libcurl, data: st.DataObject) -> None:
    run(curl, data, breaks=True)
    assert curl.stream.verified
    assert curl.stream.fault is None
    assert [bytes(upload.got) for upload in curl.uploads] == [curl.blob] * len(curl.uploads)
    assert [sender.sent for sender in curl.stream.senders] == [len(curl.blob)] * len(curl.uploads)


@given(transfers(right=True), st.data())
def test_destinations_that_are_given_up_hold_nobody_back(curl: Libcurl, data: st.DataObject) -> None:
    run(curl, data, stops=True)
    for upload in curl.uploads:
        assert bytes(upload.got) == (curl.blob[: len(upload.got)] if upload.stopped else curl.blob)


@given(transfers(right=False), st.data())
def test_only_a_right_blob_is_ever_whole_at_a_destination(curl: Libcurl, data: st.DataObject) -> None:
    run(curl, data)
    for upload in curl.uploads:
        assert bytes(upload.got) == curl.coming[: len(upload.got)]
        if len(upload.got) == len(curl.blob) and curl.blob:
            assert bytes(upload.got) == curl.blob
    stream = curl.stream
    if curl.coming[: len(curl.blob)] != curl.blob:
        assert not stream.verified
        event("refused" if curl.refused else "ended early")
        assert stream.fault is not None if curl.refused else stream.received == len(curl.coming)
        if curl.blob:
            assert all(len(upload.got) < len(curl.blob) for upload in curl.uploads)


@pytest.mark.parametrize("senders", [1, 3])
def test_the_sizes_of_a_real_run(senders: int) -> None:
    blob = bytes(range(256)) * 4096
    curl = Libcurl(blob, blob, capacity=2**16, senders=senders, piece=2**15)
    turn = 0
    while runnable := curl.runnable():
        turn += 1
        index = runnable[turn % len(runnable)]
        if index == -1:
            curl.receive(blob[curl.position :][: 2**14])
        else:
            curl.send(index, 2**18)
        curl.settle()
    assert [bytes(upload.got) == blob for upload in curl.uploads] == [True] * senders
