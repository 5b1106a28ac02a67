"""The short form of the fuzzer: whatever strangers write, it is read or refused, soon, and never a crash."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.mutation import mutated
from fuzz.targets import TARGETS

MOST_S = 2.0
"""Of processor time of this thread for 64 KiB: far more than any takes, far less than a pattern that explodes."""


@pytest.mark.parametrize("name", TARGETS)
def test_examples_are_read(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)
    TARGETS[name].run(b"")


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_crashes(name: str, data: st.DataObject) -> None:
    chosen = TARGETS[name]
    seed = data.draw(st.sampled_from(chosen.seeds))
    text = mutated(seed, data.draw(st.randoms(use_true_random=True)))
    begin = time.thread_time()
    try:
        chosen.run(text)
    except Exception as error:
        raise AssertionError(f"{name} of {text[:2000]!r}") from error
    assert time.thread_time() - begin < MOST_S, f"{name} of {text[:2000]!r}"
