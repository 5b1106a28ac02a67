"""Virtual time goes from one thing to the next, and knows what everything waited for."""

from __future__ import annotations

import pytest

from image_syncer.capacity.forecast import MACHINE, WAITING, Phase
from image_syncer.capacity.simulation import FlowKind, VirtualTime

CPU = FlowKind(("work",), {MACHINE: 1.0})


def test_it_goes_to_whatever_comes_first() -> None:
    time: VirtualTime[str] = VirtualTime({MACHINE: 1.0})
    seen: list[tuple[float, str]] = []

    def note(what: str) -> None:
        seen.append((time.now, what))

    time.flows.begin(CPU, 2.0, "flow")
    time.after(3.0, lambda: note("late"))
    time.after(1.0, lambda: note("early"))
    for _ in range(3):
        time.step(note)
    assert seen == [(1.0, "early"), (2.0, "flow"), (3.0, "late")]
    assert time.phases == [Phase(0.0, 2.0, "machine"), Phase(2.0, 3.0, WAITING)]


def test_timers_of_one_moment_go_off_in_their_order_and_after_the_flows() -> None:
    time: VirtualTime[str] = VirtualTime({MACHINE: 1.0})
    seen: list[str] = []
    for name in ("first", "second"):
        time.after(1.0, lambda name=name: seen.append(name))  # type: ignore[misc]
    time.flows.begin(CPU, 1.0, "flow")
    time.step(seen.append)
    assert seen == ["flow", "first", "second"]


def test_a_timer_may_set_another_that_is_due_at_once() -> None:
    time: VirtualTime[str] = VirtualTime({})
    seen: list[float] = []
    time.after(1.0, lambda: time.after(0.0, lambda: seen.append(time.now)))
    time.step(lambda _token: None)
    assert seen == [1.0]


def test_where_nothing_is_going_to_happen_it_says_so() -> None:
    time: VirtualTime[str] = VirtualTime({MACHINE: 0.0})
    time.flows.begin(CPU, 1.0, "flow")
    with pytest.raises(ValueError, match="nothing that was measured"):
        time.step(lambda _token: None)
