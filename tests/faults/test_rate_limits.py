"""Registries that limit how often they are asked, and runs that find out how often that is. The registry's own counters
are the judge.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Limits
from image_syncer.embedded import Behaviour, RateLimit, RetryAfter

if TYPE_CHECKING:
    from image_syncer.embedded import CounterValues, EmbeddedRegistry
    from support.sync_runs import Done, SyncLab

PER_S, BURST = 50.0, 10
REQUESTS_OF_AN_IMAGE = 9
"""Of a destination, for three blobs: HEAD and PUT of the manifest with its tag, POST and PUT of each blob, and some."""


@dataclass
class _Moment:
    at_s: float
    served: int
    refused: int


class Watch:
    """Reads the counters of a registry four times a second."""

    def __init__(self, registry: EmbeddedRegistry) -> None:
        self._registry = registry
        self._before = registry.counters.values()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.moments: list[_Moment] = []

    def __enter__(self) -> Watch:  # noqa: PYI034 - Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            values = self._registry.counters.values().minus(self._before)
            limited = refused_of(values)
            self.moments.append(_Moment(time.monotonic(), values.total_requests - limited, limited))
            if self._stopped.wait(0.25):
                return

    def between(self, from_s: float, until_s: float) -> tuple[float, float]:
        """Requests that were served, a second, and the part of all that was refused; seconds since the first one."""
        began = next(moment.at_s for moment in self.moments if moment.served)
        within = [moment for moment in self.moments if from_s <= moment.at_s - began <= until_s]
        first, last = within[0], within[-1]
        served, refused = last.served - first.served, last.refused - first.refused
        return served / (last.at_s - first.at_s), refused / max(1, served + refused)


def refused_of(values: CounterValues) -> int:
    return sum(count for status, count in values.statuses.items() if status.endswith(" 429"))


def fill(lab: SyncLab, images: int, layers: int = 2) -> None:
    for number in range(images):
        lab.push(lab.content.image(layers), f"team/app{number}")


def run_against_limit(lab: SyncLab, seconds: float, retry_after: RetryAfter, workers: int = 2) -> Watch:
    limit = RateLimit(burst=BURST, per_s=PER_S, retry_after=retry_after)
    lab.destination.behaviour = Behaviour(check_references=False, rate_limits=(limit,))
    fill(lab, int(seconds * PER_S / REQUESTS_OF_AN_IMAGE) + 1)
    with Watch(lab.destination) as watch:
        done = lab.run(workers=workers)
    check_told(done, lab.destination)
    return watch


def check_told(done: Done, registry: EmbeddedRegistry) -> None:
    """The report says what the registry counted."""
    told = done.document["limits"][registry.address]
    assert told["refused"] == refused_of(done.at(registry))
    assert told["requests_per_s"]
    assert told["left_alone_s"] > 0
    [line] = done.report.limit_lines()
    assert line.startswith(f"{registry.address} refused ")


@pytest.mark.slow
@pytest.mark.parametrize("retry_after", [RetryAfter.SECONDS, RetryAfter.NONE])
def test_a_limit_of_50_a_second_is_used_and_hardly_exceeded(lab: SyncLab, retry_after: RetryAfter) -> None:
    watch = run_against_limit(lab, 66, retry_after)
    rate, refused = watch.between(30, 60)
    assert rate >= 45
    assert refused < 0.1


@pytest.mark.slow
def test_a_limit_is_found_within_seconds(lab: SyncLab) -> None:
    """With a clock that nothing disturbs: tests/unit/scheduling/test_pacing.py."""
    watch = run_against_limit(lab, 20, RetryAfter.SECONDS)
    rate, refused = watch.between(10, 17)
    assert rate >= 0.7 * PER_S  # a pause of a second in these few is a seventh
    assert refused < 0.1


@pytest.mark.extended
@pytest.mark.parametrize("retry_after", [RetryAfter.SECONDS, pytest.param(RetryAfter.NONE, marks=pytest.mark.slow)])
def test_a_source_with_a_hard_limit_fails_no_image(lab: SyncLab, retry_after: RetryAfter) -> None:
    """60 blobs, two retries, 20 downloads a second: waiting is all that it takes."""
    limit = RateLimit(("get blob",), burst=1, per_s=20, retry_after=retry_after)
    lab.source.behaviour = Behaviour(rate_limits=(limit,))
    fill(lab, 20)
    done = lab.run(workers=2, retries=2)
    assert done.outcomes == ["copied"] * 20
    assert max(image.tries for image in done.images) == 1
    # On a machine that is full all blobs may be asked for before the first refusal has been read, each of them once.
    # From then on each takes its turn, and less than every second one is refused.
    assert refused_of(done.at(lab.source)) < 60 + 60 // 2
    check_told(done, lab.source)


@pytest.mark.extended
def test_large_blobs_wait_for_their_turns_too(lab: SyncLab) -> None:
    lab.destination.behaviour = Behaviour(check_references=False, rate_limits=(RateLimit(burst=1, per_s=16),))
    fill(lab, 4)
    done = lab.run(workers=2, retries=2, small_bytes=0)
    assert done.outcomes == ["copied"] * 4
    check_told(done, lab.destination)


@pytest.mark.extended
def test_limits_on_single_kinds_of_requests_fail_no_image(lab: SyncLab) -> None:
    kinds = ("start upload", "put upload", "put manifest", "head manifest")
    limits = tuple(RateLimit((kind,), burst=2, per_s=10) for kind in kinds)
    lab.destination.behaviour = Behaviour(check_references=False, rate_limits=limits)
    fill(lab, 6)
    done = lab.run(workers=2, retries=1)
    assert done.outcomes == ["copied"] * 6
    assert done.at(lab.destination).statuses["head manifest 429"] > 0


@pytest.mark.extended
def test_a_registry_without_limits_is_paced_by_nobody(lab: SyncLab) -> None:
    fill(lab, 3)
    done = lab.run(workers=2)
    assert done.document["limits"] == {}
    assert done.report.limit_lines() == []
    assert "paced" not in done.log


@pytest.mark.extended
@pytest.mark.parametrize("workers", [1, 3])
def test_the_users_bound_holds_from_the_first_request_on_for_all_workers_together(lab: SyncLab, workers: int) -> None:
    """Nothing is refused, since nobody asks too often; and what is allowed is used. A machine that is full may keep a
    worker from sending when it has its turns, and then they go out together: those of a second are forgiven.
    """
    lab.destination.behaviour = Behaviour(check_references=False, rate_limits=(RateLimit(burst=48, per_s=60),))
    lab.enter(lab.destination, limits=Limits(requests_per_s=40))
    fill(lab, 20)
    began = time.monotonic()
    done = lab.run(workers=workers)
    seconds = time.monotonic() - began
    assert refused_of(done.at(lab.destination)) == 0
    asked = done.at(lab.destination).total_requests
    assert 0.2 * 40 * seconds <= asked <= 40 * seconds + 8
    assert done.document["limits"][lab.destination.address]["requests_per_s"][0][1] == 40
