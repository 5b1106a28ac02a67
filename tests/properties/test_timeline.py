"""The timeline's arithmetic against what is slow and plain."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.reporting.timeline import Bar, Timeline, merge_bars, pack_lanes, spread
from image_syncer.telemetry import TransferRecord

TICKS = 64
"""Times are multiples of 1/64 s: exact in a float, and often equal."""


@st.composite
def records(draw: st.DrawFn, least_ticks: int = 0) -> list[TransferRecord]:
    spans = draw(st.lists(st.tuples(st.integers(0, 400), st.integers(least_ticks, 200)), min_size=1, max_size=40))
    return [
        TransferRecord(
            digest=f"sha256:{number}",
            size_bytes=draw(st.integers(-1, 1000)),
            source="src/r",
            destinations=("dst/r",),
            worker=draw(st.integers(1, 3)),
            began_s=began / TICKS,
            ended_s=(began + ticks) / TICKS,
            bytes_moved=draw(st.integers(0, 1000)),
            outcomes=("moved",),
        )
        for number, (began, ticks) in enumerate(spans)
    ]


def under_way(those: list[TransferRecord], tick: int) -> int:
    return sum(each.began_s * TICKS <= tick < each.ended_s * TICKS for each in those)


@given(records())
def test_no_two_transfers_share_a_lane_at_one_time(made: list[TransferRecord]) -> None:
    for worker in Timeline(made).workers:
        for lane in range(worker.streams):
            mine = [each for number, each in zip(worker.lanes, worker.records, strict=True) if number == lane]
            assert mine
            assert all(before.ended_s <= after.began_s for before, after in pairwise(mine))


@given(records(least_ticks=1))
def test_there_are_as_many_lanes_as_transfers_at_once(made: list[TransferRecord]) -> None:
    ordered = sorted(made, key=lambda each: each.began_s)
    assert max(pack_lanes(ordered)) + 1 == max(under_way(made, tick) for tick in range(600))


@given(records())
def test_busy_time_is_the_time_in_which_something_is_under_way(made: list[TransferRecord]) -> None:
    timeline = Timeline(made)
    for worker in timeline.workers:
        ticks = sum(under_way(list(worker.records), tick) > 0 for tick in range(600))
        assert worker.busy_s == ticks / TICKS
        assert 0 <= worker.idle_share <= 1
        if timeline.span_s:
            assert worker.idle_share == pytest.approx(1 - worker.busy_s / timeline.span_s)


@given(records())
def test_nothing_else_is_under_way_in_the_tail(made: list[TransferRecord]) -> None:
    timeline = Timeline(made)
    end = round(timeline.ended_s * TICKS)
    alone = 0
    while under_way(made, end - 1 - alone) == 1 and any(
        each.ended_s == timeline.ended_s and each.began_s * TICKS <= end - 1 - alone for each in made
    ):
        alone += 1
    others_ended = any(each.began_s == each.ended_s for each in made)
    assert timeline.tail_s * TICKS <= alone if others_ended else timeline.tail_s * TICKS == alone
    assert 0 <= timeline.tail_share <= 1


@given(records(), st.integers(1, 50), st.integers(0, 300))
def test_curves_lose_nothing_and_invent_nothing(made: list[TransferRecord], pieces: int, beyond: int) -> None:
    timeline = Timeline(made, horizon_s=beyond / TICKS)
    curve = timeline.curve(pieces)
    assert len(curve.bytes_per_s) == pieces
    assert min(*curve.bytes_per_s, *curve.bytes_in_flight, *curve.transfers) >= 0
    assert sum(curve.bytes_per_s) * curve.step_s == pytest.approx(sum(each.bytes_moved for each in made), abs=1e-6)
    assert sum(curve.transfers) * curve.step_s == pytest.approx(sum(each.seconds for each in made), abs=1e-6)
    assert max(curve.transfers) <= timeline.most_at_once + 1e-6


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 30), st.floats(0, 1e9)), max_size=20), st.integers(1, 30))
def test_each_piece_has_what_falls_into_it(made: list[tuple[float, float, float]], pieces: int) -> None:
    step_s = 100 / pieces
    amounts = [(began, began + length, amount) for began, length, amount in made if length > 1e-3]
    got = spread(amounts, step_s, pieces)
    for piece, value in enumerate(got):
        low, high = piece * step_s, (piece + 1) * step_s if piece < pieces - 1 else float("inf")
        expected = sum(
            amount * max(0.0, min(ended, high) - max(began, low)) / (ended - began) for began, ended, amount in amounts
        )
        assert value == pytest.approx(expected, rel=1e-6, abs=1)


@given(records(least_ticks=0), st.integers(1, 100))
def test_merged_bars_stand_in_order_and_cover_all_that_was_there(made: list[TransferRecord], ticks: int) -> None:
    least_s = ticks / TICKS
    for worker in Timeline(made).workers:
        for lane in range(worker.streams):
            bars = [
                Bar(each.began_s, each.ended_s, each.digest)
                for number, each in zip(worker.lanes, worker.records, strict=True)
                if number == lane
            ]
            merged = merge_bars(bars, least_s)
            assert all(before.ended_s <= after.began_s for before, after in pairwise(merged))
            assert all(
                any(other.began_s <= bar.began_s and bar.ended_s <= other.ended_s for other in merged) for bar in bars
            )
            assert {bar for bar in bars if bar.ended_s - bar.began_s >= least_s} <= set(merged)
            assert sum(bar.ended_s - bar.began_s < least_s for bar in merged) <= 2 * (600 / ticks + 1) + len(
                [bar for bar in bars if bar.ended_s - bar.began_s >= least_s]
            )
