"""The tuner on simulated paths: what `rate_of` streams of each worker move together, with and without noise."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.scheduling import StreamTuner

if TYPE_CHECKING:
    from collections.abc import Callable

MB = 1e6
WORKERS = 2
SEEDS = range(12)


def far(streams: float) -> float:
    """Each stream is slow, by distance and loss."""
    return WORKERS * streams * 0.25 * MB


def narrow(streams: float) -> float:
    """The link is full with six streams of each worker."""
    return min(WORKERS * streams * 10 * MB, 120 * MB)


def local(streams: float) -> float:
    """A core is full with one stream, and each more costs its cache something."""
    return WORKERS * 400 * MB * (1 - 0.012 * (streams - 1))


def local_with_gaps(streams: float) -> float:
    """The same, where one stream alone leaves the core idle between two blobs."""
    return local(streams) * (0.8 if streams < 2 else 1)


@dataclass
class Simulation:
    """A run whose queue is never empty. Streams that are too many end one after the other, `drain_s` for all."""

    rate_of: Callable[[float], float]
    most: int = 16
    noise: float = 0.0
    seed: int = 0
    drain_s: float = 1.0
    step_s: float = 0.5
    now: float = 0.0
    moved: float = 0.0
    levels: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.tuner = StreamTuner(self.most)
        self.in_force = float(self.tuner.allowed)
        self.tuner.sample(0.0, 0, self.tuner.allowed, waiting=True)

    def run(self, seconds: float, *, waiting: bool = True) -> Simulation:
        end = self.now + seconds
        while self.now < end:
            self.now += self.step_s
            rate = max(0.0, self.rate_of(self.in_force) * (1 + self.chance.gauss(0, self.noise)))
            self.moved += rate * self.step_s
            streams = int(-(-self.in_force // 1))
            allowed = self.tuner.sample(self.now, int(rate * self.step_s), streams, waiting=waiting)
            assert 1 <= allowed <= self.most
            drained = self.in_force - self.in_force * self.step_s / self.drain_s if self.drain_s else 0.0
            self.in_force = max(float(allowed), drained)
            if not self.levels or self.levels[-1][1] != allowed:
                self.levels.append((self.now, allowed))
        return self

    def reached_at(self, level: int) -> float:
        return next(when for when, allowed in self.levels if allowed >= level)

    def part_of(self, best: float) -> float:
        """Of what the best number of streams would have moved."""
        return self.moved / (best * self.now)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(("most", "seconds"), [(16, 4), (64, 8)])
def test_over_a_long_way_it_climbs_to_the_most_within_seconds_and_stays(
    most: int, seconds: float, noise: float
) -> None:
    for seed in SEEDS:
        simulation = Simulation(far, most=most, noise=noise, seed=seed).run(120)
        assert simulation.reached_at(most) <= seconds
        assert simulation.part_of(far(most)) > 0.94
        assert simulation.tuner.allowed >= most * 3 // 4


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_where_processors_are_full_it_settles_at_few(noise: float) -> None:
    few = []
    for seed in SEEDS:
        simulation = Simulation(local, noise=noise, seed=seed).run(60)
        few.append(simulation.tuner.allowed)
    assert max(few) <= 4
    assert sorted(few)[len(few) // 2] <= (3 if noise else 1)


def test_where_nothing_is_gained_the_climb_ends_with_the_first_step() -> None:
    simulation = Simulation(local).run(20)
    assert [allowed for _, allowed in simulation.levels][:5] == [4, 8, 4, 3, 2]
    assert simulation.tuner.allowed == 1


def test_a_second_stream_is_kept_where_one_leaves_gaps() -> None:
    simulation = Simulation(local_with_gaps).run(30)
    assert simulation.tuner.allowed == 2


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_full_link_gets_about_as_many_as_fill_it(noise: float) -> None:
    for seed in SEEDS:
        simulation = Simulation(narrow, noise=noise, seed=seed).run(120)
        assert 4 <= simulation.tuner.allowed <= 12
        assert simulation.part_of(120 * MB) > 0.93


@pytest.mark.parametrize("rate_of", [far, narrow, local, local_with_gaps])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.1, 0.2])
def test_it_comes_to_rest(rate_of: Callable[[float], float], noise: float) -> None:
    for seed in SEEDS:
        simulation = Simulation(rate_of, noise=noise, seed=seed).run(120)
        late = simulation.run(480).levels
        # Four probes, of two changes each, where none succeeds; noise makes some succeed, and others follow.
        assert len([when for when, _ in late if when > 120]) <= (12 if not noise else 24 if noise < 0.2 else 40)


def test_a_path_that_becomes_slow_for_each_stream_is_climbed_anew() -> None:
    simulation = Simulation(local).run(60)
    assert simulation.tuner.allowed <= 2
    simulation.rate_of = far
    simulation.run(12)
    assert simulation.tuner.allowed == 16


def test_streams_that_do_not_end_soon_are_not_waited_for() -> None:
    simulation = Simulation(far, drain_s=1000).run(12.5)
    assert simulation.tuner.allowed == 12, "the first look downwards"
    simulation.run(5)
    assert simulation.tuner.allowed == 16
    assert simulation.in_force > 15


def test_without_waiting_work_nothing_is_concluded() -> None:
    simulation = Simulation(far).run(60, waiting=False)
    assert simulation.levels == [(0.5, 4)]
    assert simulation.run(5).tuner.allowed == 16


def test_a_refusal_halves_and_holds() -> None:
    tuner = Simulation(far).run(10).tuner
    assert tuner.allowed == 16
    assert tuner.refused(10.1) == 8
    assert tuner.refused(11.0) == tuner.refused(15.5) == 8, "the same refusal"
    assert tuner.refused(30.0) == 4
    assert tuner.refused(60.0) == 4, "what the start allows is left to the limits of hosts"


def test_after_a_refusal_more_are_tried_late_and_step_by_step() -> None:
    simulation = Simulation(far).run(10)
    simulation.tuner.refused(simulation.now)
    simulation.run(25)
    assert simulation.tuner.allowed == 8
    simulation.run(40)
    assert [allowed for when, allowed in simulation.levels if when > 35][:2] in ([6, 8], [12, 16])
    simulation.run(120)
    assert simulation.tuner.allowed >= 12


def test_samples_that_come_too_close_are_taken_together() -> None:
    one, many = Simulation(far), Simulation(far, step_s=0.05)
    one.run(8)
    many.run(8)
    assert one.tuner.allowed == many.tuner.allowed == 16


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_bound_of_the_user_holds_from_the_start(most: int) -> None:
    assert StreamTuner(most).allowed == most
    Simulation(far, most=most).run(60)


def test_the_same_samples_give_the_same_answers() -> None:
    assert (
        Simulation(narrow, noise=0.2, seed=5).run(100).levels == Simulation(narrow, noise=0.2, seed=5).run(100).levels
    )


def test_it_says_how_it_stands() -> None:
    assert repr(StreamTuner(16)) == "<StreamTuner measure: 4 of 16 streams>"


steps = st.tuples(
    st.floats(0, 100), st.integers(0, 10**12), st.integers(0, 200), st.booleans(), st.sampled_from([False] * 9 + [True])
)


@given(most=st.integers(1, 200), events=st.lists(steps, max_size=200))
def test_whatever_happens_it_stays_within_its_bounds(
    most: int, events: list[tuple[float, int, int, bool, bool]]
) -> None:
    tuner, now = StreamTuner(most), 0.0
    for seconds, moved, in_force, waiting, refused in events:
        now += seconds
        before = tuner.allowed
        after = tuner.refused(now) if refused else tuner.sample(now, moved, in_force, waiting=waiting)
        assert after == tuner.allowed
        assert 1 <= after <= most
        assert before // 2 <= after <= 2 * before or after in (tuner._base, min(4, most))


def test_a_bound_that_is_lowered_holds_at_once_and_one_that_is_raised_is_climbed_to() -> None:
    tuner = StreamTuner(16)
    tuner.bind(2, 0.0)
    assert tuner.allowed == 2
    now = 0.0
    for _ in range(100):
        now += 0.5
        tuner.sample(now, int(1e6 * tuner.allowed), tuner.allowed, waiting=True)
        assert tuner.allowed <= 2
    tuner.bind(16, now)
    for _ in range(100):
        now += 0.5
        tuner.sample(now, int(1e6 * tuner.allowed), tuner.allowed, waiting=True)
    assert tuner.allowed > 8
