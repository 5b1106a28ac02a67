"""The hot path, held to what is counted: no time, so that a busy machine changes nothing.

The bounds lie a little over what is counted (docs/performance.md). What they catch: a call more for every chunk of
16 KiB of a large blob, and some calls more for a small one, where sys.setprofile sees them; pieces or chunks that are
handed over as `bytes`, and so were copied; smaller pieces; more pauses or system calls; a list that grows with the
blob. What they do not catch: work within one call, such as a slow function of C in place of a fast one, a longer loop
without calls, or a copy that is not what is handed over.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from perf.byte_path import KINDS, LARGE, MIB, ROOT, SMALL, measure

from support.programs import find_program

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE_BLOBS, LARGE_SIZE = 2, 64 * MIB
SMALL_BLOBS, SMALL_SIZE = 400, 64 * 1024
TRIES = 4
"""Of a count that is over its bound."""
SMALL_CALLS = 880 if sys.version_info < (3, 12) else 700
"""847 are counted before 3.12: from 3.12 on, fewer of the calls are seen."""


@pytest.fixture(autouse=True)
def less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts need no long runs."""
    monkeypatch.setitem(KINDS, LARGE, (LARGE_BLOBS, LARGE_SIZE))
    monkeypatch.setitem(KINDS, SMALL, (SMALL_BLOBS, SMALL_SIZE))


def counted(kind: str, at_once: int, tracer: tuple[str, ...] = ()) -> dict[str, float]:
    [[figures]] = measure(kind, at_once, [ROOT], counts=not tracer, tracer=tracer)
    return figures


def within(bounds: dict[str, float], count: Callable[[], dict[str, float]]) -> None:
    """Holds what `count` counts to `bounds`; what is over one is counted again. On a busy machine sockets have less for
    us at once, so some counts are higher now and then, and never lower; what is too much is so each time.
    """
    least = count()
    for _ in range(TRIES - 1):
        if all(least[name] <= bound for name, bound in bounds.items()):
            return
        again = count()
        least = {name: min(least[name], again[name]) for name in least}
    assert {name: least[name] for name, bound in bounds.items() if least[name] > bound} == {}


def of_each(figures: dict[str, float], units: float) -> dict[str, float]:
    """The figures for one unit of what was moved; those of memory, of requests and of copies as they are."""
    whole = ("requests", "blocks", "allocated_bytes", "copies")
    return {name: figure if name in whole else figure / units for name, figure in figures.items()}


@pytest.mark.parametrize("at_once", [1, 2])
def test_callbacks_pauses_and_memory_of_large_blobs(at_once: int) -> None:
    def count() -> dict[str, float]:
        figures = of_each(counted(LARGE, at_once), LARGE_BLOBS * LARGE_SIZE / MIB)
        assert figures["requests"] == 3 * LARGE_BLOBS
        assert figures["receive"] >= 64  # libcurl hands out 16 KiB at most
        return figures

    bounds = {
        # A call more for each chunk would be 64 more: 615 are counted (609 from Python 3.12 on), 590 with two at a
        # time.
        "calls": 670,
        "copies": 0,
        # A socket that had less than 16 KiB for us costs a call more.
        "receive": 96,
        # A piece is 256 KiB; where the ring ran empty there is one call more, for nothing.
        "send": 6,
        "pauses": 3,
        # What stays is the same for any size: the pipe, its handles, libcurl's own.
        "blocks": 3000,
        "allocated_bytes": 2 * MIB,
    }
    within(bounds, count)


def test_callbacks_and_memory_of_small_blobs() -> None:
    def count() -> dict[str, float]:
        figures = of_each(counted(SMALL, 16), SMALL_BLOBS)
        assert figures["requests"] == 3 * SMALL_BLOBS
        return figures

    bounds = {"receive": 8, "send": 3, "calls": SMALL_CALLS, "copies": 0, "pauses": 0, "allocated_bytes": 3 * MIB}
    within(bounds, count)


@pytest.mark.extended
def test_system_calls_of_large_blobs(tmp_path: Path) -> None:
    # One recv for 64 KiB, one send for 256 KiB, and the waiting between them.
    bounds = {"recvfrom": 25, "sendto": 6, "all": 95}
    within(bounds, lambda: of_each(system_calls(LARGE, 1, tmp_path), LARGE_BLOBS * LARGE_SIZE / MIB))


@pytest.mark.extended
def test_system_calls_of_small_blobs(tmp_path: Path) -> None:
    within({"all": 40}, lambda: of_each(system_calls(SMALL, 16, tmp_path), SMALL_BLOBS))


def system_calls(kind: str, at_once: int, directory: Path) -> dict[str, float]:
    """How often each system call was made, and all of them, start and end of the process included."""
    table = directory / "calls"
    counted(kind, at_once, (find_program("strace"), "-f", "-c", "-o", str(table)))
    lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", table.read_text(), re.MULTILINE)
    by_name = {name: float(count) for count, name in lines if name != "total"}
    return {**by_name, "all": sum(by_name.values())}
