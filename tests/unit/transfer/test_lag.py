"""One fast and one slow destination, second by second: when is the slow one split off?"""

from __future__ import annotations

from image_syncer.oci import digest_of
from image_syncer.transfer.stream import Signals, Stream
from image_syncer.transfer.watches import LagWatch

RING, PIECE = 1000, 250
SIGNALS = Signals(pause_receive=101, pause_send=102, abort_send=103)
STEP_S = 0.05


class SmallPieces(Stream):
    largest_piece = PIECE


class Race:
    """A source that is always ready, and destinations that take so many bytes a second each."""

    def __init__(self, *rates: int, size: int = 200_000, source: int = 10_000, bound_s: float = 5.0) -> None:
        self.now = 0.0
        self.blob = bytes(size)
        self.stream = SmallPieces(
            digest_of(self.blob),
            size,
            bytearray(RING),
            senders=len(rates),
            signals=SIGNALS,
            on_due=lambda: None,
            clock=lambda: self.now,
        )
        self.source = source
        self.rates = list(rates)
        self.watch = LagWatch(bound_s)
        self.blocked = False
        self.paused = [False] * len(rates)
        self.allowed = [0.0] * len(rates)

    def run(self, seconds: int) -> tuple[int, list[int]]:
        """The second in which somebody was split off, and who; (-1, []) where nobody was."""
        for second in range(seconds):
            for _ in range(round(1 / STEP_S)):
                self.step()
            if self.stream.verified:
                break
            behind = self.watch.look(self.stream, self.now)
            if behind:
                return second, behind
        return -1, []

    def step(self) -> None:
        self.now += STEP_S
        stream = self.stream
        coming = int(self.source * STEP_S)
        while coming > 0 and not self.blocked and stream.received < stream.size:
            chunk = min(50, coming, stream.size - stream.received)
            self.blocked = stream.receive(memoryview(self.blob)[:chunk]) == SIGNALS.pause_receive
            coming -= chunk
            self.send()
        self.send()
        for index, rate in enumerate(self.rates):
            self.allowed[index] = min(self.allowed[index] + rate * STEP_S, rate)
            self.send()

    def send(self) -> None:
        allowed = self.allowed
        for index in range(len(self.rates)):
            sender = self.stream.senders[index]
            while not self.paused[index] and allowed[index] >= 1 and sender.sent < self.stream.size:
                answer = sender.send(int(min(allowed[index], PIECE)))
                if isinstance(answer, int):
                    self.paused[index] = True
                else:
                    allowed[index] -= len(answer)
        download, uploads = self.stream.attend()
        for index in uploads:
            self.paused[index] = False
        if download:
            self.blocked = False


def test_one_that_is_much_slower_than_the_others_is_split_off_when_the_bound_is_reached() -> None:
    second, behind = Race(9000, 500, 9000).run(60)
    assert behind == [1]
    assert 4 <= second <= 6


def test_a_longer_bound_waits_longer() -> None:
    second, behind = Race(9000, 500, bound_s=15.0).run(60)
    assert behind == [1]
    assert 14 <= second <= 17


def test_one_that_is_a_little_slower_is_split_off_from_a_blob_that_takes_long() -> None:
    assert Race(3000, 2500, 2800).run(20)[1] == [1]
    assert Race(3000, 2500, 2800, size=10_000).run(60) == (-1, [])


def test_destinations_that_take_turns_in_being_slow_are_left_together() -> None:
    race = Race(3000, 500)
    for _ in range(20):
        assert race.run(2) == (-1, [])
        race.rates.reverse()


def test_destinations_that_are_equally_slow_hold_nobody_back() -> None:
    assert Race(500, 500).run(100) == (-1, [])


def test_a_slow_source_is_nobodys_fault() -> None:
    assert Race(9000, 2000, source=500).run(100) == (-1, [])


def test_one_that_has_more_than_half_of_the_blob_goes_on() -> None:
    assert Race(9000, 500, size=4_000).run(60) == (-1, [])


def test_several_that_lag_are_split_off_together() -> None:
    _, behind = Race(9000, 400, 400).run(60)
    assert behind == [1, 2]


def test_two_slow_ones_that_take_turns_do_not_hold_a_quick_one_back_for_ever() -> None:
    race = Race(9000, 400, 600)
    split: set[int] = set()
    for _ in range(30):
        _, behind = race.run(2)
        split.update(behind)
        race.rates = [9000, *reversed(race.rates[1:])]
        if behind:
            break
    assert split == {1, 2}


def test_a_single_destination_is_never_split_off() -> None:
    assert Race(100).run(60) == (-1, [])


def test_who_was_given_up_is_not_waited_for() -> None:
    race = Race(9000, 500)
    race.run(2)
    race.stream.stop_sender(1)
    race.rates[1] = 0
    assert race.run(60) == (-1, [])
