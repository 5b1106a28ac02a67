"""Fluid flows: who gets how much of what, and when each ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.capacity.simulation import FlowKind, Flows


def drain(flows: Flows[str]) -> dict[str, float]:
    """When each flow ends."""
    ends: dict[str, float] = {}
    while len(flows):
        at = flows.next_at()
        ends.update(dict.fromkeys(flows.advance(at), at))
    return ends


def test_one_flow_gets_all_that_there_is() -> None:
    flows: Flows[str] = Flows({"link": 10.0})
    flows.begin(FlowKind(("a",), {"link": 1.0}), 50.0, "a")
    assert drain(flows) == {"a": pytest.approx(5.0)}
    assert flows.used["link"] == pytest.approx(50.0)


def test_flows_of_one_kind_share_alike_and_the_rest_is_for_who_stays() -> None:
    flows: Flows[str] = Flows({"link": 10.0})
    kind = FlowKind(("a",), {"link": 1.0})
    flows.begin(kind, 10.0, "short")
    flows.begin(kind, 30.0, "long")
    assert drain(flows) == {"short": pytest.approx(2.0), "long": pytest.approx(4.0)}


def test_what_one_cannot_use_is_for_the_others() -> None:
    flows: Flows[str] = Flows({"link": 10.0})
    flows.begin(FlowKind(("slow",), {"link": 1.0}, most=1.0), 10.0, "slow")
    flows.begin(FlowKind(("fast",), {"link": 1.0}), 90.0, "fast")
    assert drain(flows) == {"slow": pytest.approx(10.0), "fast": pytest.approx(10.0)}


def test_each_kind_waits_for_its_own_resource() -> None:
    flows: Flows[str] = Flows({"machine": 2.0, "worker 0": 1.0, "worker 1": 1.0})
    for number in (0, 1):
        name = f"worker {number}"
        flows.begin(FlowKind((name,), {name: 1.0, "machine": 1.5}), 1.0, name)
    assert flows.next_at() == pytest.approx(1.5)
    assert flows.full == ("machine",)


def test_one_that_begins_later_slows_the_others_from_then_on() -> None:
    flows: Flows[str] = Flows({"link": 10.0})
    kind = FlowKind(("a",), {"link": 1.0})
    flows.begin(kind, 100.0, "first")
    flows.next_at()
    assert flows.advance(5.0) == []
    assert flows.left_of(kind, "first") == pytest.approx(50.0)
    flows.begin(kind, 10.0, "second")
    assert drain(flows) == {"second": pytest.approx(7.0), "first": pytest.approx(11.0)}


def test_flows_without_a_bound_are_a_mistake() -> None:
    flows: Flows[str] = Flows({})
    flows.begin(FlowKind(("a",), {"link": 1.0}), 1.0, "a")
    with pytest.raises(ValueError, match="nothing bounds"):
        flows.next_at()


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.floats(0.1, 100.0), st.floats(0.1, 10.0)),
        min_size=1,
        max_size=12,
    )
)
def test_no_resource_gives_more_than_it_has_and_none_is_idle(flows_given: list[tuple[int, float, float]]) -> None:
    flows: Flows[str] = Flows({"machine": 3.0, "path 0": 1.0, "path 1": 2.0})
    total = 0.0
    for number, (kind, work, most) in enumerate(flows_given):
        demands = {"machine": 1.0, f"path {kind}": 1.0}  # path 2 has no bound
        flows.begin(FlowKind((str(kind), f"{most}"), demands, most=most), work, str(number))
        total += work
    last = max(drain(flows).values())
    assert flows.used["machine"] == pytest.approx(total)
    for name, capacity in (("machine", 3.0), ("path 0", 1.0), ("path 1", 2.0)):
        assert flows.used[name] <= capacity * last * (1 + 1e-6)
    assert math.isfinite(last)


def test_a_little_work_ends_late_in_time_too() -> None:
    """At such a time, the clock tells no millionth of a second."""
    flows: Flows[str] = Flows({"cpu": 1.0})
    flows.advance(6.5e9)
    flows.begin(FlowKind(("job",), {"cpu": 1.0}), 123.4567e-6, "job")
    for _ in range(5):
        if flows.advance(flows.next_at()) == ["job"]:
            return
    pytest.fail("it never ends")
