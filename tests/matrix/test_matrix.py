"""Every cell of the matrix that is possible is tried, and comes to what it has to come to."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import product
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from matrix.bench import PATIENT_S, STALL_S, Bench
from matrix.cells import CELLS, GATEWAY, LIMITS, Cell, Kind, Moment, Operation, impossible
from matrix.outcomes import expected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from support.certificates import Certificates

POSSIBLE = tuple(cell for cell in CELLS if impossible(cell) is None)
CELLS_OF_A_RUN, WAITING_CELLS_OF_A_RUN = 120, 200
"""Most of a run is waiting, and its cells wait together: those that take their time-outs, whatever their number is."""
ALIKE = (GATEWAY, LIMITS)
"""Kinds that come to one outcome everywhere. Of those one is tried by default, another one at each place."""


def is_double(cell: Cell) -> bool:
    """Whether the same place has a cell like this one, which is tried by default."""
    for kinds in ALIKE:
        if cell.kind in kinds:
            place = f"{cell.operation.value}/{cell.moment.value}/{cell.lasting}"
            ordered = [kind for kind in Kind if kind in kinds]
            return cell.kind is not ordered[crc32(place.encode()) % len(ordered)]
    return False


def runs() -> Iterator[object]:
    """The cells in portions, each of which has a bit of everything."""
    waiting = [cell for cell in POSSIBLE if cell.kind is Kind.STALL or (cell.kind in LIMITS and cell.lasting)]
    others = [cell for cell in POSSIBLE if cell not in waiting]
    for name, cells, size in (("waiting", waiting, WAITING_CELLS_OF_A_RUN), ("others", others, CELLS_OF_A_RUN)):
        doubles = [cell for cell in cells if is_double(cell)]
        single = [cell for cell in cells if cell not in doubles]
        for part, marks in ((single, ()), (doubles, pytest.mark.slow)):
            count = -(-len(part) // size)
            for number in range(count):
                what = f"{name}-doubles" if marks else name
                yield pytest.param(part[number::count], id=f"{what}-{number + 1}-of-{count}", marks=marks)


def one_of_each() -> list[Cell]:
    """The first cells that have every operation, every moment and every kind; faults that strike once come first."""
    chosen: list[Cell] = []
    covered: set[object] = set()
    for cell in sorted(POSSIBLE, key=lambda cell: cell.lasting):
        values = {cell.operation, cell.moment, cell.kind}
        if not values <= covered:
            chosen.append(cell)
            covered |= values
    return chosen


def test_every_cell_is_impossible_for_a_reason_or_has_an_outcome() -> None:
    assert len(CELLS) == len(set(CELLS)) == len(Operation) * len(Moment) * len(Kind) * 2
    without = [str(cell) for cell in POSSIBLE if expected(cell) is None]
    assert without == []
    assert not any(reason == "" for cell in CELLS if (reason := impossible(cell)) is not None)


def test_every_operation_moment_and_kind_is_tried() -> None:
    tried = [cell for cell in POSSIBLE if not is_double(cell)]
    for part in (Operation, Moment, Kind):
        named = Counter(value for cell in tried for value in (cell.operation, cell.moment, cell.kind))
        assert [one for one in part if not named[one]] == []
    for kinds in ALIKE:
        assert {(cell.kind, cell.lasting) for cell in tried if cell.kind in kinds} == {*product(kinds, (False, True))}
        assert places(tried, kinds) == places(POSSIBLE, kinds)


def places(cells: Iterable[Cell], kinds: frozenset[Kind]) -> set[tuple[object, ...]]:
    """Where cells of `kinds` are."""
    return {(cell.operation, cell.moment, cell.lasting) for cell in cells if cell.kind in kinds}


def test_one_cell_of_each_kind_comes_to_its_outcome(tmp_path: Path, certificates: Certificates) -> None:
    with ExitStack() as stack:
        problems = Bench(stack, tmp_path, certificates).run(one_of_each(), stall_s=PATIENT_S)
    assert problems == [], "\n".join(problems)


@pytest.mark.extended
@pytest.mark.parametrize("cells", list(runs()))
def test_each_cell_comes_to_its_outcome(cells: list[Cell], tmp_path: Path, certificates: Certificates) -> None:
    with ExitStack() as stack:
        silent = any(cell.kind is Kind.STALL for cell in cells)
        problems = Bench(stack, tmp_path, certificates).run(cells, stall_s=STALL_S if silent else PATIENT_S)
    assert problems == [], "\n".join(problems)
