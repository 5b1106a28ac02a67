from __future__ import annotations

import itertools
from typing import Any

from image_syncer.telemetry.report import ALL_TOGETHER, MOST_POINTS, LimitsLog, Report, Series, Totals

HERE, THERE = "registry.example", "other.example"


def lines_of(limits: dict[str, Any]) -> list[str]:
    return Report({}, Totals(), "2026-01-01T00:00:00+00:00", 1.0, limits=limits).limit_lines()


def test_only_changes_are_points() -> None:
    series = Series(notable=0.05)
    for at, value in enumerate((10.0, 10.1, 10.2, 11.0, 11.1, None, None, 9.0)):
        series.note(float(at), value)
    assert series.as_data() == [[0.0, 10.0], [3.0, 11.0], [5.0, None], [7.0, 9.0]]


def test_a_long_run_has_no_more_points_than_a_short_one_and_its_end_is_among_them() -> None:
    series = Series()
    for at in range(100_000):
        series.note(float(at), float(at))
    data = series.as_data()
    assert len(data) <= MOST_POINTS + 2
    assert data[0] == [0.0, 0.0]
    assert data[-1] == [99_999.0, 99_999.0]
    gaps = [after[0] - before[0] for before, after in itertools.pairwise(data[:-1])]  # type: ignore[operator]
    assert max(gaps) < 100_000 / MOST_POINTS * 5


def test_a_registry_that_never_limited_us_is_not_mentioned() -> None:
    log = LimitsLog()
    log.note_connections(HERE, None, 1.0)
    assert log.as_data() == {}
    assert lines_of(log.as_data()) == []


def test_what_was_learnt_is_told() -> None:
    log = LimitsLog()
    log.note_rate(HERE, 16.0, 1.0)
    log.note_refusals(HERE, 3, 1.0)
    log.note_connections(HERE, 8, 1.0)
    log.note_rate(HERE, 48.5, 9.0)
    log.note_refusals(HERE, 1200, 62.04)
    log.left_alone(THERE, 30.0)
    assert log.as_data() == {
        THERE: {"refused": 0, "left_alone_s": 30.0, "requests_per_s": [], "bytes_per_s": [], "connections": []},
        HERE: {
            "refused": 1200,
            "left_alone_s": 62.0,
            "requests_per_s": [[1.0, 16.0], [9.0, 48.5]],
            "bytes_per_s": [],
            "connections": [[1.0, 8]],
        },
    }
    one, other = lines_of(log.as_data())
    assert one == f"{THERE} was paused for 30 s"
    assert other.startswith(f"{HERE} refused 1,200 requests (429), was paused for ")
    assert other.endswith(", got at most 48.5 requests per second in the end")


def test_a_registry_that_is_paced_anew_goes_on_counting() -> None:
    log = LimitsLog()
    log.note_rate(HERE, 16.0, 1.0)
    log.note_refusals(HERE, 3, 1.0)
    log.note_rate(HERE, None, 5.0)
    log.note_rate(HERE, 16.0, 7.0)
    log.note_refusals(HERE, 2, 2.0)
    [data] = log.as_data().values()
    assert (data["refused"], data["left_alone_s"]) == (5, 3.0)
    assert data["requests_per_s"] == [[1.0, 16.0], [5.0, None], [7.0, 16.0]]
    assert lines_of(log.as_data())[0].startswith(f"{HERE} refused 5 requests")


def test_what_the_user_allows_is_told_as_it_changed_and_is_no_refusal() -> None:
    log = LimitsLog()
    log.note_bytes(None, 50e6, 0.0)
    log.note_bytes(HERE, 1e6, 0.0)
    log.note_bytes(None, None, 60.0)
    data = log.as_data()
    assert data[ALL_TOGETHER]["bytes_per_s"] == [[0.0, 50e6], [60.0, None]]
    assert data[HERE]["bytes_per_s"] == [[0.0, 1e6]]
    assert lines_of(data) == []
