"""How the time left is judged."""

from __future__ import annotations

import pytest
from perf.time_left import SCENARIOS, Answer, Judged, render

JUDGED = Judged(
    "x",
    100.0,
    (
        Answer(0.0, None, None, None, None, None),
        Answer(9.9, 99.11, 80.0, 110.0, "images", 45.05),
        Answer(50.0, 40.0, 30.0, 45.0, "the rate", 100.0),
        Answer(74.0, 26.0, 20.0, 30.0, "the rate", 26.0),
    ),
)


def test_errors_are_relative_to_what_was_left() -> None:
    assert JUDGED.error(0.05) is None
    assert JUDGED.error(0.1) == pytest.approx(0.1)
    assert JUDGED.error(0.1, by_rate=True) == pytest.approx(-0.5)
    assert JUDGED.error(0.5) == pytest.approx(-0.2)
    assert [JUDGED.holds(part) for part in (0.05, 0.1, 0.5, 0.75)] == [None, True, False, True]


def test_the_table_has_both_rules_and_what_they_come_to() -> None:
    lines = render([JUDGED]).splitlines()
    assert lines[2] == ("| x | 100 s | +10% [−50%] | +10% [−50%] | −20% [+100%] | +0% [+0%] | 3 of 4 | the rate |")
    assert lines[-2].startswith("time left: off by 10% in the median, by 25% at most; 0 of 4 times")
    assert lines[-1].startswith("bytes by rate: off by 100% in the median, by 100% at most")


def test_every_scenario_has_something_to_move_or_to_ask() -> None:
    assert all(scenario.sources and scenario.destinations for scenario in SCENARIOS.values())
