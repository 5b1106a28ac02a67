"""A part of the matrix between registries that nobody here has written: distribution 2.8 at both ends."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import DemoImage, audit_registry, push_over_http
from image_syncer.errors import SyncError
from image_syncer.telemetry import Outcome
from matrix.bench import LARGE_BYTES, PATIENT_S, SMALL_BYTES, SMALL_LIMIT, WAIT_S
from matrix.cells import CELLS, OPENING, SOURCE_SIDE, TOKENS, Kind, Moment, Operation, impossible
from matrix.outcomes import expected
from matrix.plan import arrange
from support.docker_registry import serve_docker_registry
from support.fault_proxy import run_fault_proxy
from support.sync_runs import TAG, SyncLab

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.extended]

KINDS = frozenset({Kind.RESET, Kind.CLOSE, Kind.WRONG_BYTE, Kind.SHORT_BODY, Kind.S500, Kind.S503, Kind.LOST_ANSWER})
LEFT_OUT = frozenset({Operation.LIST_TAGS, Operation.PATCH_UPLOAD, Operation.GET_UPLOAD})
"""Whether such a small blob comes to pieces there depends on how much of it the buffers had taken."""
CHOSEN = [
    cell
    for cell in CELLS
    if impossible(cell) is None
    and cell.kind in KINDS
    and cell.moment is not Moment.CONNECT
    and cell.operation not in OPENING | TOKENS | LEFT_OUT
    and not cell.lasting
]
SMALL = frozenset({Operation.GET_SMALL, Operation.PUT_SMALL})


def test_what_strikes_once_comes_to_the_same_outcome_there(tmp_path: Path) -> None:
    with ExitStack() as stack:
        lab = SyncLab(stack, tmp_path)
        proxy = stack.enter_context(run_fault_proxy())
        ends = [stack.enter_context(serve_docker_registry(tmp_path / name)) for name in ("source", "destination")]
        rules, images, struck = [], {}, {}
        for number, cell in enumerate(CHOSEN):
            name = f"cell/{number}"
            image = lab.content.image(1, layer_bytes=SMALL_BYTES if cell.operation in SMALL else LARGE_BYTES)
            push_over_http(ends[0].url, name, image, [TAG])
            doors = [proxy.open_door(end.address) for end in ends]
            own, other = doors if cell.operation in SOURCE_SIDE else reversed(doors)
            arranged = arrange(cell, image.blobs[1], own.address)
            own.break_with(*arranged.own)
            other.break_with(*arranged.other)
            for door in doors:
                lab.enter(door)  # type: ignore[arg-type]
            rules.append(lab.rule(name, origin=doors[0], to=[(doors[1], name)]))  # type: ignore[arg-type, list-item]
            images[name], struck[name] = image, (own, arranged.sign)
        done = lab.run(
            *rules,
            exit_code=None,
            workers=2,
            small_bytes=SMALL_LIMIT,
            stall_timeout_s=2 * PATIENT_S,
            longest_wait_s=WAIT_S,
            give_up_after_s=WAIT_S,
        )
        problems = []
        for image in done.images:
            name = image.destination.partition("/")[2].partition(":")[0]
            cell = CHOSEN[int(name.partition("/")[2])]
            wanted = expected(cell)
            assert wanted is not None
            door, sign = struck[name]
            error = SyncError.from_data(image.error) if image.error is not None else None
            if not door.strikes.struck[sign]:
                problems.append(f"{cell}: the fault never struck {dict(door.requests)}")
            if error is not None and error.kind not in wanted.kinds:
                problems.append(f"{cell}: {error}")
            if error is None and wanted.kinds and not wanted.may_arrive:
                problems.append(f"{cell}: {image.outcome}, expected: {wanted}")
        copied = [image.destination for image in done.images if image.outcome is Outcome.COPIED]
        there = [destination.partition("/")[2].partition(":")[0] for destination in copied]
        audit = audit_registry(ends[1].url, [DemoImage(name, TAG, images[name]) for name in there])
    assert problems == [], "\n".join(problems)
    assert audit.mistakes == []
    assert len(done.images) == len(CHOSEN)
