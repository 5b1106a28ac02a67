"""The load of registries and workers: a row for each, from jobs as they come and go."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.dispatch.running_jobs import Load
from image_syncer.errors import Origin, UnavailableError
from image_syncer.oci import Digest, Repository
from image_syncer.scheduling import Arrival, BlobOutcome, Job
from support.own_process import in_own_process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.telemetry import RegistryRow

SOURCE, FIRST, SECOND = "source.example", "first.example", "second.example"


def running(number: int, worker: int, *registries: str, received: int = 0) -> Any:
    targets: Any = [
        SimpleNamespace(repository=Repository(name, "library/app"), losses=0, mounts=False) for name in registries
    ]
    job = Job(number, Digest(f"sha256:{number:064x}"), 1000, Repository(SOURCE, "library/app"), targets)
    job.received = received
    return SimpleNamespace(job=job, worker=worker, ended_targets={})


def rows(load: Load, jobs: Iterable[Any], now: float, **given: Any) -> dict[str, RegistryRow]:
    limits: dict[str, Any] = {"connections": {}, "requests_per_s": {}, "throttled": lambda _name: None, "down": ()}
    return {row.name: row for row in load.registries(jobs, now, **{**limits, **given})}


def test_a_blob_for_two_destinations_comes_once_and_goes_twice() -> None:
    load, job = Load(), running(1, 7, FIRST, SECOND)
    load.begin(job.job.registries)
    rows(load, [job], 0.0)
    job.job.received = 1000
    seen = rows(load, [job], 1.0)
    assert [(row.side, row.bytes_per_s, row.in_flight) for row in seen.values()] == [
        ("source", 1000.0, 1),
        ("destination", 1000.0, 1),
        ("destination", 1000.0, 1),
    ]


def test_what_ended_counts_on_and_is_in_flight_no_more() -> None:
    load, job = Load(), running(1, 7, FIRST, SECOND, received=1000)
    load.begin(job.job.registries)
    rows(load, [], 0.0)
    first, second = BlobOutcome(Arrival.MOVED, 1000), BlobOutcome(Arrival.MOVED, 1000)
    job.ended_targets[0] = first
    load.end_target(job.job, 0, first)
    assert rows(load, [job], 0.5)[FIRST].in_flight == 0
    load.end(job, [first, second])
    seen = rows(load, [], 1.0)
    assert {name: row.bytes_per_s for name, row in seen.items()} == {SOURCE: 1000.0, FIRST: 1000.0, SECOND: 1000.0}
    assert load.workers([], 1.0, held={}, restarts={7: 0})[0].bytes_per_s == 0  # there is no rate from one look


@pytest.mark.parametrize(("origin", "guilty"), [(Origin.SOURCE, SOURCE), (Origin.DESTINATION, FIRST)])
def test_an_error_is_of_the_registry_that_made_it(origin: Origin, guilty: str) -> None:
    load, job = Load(), running(1, 7, FIRST)
    load.begin(job.job.registries)
    error = UnavailableError("no", origin=origin)
    load.end(job, [BlobOutcome(None, error=error)])
    assert {name: row.errors for name, row in rows(load, [], 1.0).items() if row.errors} == {guilty: 1}


def test_a_registry_that_is_both_says_so_and_limits_are_told() -> None:
    load = Load()
    load.begin(running(1, 7, SOURCE).job.registries)
    row = rows(
        load, [], 1.0, connections={SOURCE: 4}, requests_per_s={SOURCE: 2.5}, throttled=lambda name: f"{name} is paced"
    )[SOURCE]
    assert (row.side, row.connections, row.requests_per_s, row.throttled) == ("both", 4, 2.5, f"{SOURCE} is paced")


def test_a_registry_that_is_down_has_a_row_before_any_blob() -> None:
    assert rows(Load(), [], 1.0, down=[FIRST])[FIRST].side == ""


def test_workers_that_are_gone_have_no_row() -> None:
    load, job = Load(), running(1, 7, FIRST, received=500)
    load.workers([job], 0.0, held={7: (1, 0)}, restarts={7: 0})
    job.job.received = 1000
    (row,) = load.workers([job], 1.0, held={7: (1, 0)}, restarts={7: 0})
    assert (row.number, row.bytes_per_s, row.streamed, row.small, row.restarts) == (7, 500.0, 1, 0, 0)
    load.end(job, [BlobOutcome(None, error=UnavailableError("gone"))])
    assert [(row.number, row.restarts) for row in load.workers([], 2.0, held={}, restarts={8: 1})] == [(8, 1)]


@in_own_process
def test_rows_of_a_large_run_are_cheap() -> None:
    """A run of 512 streams looks four times a second; the bound is ten times what it takes on an idle machine."""
    load = Load()
    jobs = [running(number, number % 8, FIRST, received=10) for number in range(512)]
    for job in jobs:
        load.begin(job.job.registries)
    began = time.process_time()
    for look in range(10):
        rows(load, jobs, look / 4)
        load.workers(jobs, look / 4, held={}, restarts=dict.fromkeys(range(8), 0))
    seconds = (time.process_time() - began) / 10
    assert seconds < 0.02, f"{seconds:.4f} s for each look"
