from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.config import Settings
from image_syncer.errors import ConfigurationError
from image_syncer.scheduling import Machine, decide_resources, split_connections

KIB, MIB, GIB = 2**10, 2**20, 2**30

sizes = st.none() | st.integers(1, 64 * GIB)
counts = st.none() | st.integers(1, 5000)


@pytest.mark.parametrize(
    ("settings", "machine", "decided"),
    [
        (Settings(), Machine(4), (4, 16, MIB)),
        (Settings(), Machine(1), (1, 16, MIB)),
        (Settings(), Machine(64), (8, 16, MIB)),
        (Settings(), Machine(4, memory_bytes=128 * MIB), (4, 16, 256 * KIB)),
        (Settings(small_bytes=0), Machine(4, memory_bytes=128 * MIB), (4, 16, 512 * KIB)),
        (Settings(workers=32), Machine(4), (32, 16, 512 * KIB)),
        (Settings(streams=2, window_bytes=4 * MIB), Machine(4), (4, 2, 4 * MIB)),
        (Settings(memory_bytes=16 * MIB), Machine(4), (4, 16, 128 * KIB)),
        (Settings(memory_bytes=2 * MIB), Machine(4), (4, 8, 64 * KIB)),
        (Settings(memory_bytes=64 * KIB), Machine(4), (1, 1, 64 * KIB)),
        (Settings(memory_bytes=200 * KIB), Machine(4), (3, 1, 64 * KIB)),
        (Settings(window_bytes=1), Machine(2), (2, 16, 64 * KIB)),
        (Settings(window_bytes=64 * GIB), Machine(2), (2, 16, 12 * MIB)),
        (Settings(proc=1), Machine(4), (1, 1, MIB)),
        (Settings(proc=6), Machine(4), (4, 2, MIB)),
        (Settings(proc=100), Machine(2), (2, 50, MIB)),
        (Settings(proc=100, streams=4), Machine(2), (2, 4, MIB)),
        (Settings(proc=2, streams=4, workers=8), Machine(2), (2, 1, MIB)),
    ],
)
def test_what_is_left_open_is_filled_in(settings: Settings, machine: Machine, decided: tuple[int, int, int]) -> None:
    resources = decide_resources(settings, machine)
    assert (resources.workers, resources.streams, resources.window_bytes) == decided


def test_the_report_tells_what_was_decided() -> None:
    assert decide_resources(Settings(proc=6), Machine(4)).as_data() == {
        "workers": 4,
        "streams": 2,
        "window_bytes": MIB,
        "small_streams": 2,
        "small_bytes": MIB,
        "memory_bytes": 512 * MIB,
        "proc": 6,
    }


@pytest.mark.parametrize(
    ("settings", "machine", "decided"),
    [
        (Settings(), Machine(4), (64, MIB)),
        (Settings(), Machine(8), (48, MIB)),
        (Settings(small_bytes=0), Machine(4), (0, 0)),
        (Settings(small_bytes=64), Machine(4), (64, 64)),
        (Settings(small_bytes=16 * MIB), Machine(4), (8, 14 * MIB)),
        (Settings(), Machine(4, memory_bytes=128 * MIB), (8, 512 * KIB)),
        (Settings(memory_bytes=16 * MIB), Machine(4), (8, 256 * KIB)),
        (Settings(memory_bytes=2 * MIB), Machine(4), (0, 0)),
        (Settings(proc=6), Machine(4), (2, MIB)),
        (Settings(), Machine(4, open_files=250), (20, MIB)),
        (Settings(), Machine(4, open_files=150), (0, 0)),
    ],
)
def test_small_blobs_get_what_windows_and_files_leave(
    settings: Settings, machine: Machine, decided: tuple[int, int]
) -> None:
    resources = decide_resources(settings, machine)
    assert (resources.small_streams, resources.small_bytes) == decided
    assert resources.streams == min(16, 2 if settings.proc else 16, 8 if settings.memory_bytes == 2 * MIB else 16)


def smallest_memory(settings: Settings, machine: Machine) -> int:
    if settings.memory_bytes is not None:
        return settings.memory_bytes
    return 512 * MIB if machine.memory_bytes is None else machine.memory_bytes // 4


@given(
    st.builds(
        Settings,
        workers=counts,
        streams=counts,
        window_bytes=sizes,
        memory_bytes=sizes,
        proc=counts,
        small_bytes=sizes | st.just(0),
    ),
    st.builds(Machine, cpus=st.integers(1, 512), memory_bytes=sizes, open_files=st.integers(3, 100_000)),
)
def test_rings_fit_under_the_ceiling_and_files_under_the_limit(settings: Settings, machine: Machine) -> None:
    resources = None
    with contextlib.suppress(ConfigurationError):
        resources = decide_resources(settings, machine)
    if resources is None:
        workers = min(settings.workers or min(8, machine.cpus), settings.proc or 5000)
        assert smallest_memory(settings, machine) < 64 * KIB or machine.open_files < 32 + 2 * workers + 6
        return
    workers, streams, window = resources.workers, resources.streams, resources.window_bytes
    assert min(workers, streams, resources.connections) >= 1
    assert window >= 64 * KIB
    small, small_bytes = resources.small_streams, resources.small_bytes
    in_all = workers * (streams * window + small * small_bytes)
    assert in_all <= resources.memory_bytes <= smallest_memory(settings, machine)
    assert (small == 0) == (small_bytes == 0)
    assert settings.small_bytes is None or small_bytes <= settings.small_bytes
    assert settings.proc is None or small * workers < settings.proc + workers
    assert 32 + 2 * workers + 3 * resources.connections <= machine.open_files
    assert 32 + 6 * (streams + small) <= machine.open_files
    assert resources.open_files <= machine.open_files
    for asked, decided in ((settings.workers, workers), (settings.streams, streams), (settings.proc, workers)):
        assert asked is None or decided <= asked
    assert settings.proc is None or streams * workers < settings.proc + workers


@pytest.mark.parametrize(
    ("settings", "machine", "what"),
    [
        (Settings(memory_bytes=64 * KIB - 1), Machine(4), "give at least 64.0 KiB"),
        (Settings(), Machine(4, memory_bytes=200 * KIB), "50.0 KiB is too little"),
        (Settings(workers=4), Machine(4, open_files=42), "(ulimit -Hn) to 43 or more"),
    ],
)
def test_a_machine_that_is_too_small_is_told(settings: Settings, machine: Machine, what: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(what)):
        decide_resources(settings, machine)


def test_streams_and_connections_are_given_up_for_want_of_files() -> None:
    resources = decide_resources(Settings(workers=4), Machine(4, open_files=92))
    assert (resources.streams, resources.connections, resources.open_files) == (10, 17, 92)
    assert resources.files_wanted == 808
    resources = decide_resources(Settings(workers=4), Machine(4, open_files=100_000))
    assert (resources.streams, resources.connections, resources.open_files) == (16, 256, 808)


@pytest.mark.parametrize("name", ["workers", "streams", "window_bytes", "memory_bytes", "proc"])
@pytest.mark.parametrize("value", [0, -1])
def test_settings_that_are_not_positive_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        decide_resources(Settings(**{name: value}), Machine(4))
    [problem] = caught.value.problems
    assert (problem.key, problem.what) == (name, f"{value} is not a positive number")


def test_a_negative_size_of_small_blobs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="small_bytes"):
        decide_resources(Settings(small_bytes=-1), Machine(4))


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("retries", -1, "-1 is less than 0"),
        ("connect_timeout_s", -0.5, "-0.5 is less than 0"),
        ("deadline_s", float("nan"), "nan is less than 0"),
        ("progress_interval_s", 0, "0 is less than 0.001"),
        ("workers", "4", "str is no number"),
        ("retries", True, "bool is no number"),
    ],
)
def test_what_no_run_can_go_by_is_refused(name: str, value: object, what: str) -> None:
    """A program may write anything: a run that looked at its progress without a pause did nothing else."""
    with pytest.raises(ConfigurationError) as caught:
        decide_resources(Settings(**{name: value}), Machine(cpus=2))
    (problem,) = caught.value.problems
    assert (problem.file, problem.key, problem.what) == ("settings", name, what)


@pytest.mark.parametrize(
    ("most", "shares"), [(None, (None, None)), (1, (1, 1)), (2, (1, 1)), (4, (1, 3)), (100, (25, 75))]
)
def test_connections_are_shared_between_coordinator_and_workers(
    most: int | None, shares: tuple[int | None, int | None]
) -> None:
    assert split_connections(most) == shares
