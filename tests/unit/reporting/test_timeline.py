from __future__ import annotations

from typing import Any

import pytest

from image_syncer.reporting.timeline import Bar, Timeline, merge_bars, slow_side
from image_syncer.telemetry import TransferRecord


def record(began_s: float, ended_s: float, worker: int = 1, **fields: Any) -> TransferRecord:
    size = fields.pop("size_bytes", 100)
    return TransferRecord(
        **{
            "digest": "sha256:ab",
            "size_bytes": size,
            "source": "src/r",
            "destinations": ("dst/r",),
            "worker": worker,
            "began_s": began_s,
            "ended_s": ended_s,
            "bytes_moved": size,
            "outcomes": ("moved",),
            **fields,
        }
    )


def test_each_worker_has_lanes_and_idle_time_of_its_own() -> None:
    timeline = Timeline([record(0, 4), record(1, 2), record(2, 10), record(3, 5, worker=2)])
    first, second = timeline.workers
    assert (first.worker, first.lanes, first.streams) == (1, (0, 1, 1), 2)
    assert (first.busy_s, first.idle_share, first.bytes_moved) == (10, 0, 300)
    assert (second.worker, second.streams, second.busy_s, second.idle_share) == (2, 1, 2, 0.8)
    assert timeline.most_at_once == 3


def test_time_before_the_first_transfer_is_nobodys_idle_time() -> None:
    timeline = Timeline([record(5, 10)], horizon_s=20)
    assert (timeline.span_s, timeline.horizon_s, timeline.workers[0].idle_share) == (5, 20, 0)


@pytest.mark.parametrize(
    ("spans", "tail_s", "tail_share"),
    [
        ([(0, 10)], 10, 1),
        ([(0, 10), (0, 4)], 6, 0.6),
        ([(0, 10), (0, 10)], 0, 0),
        ([(0, 4), (8, 10)], 2, 0.2),
        ([(0, 10), (2, 3), (9, 9.5)], 0.5, 0.05),
        ([(3, 3)], 0, 0),
    ],
)
def test_the_tail_is_how_long_the_last_one_ran_alone(
    spans: list[tuple[float, float]], tail_s: float, tail_share: float
) -> None:
    timeline = Timeline([record(*span) for span in spans])
    assert timeline.tail_s == pytest.approx(tail_s)
    assert timeline.tail_share == pytest.approx(tail_share)


def test_a_curve_is_the_mean_of_each_piece() -> None:
    curve = Timeline([record(0, 2, size_bytes=100), record(1, 4, size_bytes=300)], horizon_s=4).curve(4)
    assert curve.step_s == 1
    assert curve.transfers == (1, 2, 1, 1)
    assert curve.bytes_in_flight == pytest.approx((100, 400, 300, 300))
    assert curve.bytes_per_s == pytest.approx((50, 150, 100, 100))


def test_a_curve_of_transfers_that_took_no_time_has_their_bytes() -> None:
    at_once = Timeline([record(0, 0, size_bytes=7)])
    assert sum(at_once.curve(3).bytes_per_s) == 7
    assert sum(at_once.curve(3).bytes_in_flight) == 0


def test_a_size_that_nobody_knows_is_not_in_flight() -> None:
    curve = Timeline([record(0, 1, size_bytes=-1, bytes_moved=50)]).curve(1)
    assert (curve.bytes_in_flight, curve.bytes_per_s) == ((0,), (50,))


def test_the_slowest_come_first() -> None:
    timeline = Timeline([record(0, 1), record(0, 9), record(4, 7)])
    assert [each.seconds for each in timeline.slowest(2)] == [9, 3]


@pytest.mark.parametrize(
    ("source_waited_s", "destination_waited_s", "side"),
    [
        (0, 0, None),
        (5, 0, "destination"),
        (0, 5, "source"),
        (5, 4, "both"),
        (5, 2, "destination"),
        (2, 5, "source"),
        (0.5, 0.9, None),
    ],
)
def test_who_waits_waits_for_the_other_side(
    source_waited_s: float, destination_waited_s: float, side: str | None
) -> None:
    assert slow_side(source_waited_s, destination_waited_s, 10) == side


def test_a_transfer_that_took_no_time_has_no_slow_side() -> None:
    assert slow_side(0, 0, 0) is None


def test_bars_that_can_be_seen_stay_and_the_others_become_one() -> None:
    bars = [Bar(0, 5, "a"), Bar(5, 5.2, "a"), Bar(5.2, 5.9, "b"), Bar(6.5, 6.6, "a"), Bar(7, 9, "c")]
    assert merge_bars(bars, 1) == [Bar(0, 5, "a"), Bar(5, 5.9, "b"), Bar(6.5, 6.6, "a"), Bar(7, 9, "c")]


def test_a_short_failure_is_not_lost_among_others() -> None:
    assert merge_bars([Bar(0, 0.4, "a"), Bar(0.4, 0.4, "failed"), Bar(0.5, 0.9, "a")], 1) == [Bar(0, 0.9, "failed")]


def test_the_worst_outcome_is_that_of_the_whole_transfer() -> None:
    def outcome(*outcomes: str) -> str:
        return record(0, 1, outcomes=outcomes).outcome

    assert outcome("moved", "failed") == "failed"
    assert outcome("present", "mounted", "moved") == "moved"
    assert outcome("present", "mounted") == "mounted"
    assert outcome("present") == "present"
    assert outcome("split off", "moved") == "moved"
    assert outcome("split off") == "split off"


def test_the_rate_of_a_transfer() -> None:
    assert record(1, 3, bytes_moved=50).bytes_per_s == 25
    assert record(1, 1, bytes_moved=50).bytes_per_s == 0
