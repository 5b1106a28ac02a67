"""Bandwidth limits of whole runs. The judge is the destination's own count of the bytes that came, over the time in
which they came: the source's kernel holds some that nobody has read.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Limits, RateSchedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.embedded import EmbeddedRegistry
    from support.sync_runs import SyncLab

MB = 10**6


class Flow:
    """Reads a count of bytes twenty times a second, while a run goes on."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.points: list[tuple[float, int]] = []

    def __enter__(self) -> Flow:  # noqa: PYI034 - Self came with Python 3.11
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stopped.wait(0.05):
            self.points.append((time.monotonic(), self._count()))

    def rate(self, seconds: float) -> float:
        """Bytes a second, over so many of them from half a second after the first byte on."""
        first = self.points[0][1]
        began = next(at for at, count in self.points if count > first) + 0.5
        at, before = next(point for point in self.points if point[0] >= began)
        until, after = next(point for point in self.points if point[0] >= at + seconds)
        return (after - before) / (until - at)


def rate_of(text: str) -> RateSchedule:
    schedule = RateSchedule.parse(text)
    assert schedule is not None
    return schedule


def arrive(registry: EmbeddedRegistry) -> Flow:
    return Flow(lambda: registry.counters.bytes_in)


def fill(lab: SyncLab, images: int, layer_bytes: int, layers: int = 1) -> None:
    for number in range(images):
        lab.push(lab.content.image(layers, layer_bytes=layer_bytes), f"team/app{number}")


@pytest.mark.extended
@pytest.mark.parametrize("workers", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_rate_is_kept_and_used(lab: SyncLab, workers: int) -> None:
    fill(lab, 4, 9 * MB)
    with arrive(lab.destination) as flow:
        done = lab.run(workers=workers, rate=rate_of("8MB/s"))
    assert flow.rate(3.0) == pytest.approx(8 * MB, rel=0.08)
    assert done.document["settings"]["rate"] == "8MB/s"
    assert done.document["limits"]["all registries"]["bytes_per_s"][0][1] == 8 * MB
    assert done.report.limit_lines() == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize(("layer_bytes", "rate"), [(30 * MB, 20), (MB // 2, 8)])
def test_a_rate_is_exact_over_ten_seconds(lab: SyncLab, workers: int, layer_bytes: int, rate: int) -> None:
    """Small blobs at a rate at which the machine is not what they wait for."""
    fill(lab, 12 * rate * MB // layer_bytes // 4, layer_bytes, layers=4)
    with arrive(lab.destination) as flow:
        lab.run(workers=workers, rate=rate_of(f"{rate}MB/s"))
    assert flow.rate(10.0) == pytest.approx(rate * MB, rel=0.05)


@pytest.mark.extended
def test_small_blobs_count_too(lab: SyncLab) -> None:
    fill(lab, 28, 200_000, layers=2)
    with arrive(lab.destination) as flow:
        lab.run(workers=2, rate=rate_of("4MB/s"))
    assert flow.rate(2.0) == pytest.approx(4 * MB, rel=0.12)


def test_a_registry_has_a_limit_of_its_own_and_the_others_do_not_wait_for_it(lab: SyncLab) -> None:
    other = lab.add_registry()
    lab.enter(lab.destination, limits=Limits(rate=rate_of("2MB/s")))
    lab.image(1, layer_bytes=5 * MB)
    lab.image(1, "team/other", layer_bytes=20 * MB)
    ended: dict[str, float] = {}
    began = time.monotonic()
    done = lab.run(
        lab.rule(),
        lab.rule("team/other", to=[(other, "team/other")]),
        on_image=lambda image: ended.update({str(image.destination): time.monotonic() - began}),
    )
    times = {name.partition("/")[0]: seconds for name, seconds in ended.items()}
    assert times[lab.destination.address] >= 2.2
    assert times[other.address] < times[lab.destination.address]
    assert set(done.document["limits"]) == {lab.destination.address}


@pytest.mark.extended
def test_a_pause_of_ours_is_nobodys_silence(lab: SyncLab) -> None:
    """Each chunk takes a second and more to be allowed: longer than a side may be silent, and nobody is given up."""
    fill(lab, 1, 30_000)
    done = lab.run(workers=1, rate=rate_of("12KB/s"), stall_timeout_s=1.0, answer_timeout_s=1.0, retries=0)
    assert done.outcomes == ["copied"]
    assert done.report.resumes == {"source": 0, "destination": 0, "while idle": 0}
    assert done.report.seconds >= 2.5


@pytest.mark.extended
def test_a_deep_verification_reads_no_faster_than_it_may(lab: SyncLab) -> None:
    manifest = lab.image(2, layer_bytes=2 * MB)
    lab.run()
    lab.assert_arrived(manifest)
    done = lab.verify(deep=True, rate=rate_of("2MB/s"))
    assert done.report.seconds >= 1.7
    assert done.report.totals.bytes_read >= 4 * MB


def test_without_a_limit_nobody_asks_for_leave(lab: SyncLab) -> None:
    fill(lab, 2, MB)
    done = lab.run(rate=RateSchedule.parse("none"))
    assert done.document["limits"] == {}
    assert "limit of bytes" not in done.log
