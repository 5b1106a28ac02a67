"""Time left: reckoned for histories that are made up, whose end is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_syncer.capacity.time_left import Flow, Pace, Remaining, TimeLeft, TimeLeftModel
from image_syncer.scheduling.blob_set import WayCount

MB = 1_000_000
STEP_S = 0.5
WAY = ("source.example", "destination.example")
OTHER = ("slow.example", "destination.example")


@dataclass(frozen=True)
class Said:
    """What was said at one moment, and what was true."""

    at_s: float
    truth_s: float
    left: TimeLeft | None

    @property
    def error(self) -> float:
        assert self.left is not None, f"nothing was said after {self.at_s} s"
        return self.left.seconds / self.truth_s - 1


def told(history: Callable[[float], Remaining], end_s: float) -> Iterator[Said]:
    """What the model says of a run whose state is `history(seconds)`, until shortly before its end."""
    model, at_s = TimeLeftModel(), 0.0
    while at_s < end_s * 0.97:
        yield Said(at_s, end_s - at_s, model.note(at_s, history(at_s)))
        at_s += STEP_S


def off(history: Callable[[float], Remaining], end_s: float, after: float = 0.1) -> float:
    """The largest error after that part of the run."""
    return max(abs(one.error) for one in told(history, end_s) if one.at_s >= max(after * end_s, 5.0))


def moving(bytes_per_s: float, end_s: float, streams: int = 8) -> Callable[[float], Remaining]:
    """All images are known, and their layers move at one rate."""
    total = round(bytes_per_s * end_s)

    def history(at_s: float) -> Remaining:
        moved = round(bytes_per_s * at_s)
        left = total - moved
        return Remaining(
            images=100,
            open=100,
            waiting=100,
            ways={WAY: WayCount(streamed_bytes=total)},
            flows={WAY: Flow(streamed=streams, received=moved)},
            largest=left / 100,
            streams=streams,
        )

    return history


def many_small(images: int, images_per_s: float) -> Callable[[float], Remaining]:
    """Images of four small blobs; so many as fit are under way."""

    def history(at_s: float) -> Remaining:
        ended = min(images, int(images_per_s * at_s))
        is_open = min(256, images - ended)
        return Remaining(
            images=images,
            ended=ended,
            copied=ended,
            open=is_open,
            waiting=is_open * 3 // 4,
            ways={WAY: WayCount(4 * (ended + is_open), 4 * ended)},
            flows={WAY: Flow(small=32)},
        )

    return history


def unchanged(images: int, images_per_s: float) -> Callable[[float], Remaining]:
    """Nothing is to be moved: there are only questions."""
    return lambda at_s: Remaining(images=images, ended=min(images, int(images_per_s * at_s)))


@given(st.floats(1e5, 1e10), st.floats(30, 2000), st.integers(1, 64))
@settings(max_examples=30, deadline=None)
def test_where_bytes_move_at_one_rate_it_is_right(bytes_per_s: float, end_s: float, streams: int) -> None:
    assert off(moving(bytes_per_s, end_s, streams), end_s) < 0.1


@given(st.integers(2000, 100_000), st.floats(30, 1000))
@settings(max_examples=20, deadline=None)
def test_where_small_images_end_at_one_rate_it_is_right(images: int, end_s: float) -> None:
    assert off(many_small(images, images / end_s), end_s) < 0.1


@given(st.integers(1000, 100_000), st.floats(30, 1000))
@settings(max_examples=20, deadline=None)
def test_where_nothing_moves_the_pace_of_questions_tells(images: int, end_s: float) -> None:
    assert off(unchanged(images, images / end_s), end_s) < 0.1


@pytest.mark.parametrize("history", [moving(100 * MB, 200), many_small(40_000, 200), unchanged(40_000, 200)])
def test_it_goes_down_without_jumps(history: Callable[[float], Remaining]) -> None:
    said = [one for one in told(history, 200) if one.at_s >= 10]
    for before, after in pairwise(said):
        assert before.left is not None
        assert after.left is not None
        assert -0.02 * before.truth_s < before.left.seconds - after.left.seconds - STEP_S < 0.02 * before.truth_s


def test_one_giant_at_the_end_counts_with_what_one_stream_gets() -> None:
    """64 blobs share 100 MB/s for 30 s; one, which gets no more than 10 MB/s, takes 100 s."""
    giant, others = 1000 * MB, 2700 * MB

    def history(at_s: float) -> Remaining:
        of_giant, of_others = min(giant, round(10 * MB * at_s)), min(others, round(90 * MB * at_s))
        streams = 10 if of_others < others else 1
        return Remaining(
            images=10,
            open=10,
            waiting=10,
            ways={WAY: WayCount(streamed_bytes=giant + others)},
            flows={WAY: Flow(streamed=streams, received=of_giant + of_others)},
            largest=giant - of_giant,
            streams=streams,
        )

    said = list(told(history, 100))
    early = [one for one in said if 10 <= one.at_s < 30]
    for one in early:  # what one stream gets alone, nobody knows yet: the span says so
        assert one.left is not None
        assert one.left.least_s < one.truth_s <= one.left.most_s * 1.001
        assert one.left.waits_for == "the largest blob"
    assert max(abs(one.error) for one in said if one.at_s >= 50) < 0.1


def test_streams_that_share_a_line_get_more_when_others_have_ended() -> None:
    """16 blobs of 50 to 200 MB share 50 MB/s to the end."""
    sizes = [50 * MB + 10 * MB * number for number in range(16)]

    def history(at_s: float) -> Remaining:
        moved, left = 0.0, sorted(sizes)
        budget = 50 * MB * at_s
        while left and budget > 0:
            step = min(left[0], budget / len(left))
            budget -= step * len(left)
            moved += step * len(left)
            left = [size - step for size in left if size - step > 1]
        return Remaining(
            images=16,
            open=16,
            waiting=16,
            ways={WAY: WayCount(streamed_bytes=sum(sizes))},
            flows={WAY: Flow(streamed=len(left), received=round(moved))},
            largest=max(left, default=0),
            streams=len(left),
        )

    end_s = sum(sizes) / (50 * MB)
    for one in told(history, end_s):  # while all are under way, they might be bounded one by one
        assert one.left is None or one.left.least_s * 0.99 < one.truth_s < one.left.most_s
    assert off(history, end_s) < 0.5
    assert off(history, end_s, after=0.7) < 0.45


def test_many_small_ones_and_then_a_giant() -> None:
    """1,500 images end within 5 s; one blob from a slow source takes until 50 s."""
    giant = 500 * MB

    def history(at_s: float) -> Remaining:
        ended = min(1500, int(300 * at_s))
        is_open = min(256, 1500 - ended)
        moved = round(10 * MB * at_s)
        small = WayCount(4 * (ended + is_open), 4 * ended)
        return Remaining(
            images=1501,
            ended=ended,
            copied=ended,
            open=is_open + 1,
            waiting=is_open + 1,
            ways={WAY: small, OTHER: WayCount(streamed_bytes=giant)},
            flows={WAY: Flow(small=32 if is_open else 0), OTHER: Flow(streamed=1, received=moved)},
            largest=giant - moved,
            streams=1,
        )

    assert off(history, 50) < 0.1


def test_the_slower_of_two_sources_tells() -> None:
    """One brings 100 MB/s for 10 s, the other 2 MB/s for 100 s."""

    def history(at_s: float) -> Remaining:
        fast, slow = min(1000 * MB, round(100 * MB * at_s)), round(2 * MB * at_s)
        flows = {
            WAY: Flow(streamed=8 if fast < 1000 * MB else 0, received=fast),
            OTHER: Flow(streamed=8, received=slow),
        }
        streams = flows[WAY].streamed + 8
        return Remaining(
            images=200,
            open=200,
            waiting=200,
            ways={WAY: WayCount(streamed_bytes=1000 * MB), OTHER: WayCount(streamed_bytes=200 * MB)},
            flows=flows,
            largest=min(1 * MB, (200 * MB - slow) / 8),
            streams=streams,
        )

    said = list(told(history, 100))
    assert max(abs(one.error) for one in said if one.at_s >= 10) < 0.1
    assert {one.left.waits_for for one in said if one.at_s >= 10 and one.left} == {"bytes from slow.example"}


def test_a_pause_is_no_slowness() -> None:
    """Paused from 50 s to 110 s."""
    running = moving(10 * MB, 100)

    def history(at_s: float) -> Remaining:
        state = running(min(at_s, 50) + max(0, at_s - 110))
        return replace(state, held="paused") if 50 <= at_s < 110 else state

    said = list(told(history, 160))
    assert all(one.left is None for one in said if 50 <= one.at_s < 110)
    assert max(abs(one.error) for one in said if one.at_s >= 110.5) < 0.1


def test_being_left_alone_adds_to_it() -> None:
    """From 50 s on, the destination is not asked for 40 s."""
    running = moving(10 * MB, 100)

    def history(at_s: float) -> Remaining:
        state = running(min(at_s, 50) + max(0, at_s - 90))
        return replace(state, pauses={WAY[1]: 90 - at_s}) if 50 <= at_s < 90 else state

    said = list(told(history, 140))
    assert max(abs(one.error) for one in said if one.at_s >= 50) < 0.15


def test_short_pauses_belong_to_the_pace() -> None:
    """A registry that asks for a second every other second is half as fast, and not as fast with pauses."""
    running = moving(10 * MB, 100)

    def history(at_s: float) -> Remaining:
        rest = at_s % 2
        state = running(at_s // 2 + min(rest, 1))
        return replace(state, pauses={WAY[1]: 2 - rest}) if rest >= 1 else state

    assert off(history, 200) < 0.15


def test_of_a_registry_that_is_down_nobody_knows() -> None:
    running = moving(10 * MB, 100)
    model = TimeLeftModel()
    for step in range(40):
        model.note(step * STEP_S, running(step * STEP_S))
    assert model.note(20.5, replace(running(20), pauses={WAY[0]: inf})) is None
    assert model.note(21.0, replace(running(20), pauses={"unneeded.example": inf})) is not None


def test_a_rate_that_is_set_counts_at_once() -> None:
    """After 50 s, 10 MB/s become 5: what took 50 s takes 100."""
    running = moving(10 * MB, 100)

    def history(at_s: float) -> Remaining:
        state = running(min(at_s, 50) + max(0, at_s - 50) / 2)
        return replace(state, rate=5.0 * MB) if at_s >= 50 else state

    said = list(told(history, 150))
    assert max(abs(one.error) for one in said if 10 < one.at_s < 50) < 0.51
    assert max(abs(one.error) for one in said if one.at_s >= 51) < 0.1


def test_a_rate_that_is_lifted_is_forgotten_soon() -> None:
    """5 MB/s until 60 s, 20 MB/s then."""
    total = 1500 * MB

    def history(at_s: float) -> Remaining:
        moved = round(5 * MB * min(at_s, 60) + 20 * MB * max(0, at_s - 60))
        state = moving(10 * MB, 150)(moved / (10 * MB))
        return replace(state, rate=5.0 * MB) if at_s < 60 else state

    said = list(told(history, 120))
    assert total == history(120).flows[WAY].received
    assert max(abs(one.error) for one in said if one.at_s >= 85) < 0.1


def test_rules_that_are_not_listed_yet_are_taken_to_be_like_the_others() -> None:
    def history(at_s: float) -> Remaining:
        return replace(unchanged(10_000, 100)(at_s), images=5000, rules=10, rules_left=10)

    said = [one for one in told(history, 100) if 10 < one.at_s < 45]
    assert max(abs(one.error) for one in said) < 0.1
    assert all(one.left is not None and one.left.more for one in said)


def test_what_a_drain_does_not_begin_takes_no_time() -> None:
    whole = many_small(40_000, 100)

    def history(at_s: float) -> Remaining:
        state = whole(at_s)
        if at_s < 100:
            return state
        small = WayCount(4 * 10_256, 4 * min(10_256, int(100 * at_s)))
        ended = small.small_ended // 4
        return replace(
            state, ended=ended, copied=ended, open=10_256 - ended, waiting=0, ways={WAY: small}, held="drains"
        )

    said = [one for one in told(history, 106) if one.at_s >= 100]
    assert said
    assert all(one.left is not None and one.left.seconds < 4 for one in said[1:])


def test_before_anything_is_known_nothing_is_said() -> None:
    model = TimeLeftModel()
    nothing = Remaining(images=10, open=10, waiting=10, ways={WAY: WayCount(streamed_bytes=10 * MB)})
    assert [model.note(at_s, nothing) for at_s in range(20)] == [None] * 20


def test_at_the_end_nothing_is_left() -> None:
    model = TimeLeftModel()
    done = Remaining(images=10, ended=10, copied=10)
    model.note(0, done)
    left = model.note(10, done)
    assert left is not None
    assert left.seconds == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 500),
            st.integers(0, 10**9),
            st.booleans(),
            st.floats(0, 5),
            st.sampled_from((None, "paused")),
        ),
        max_size=80,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_happens_it_is_a_time_within_its_span(steps: list[tuple[int, int, bool, float, str | None]]) -> None:
    model, now, ended, moved = TimeLeftModel(), 0.0, 0, 0
    for more, size, is_alone, step_s, held in steps:
        now, ended, moved = now + step_s, ended + more, moved + size
        count = WayCount(4 * (ended + 256), 4 * ended, 0, 0, moved + 5 * MB, moved)
        state = Remaining(
            images=ended + 1000,
            ended=ended,
            copied=ended // 2,
            open=256,
            waiting=ended % 256,
            ways={WAY: count},
            flows={WAY: Flow(size % 3, size % 5, size % 1000)},
            largest=size,
            streams=size % 5,
            pauses={WAY[0]: 12.0} if is_alone else {},
            held=held,
        )
        left = model.note(now, state)
        if left is not None:
            assert 0 <= left.least_s <= left.seconds <= left.most_s < inf


def test_a_pace_counts_only_time_in_which_there_was_work() -> None:
    pace = Pace()
    for _ in range(20):
        pace.note(done=10, busy_s=1, memory_s=30)
        pace.note(done=0, busy_s=0, memory_s=30)
    assert pace.per_s == pytest.approx(10)
    pace.shorten(2)
    for _ in range(4):
        pace.note(done=20, busy_s=1, memory_s=30)
    assert pace.per_s == pytest.approx(16.7, rel=0.1)
