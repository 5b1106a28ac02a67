"""A run of many images that is killed with -9 again and again, at random moments, and started again each time: it ends
right, and moves next to nothing twice.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder
from image_syncer.journal.status import load_status
from support.processes import wait_until
from support.sync_runs import missing_parts

if TYPE_CHECKING:
    from pathlib import Path

    from process.conftest import Pair
    from support.sync_process import SyncProcess

KIB = 2**10
TAGS = 10
LAYER_BYTES = (16 * KIB, 64 * KIB)
WORKERS, STREAMS = 2, 2
SLOW_BYTES_PER_S = 2**18
"""Of one blob: so that there is something to be killed."""
MOST_TWICE = 1.1
ENDS_WITHIN_S = 240.0


@dataclass(frozen=True)
class Kill:
    """`what` is killed when the destination has committed `blobs` blobs, or, where it has them already, `after_s` after
    the start of the run, or the last kill.
    """

    what: str
    blobs: int
    after_s: float


@pytest.mark.extended
@pytest.mark.parametrize(("images", "kills"), [(120, 6), pytest.param(500, 20, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_at_random_moments_ends_right_and_moves_next_to_nothing_twice(
    pair: Pair, tmp_path: Path, images: int, kills: int
) -> None:
    seed = int(os.environ.get("IMAGE_SYNCER_SEED") or time.time_ns() % 2**32)
    print(f"again with IMAGE_SYNCER_SEED={seed}")
    chance = random.Random(seed)
    sizes = _fill(pair, chance, images)
    state = str(tmp_path / "run.db")
    whats = [("coordinator", "workers", "all at once")[number % 3] for number in range(kills)]
    chance.shuffle(whats)
    # Layers move before the configurations, which take too little time to be killed in. The moments are spread over
    # the first three quarters of the layers: when all come late, the run may end before the last one.
    part = sum(size >= LAYER_BYTES[0] for size in sizes) * 3 / 4 / kills
    moments = [int((number + chance.random()) * part) for number in range(kills)]
    left = [Kill(what, blobs, chance.random() / 2) for what, blobs in zip(whats, moments, strict=True)]
    pair.slow_down(SLOW_BYTES_PER_S)

    words = ("--state", state, "--workers", str(WORKERS), "--streams", str(STREAMS), "--small-blobs", "0")
    runs = killed = 0
    code = None
    while code != 0:
        runs += 1
        with pair.run(*words) as run:
            while left and _is_killed(pair, run, left[0]):
                killed += 1
                if left.pop(0).what != "workers":
                    break
            code = run.wait(ENDS_WITHIN_S)
            wait_until(lambda: not run.orphans, "the workers end")
        assert code in (0, -signal.SIGKILL), run.err
        assert missing_parts(pair.destination.storage) == []
    assert killed == kills
    pair.assert_copied()
    status = load_status(state)
    assert (status.state, status.images_done, status.images_failed, status.damaged) == ("complete", images, 0, 0)

    size, in_flight = sum(sizes), kills * WORKERS * STREAMS * max(sizes)
    came, went = pair.source.counters.bytes_out, pair.destination.counters.bytes_in
    print(f"{runs} runs; of {size:,} bytes, {came:,} were read and {went:,} sent, and {pair.puts():,} blobs committed")
    assert went <= MOST_TWICE * size + in_flight
    assert came <= MOST_TWICE * size + in_flight
    assert pair.puts() <= MOST_TWICE * len(sizes)

    before = pair.destination.counters.values(), pair.source.counters.values()
    with pair.run(*words) as run:
        assert run.wait() == 0, run.err
    assert pair.destination.counters.values().minus(before[0]).requests == {}
    assert pair.source.counters.values().minus(before[1]).requests == {"head manifest": images}


def _fill(pair: Pair, chance: random.Random, images: int) -> list[int]:
    """Repositories of ten tags that share a layer; the sizes of all blobs, each once."""
    builder = ContentBuilder(chance.randrange(2**32))
    sizes = {}
    for number in range(images):
        if number % TAGS == 0:
            shared = builder.layer(chance.randint(*LAYER_BYTES))
        image = builder.image([shared, builder.layer(chance.randint(*LAYER_BYTES))])
        pair.add(f"team/app{number // TAGS}", f"v{number % TAGS}", image)
        sizes.update({blob.digest: blob.size for blob in image.all_blobs()})
    return list(sizes.values())


def _is_killed(pair: Pair, run: SyncProcess, kill: Kill) -> bool:
    """Kill what is to be killed at its moment; False where the run has ended before."""
    at = time.monotonic() + kill.after_s
    wait_until(
        lambda: not run.process.is_alive or (pair.puts() >= kill.blobs and time.monotonic() >= at),
        f"{kill.blobs} blobs have been committed",
        patience_s=ENDS_WITHIN_S,
    )
    if not run.process.is_alive:
        return False
    if kill.what != "workers":
        run.signal(signal.SIGKILL, group=kill.what == "all at once")
        return True
    for worker in run.look():
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
    return True
