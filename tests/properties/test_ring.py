"""The ring against a model of bytes: each reader gets what was written, in order, however it wraps."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from image_syncer.transfer.ring import Ring


class RingMachine(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 40), readers=st.integers(1, 4))
    def make(self, capacity: int, readers: int) -> None:
        self.capacity = capacity
        self.ring = Ring(bytearray(b"?" * capacity), readers)
        self.written = b""
        self.published = 0
        self.taken = [0] * readers
        self.open = set(range(readers))
        self.floor = 0

    def model_free(self) -> int:
        slowest = min((self.taken[reader] for reader in self.open), default=self.published)
        return self.capacity - (len(self.written) - min(slowest, self.published))

    @rule(data=st.data())
    def put(self, data: st.DataObject) -> None:
        chunk = data.draw(st.binary(max_size=self.model_free()))
        # libcurl's buffer is its own again when the callback returns.
        lent = bytearray(chunk)
        ring, end = self.ring, self.ring.at + len(lent)
        if end < ring.stop:
            ring.buffer[ring.at : end] = lent  # as `Stream.receive` does it
            ring.at = end
        else:
            assert ring.try_put(memoryview(lent), len(lent))
        lent[:] = b"!" * len(lent)
        self.written += chunk

    @rule(beyond=st.integers(1, 9))
    def put_too_much(self, beyond: int) -> None:
        length = self.model_free() + beyond
        assert not self.ring.try_put(b"!" * length, length)

    @rule(mark=st.integers(0, 60))
    def publish(self, mark: int) -> None:
        assert b"".join(self.ring.hidden()) == self.written[self.published :]
        self.ring.publish(len(self.written) + mark)
        self.published = len(self.written)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), most=st.integers(0, 50))
    def take(self, data: st.DataObject, most: int) -> None:
        reader = data.draw(st.sampled_from(sorted(self.open)))
        begin = self.taken[reader]
        got = bytes(self.ring.take(reader, most))
        assert got == self.written[begin : begin + len(got)]
        waiting = max(0, self.published - begin)
        # As much as was asked for, unless the ring wraps there.
        assert len(got) == min(most, waiting, self.capacity - begin % self.capacity)
        self.taken[reader] += len(got)

    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(range(len(self.taken))))
        position = data.draw(st.integers(0, len(self.written) + 3))
        first = max(self.floor, len(self.written) - self.capacity)
        can = reader in self.open and first <= position <= self.published
        assert self.ring.seek(reader, position) is can
        if can:
            self.taken[reader] = position

    @rule(data=st.data(), ahead=st.integers(0, 9))
    def skip(self, data: st.DataObject, ahead: int) -> None:
        reader = data.draw(st.sampled_from(range(len(self.taken))))
        self.ring.skip(reader, self.published + ahead)
        self.taken[reader] = self.published + ahead

    @rule(data=st.data(), mark=st.integers(0, 60))
    def write_again(self, data: st.DataObject, mark: int) -> None:
        position = data.draw(st.integers(0, self.published))
        behind = [reader for reader in self.open if self.taken[reader] < position]
        for reader in behind:  # nobody goes back to a place behind somebody who still needs what is there
            self.ring.skip(reader, position)
            self.taken[reader] = position
        self.ring.begin_at(position, position + mark)
        self.written = self.written[:position]
        self.published = self.floor = position

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        reader = data.draw(st.sampled_from(range(len(self.taken))))
        self.ring.close_reader(reader)
        self.open.discard(reader)

    @invariant()
    def the_numbers_are_those_of_the_model(self) -> None:
        ring = self.ring
        assert (ring.capacity, ring.written, ring.free) == (self.capacity, len(self.written), self.model_free())
        for reader, taken in enumerate(self.taken):
            assert (ring.taken(reader), ring.readable(reader)) == (taken, self.published - taken)


TestRing = RingMachine.TestCase
