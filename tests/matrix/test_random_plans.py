"""Faults by chance, several in one run: whatever they are, the run ends, its sums are right, nothing at the destination
is wrong, and a second run without faults makes everything whole.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, event, example, given, note, settings
from hypothesis import strategies as st

from image_syncer.embedded import Behaviour
from support.fault_plan import Action, Moment, ProxyFault
from support.fault_proxy import run_fault_proxy
from support.sync_runs import TAG, TRUSTING, SyncLab

if TYPE_CHECKING:
    from pathlib import Path

READS = ("list tags", "head manifest", "get manifest", "get blob")
WRITES = ("head manifest", "start upload", "put upload", "patch upload", "get upload", "cancel upload", "put manifest")
LARGE_BYTES, SMALL_BYTES = 90_000, 2_000
STALL_S, WAIT_S = 1.0, 4.0
MOST_SECONDS = 60.0
"""Of one run: each of its faults costs at most a time-out and a pause, and some follow each other."""
RUNS, MANY_RUNS = 8, 60
STATUSES = (400, 401, 403, 404, 409, 413, 416, 429, 500, 502, 503, 504, 522)
_BREAKS = (Action.RESET, Action.CLOSE)
_EDITS = (Action.FLIP, Action.SHORTEN, Action.LENGTHEN, Action.OVERSTATE, Action.UNDERSTATE)


@st.composite
def faults(draw: st.DrawFn, operations: tuple[str, ...]) -> ProxyFault:
    """Any fault that the proxy knows, at any of `operations`."""
    moment = draw(st.sampled_from(Moment))
    breaking: tuple[Action, ...] = _BREAKS
    if draw(st.integers(0, 9)) == 0:
        breaking = (Action.STALL,)
    actions = {
        Moment.REQUEST_BODY: (*breaking, *_EDITS, Action.ANSWER),
        Moment.BEFORE_ANSWER: (*breaking, Action.ANSWER),
        Moment.LOST: (Action.RESET, Action.CLOSE, Action.ANSWER),
        Moment.ANSWER_HEAD: (*breaking, Action.TRICKLE),
        Moment.ANSWER_BODY: (*breaking, *_EDITS, Action.TRICKLE),
        Moment.AFTER: (*breaking, Action.TWICE),
    }[moment]
    status = draw(st.sampled_from(STATUSES))
    if moment is Moment.LOST:
        status = draw(st.sampled_from((500, 502, 503, 504)))
    return ProxyFault(
        draw(st.sampled_from(actions)),
        moment,
        draw(st.sampled_from(operations)),
        times=draw(st.sampled_from((1, 1, 2, 5))),
        skip=draw(st.integers(0, 4)),
        after_bytes=draw(st.integers(0, LARGE_BYTES)),
        status=status,
        body=draw(st.sampled_from((b"", b"<html>broken</html>", b'{"errors":[{"code":"UNKNOWN","message":"m"}]}'))),
        bytes_per_s=20_000.0,
    )


plans = st.tuples(
    st.lists(faults(READS), max_size=4), st.lists(faults(WRITES), max_size=4), st.integers(1, 3), st.booleans()
)


calm = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.extended
@settings(calm, max_examples=RUNS)
@given(plans)
@example(([], [], 1, False))
def test_whatever_breaks_nothing_is_wrong_and_a_rerun_makes_it_right(tmp_path: Path, plan: Any) -> None:
    try_plan(tmp_path, plan)


@pytest.mark.slow
@settings(calm, max_examples=MANY_RUNS)
@given(plans)
def test_the_same_of_many_plans(tmp_path: Path, plan: Any) -> None:
    try_plan(tmp_path, plan)


def try_plan(tmp_path: Path, plan: Any) -> None:
    """One run with faults, and one without."""
    at_source, at_destination, images, trusting = plan
    note(f"source: {at_source}\ndestination: {at_destination}\n{images} images, trusting: {trusting}")
    with ExitStack() as stack:
        lab = SyncLab(stack, tmp_path)
        proxy = stack.enter_context(run_fault_proxy())
        lab.destination.behaviour = TRUSTING if trusting else Behaviour()
        shared = [lab.content.layer(LARGE_BYTES), lab.content.layer(SMALL_BYTES)]
        made = {
            f"team/app{number}": lab.push(
                lab.content.image([*shared, lab.content.layer(LARGE_BYTES)]), f"team/app{number}"
            )
            for number in range(images)
        }
        doors = (
            proxy.open_door(lab.source.address, *at_source),
            proxy.open_door(lab.destination.address, *at_destination),
        )
        for door in doors:
            lab.enter(door)  # type: ignore[arg-type]
        rules = [
            lab.rule(name, (TAG,), origin=doors[0], to=[(doors[1], name)])  # type: ignore[arg-type, list-item]
            for name in made
        ]
        how = {
            "stall_timeout_s": STALL_S,
            "answer_timeout_s": STALL_S,
            "connect_timeout_s": STALL_S,
            "small_bytes": 10_000,
            "window_bytes": 65_536,
            "longest_wait_s": WAIT_S,
            "give_up_after_s": WAIT_S,
            "retries": 1,
        }
        done = lab.run(*rules, exit_code=None, **how)
        assert len(done.images) == images
        assert done.report.seconds < MOST_SECONDS
        event(f"{done.outcomes.count('failed')} of {images} failed")
        for door in doors:
            door.break_with()
        lab.run(*rules, **how)
        for name, image in made.items():
            lab.assert_arrived(image, name)
