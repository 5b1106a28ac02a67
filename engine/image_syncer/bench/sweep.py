"""The settings beyond which more does not pay: workers, streams and window, tried one after the other."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING

from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from image_syncer.bench.measuring import Measurer

__all__ = ["Setting", "sweep"]

ENOUGH = 1.05
"""A setting that takes at most so much longer than the best is as good, and the smallest of those is taken."""
RUNS = 3
KIB = 2**10
WINDOWS = (256 * KIB, 1024 * KIB, 4096 * KIB)
STREAMS = (1, 4, 16)


class Setting(Value, frozen=True, order=True):
    """Workers, streams of each, and the window of a stream in bytes."""

    workers: int
    streams: int
    window: int

    def as_data(self) -> dict[str, int]:
        """For a file."""
        return asdict(self)

    @property
    def words(self) -> tuple[str, ...]:
        """The same as options."""
        return (f"--workers={self.workers}", f"--streams={self.streams}", f"--window={self.window}")


def sweep(
    measurer: Measurer,
    samples: Callable[[], Path],
    cpus: int,
    *,
    tell: Callable[[str], None] = lambda _text: None,
    runs: int = RUNS,
) -> Setting:
    """Begin with what a run would take, and try workers, then streams, then windows, each in `runs` runs by turns.
    `samples` gives a plan file whose destinations are new each time.
    """
    best = Setting(cpus, STREAMS[-1], WINDOWS[1])
    for choices in (_workers, _streams, _windows):
        tried = list(choices(best, cpus))
        seconds: dict[Setting, list[float]] = {one: [] for one in tried}
        for _ in range(runs):
            for one in tried:
                seconds[one].append(measurer.run(samples(), one.words).wall_s)
        took = {one: statistics.median(times) for one, times in seconds.items()}
        least = min(took.values())
        best = min(one for one, median in took.items() if median <= least * ENOUGH)
        tell(f"{best.workers} workers × {best.streams} streams × {best.window // KIB} KiB: {took[best]:.2f} s")
    return best


def _workers(best: Setting, cpus: int) -> Iterator[Setting]:
    number = 1
    while number < 2 * cpus:
        yield replace(best, workers=number)
        number *= 2
    yield replace(best, workers=2 * cpus)


def _streams(best: Setting, _cpus: int) -> Iterator[Setting]:
    return (replace(best, streams=streams) for streams in STREAMS)


def _windows(best: Setting, _cpus: int) -> Iterator[Setting]:
    return (replace(best, window=window) for window in WINDOWS)
