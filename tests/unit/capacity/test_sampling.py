"""A part of a large workload stands for all of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from image_syncer.capacity import estimate
from image_syncer.capacity.estimate import Question, sample_workload
from image_syncer.capacity.fit import USUAL, count_pieces
from image_syncer.capacity.forecast import Host, WorkBlob, WorkImage, Workload
from image_syncer.config import Settings
from image_syncer.oci import Digest, Repository
from support.measured_workloads import KIB, MIB


def catalog(images: int) -> Workload:
    """Each image has a layer of its own, and one of three that are shared."""
    made = []
    for number in range(images):
        own = WorkBlob(Digest(f"sha256:{number + 10:064x}"), 300 * KIB + number)
        base = WorkBlob(Digest(f"sha256:{number % 3:064x}"), 20 * MIB)
        source, destination = Repository("a.example", f"app{number}"), Repository("b.example", f"app{number}")
        made.append(WorkImage(source, (destination,), (own, base)))
    return Workload(tuple(made))


def test_a_small_one_is_its_own_part() -> None:
    work = catalog(100)
    assert sample_workload(work) == (work, 1.0)


def test_a_part_moves_and_mounts_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MOST_PIECES", 600)
    work = catalog(2000)
    part, times = sample_workload(work)
    assert (len(part.images), times) == (200, 10.0)
    whole, some = count_pieces(work, MIB), count_pieces(part, MIB)
    assert some["small"] * times == whole["small"]
    assert some["mount"] * times == pytest.approx(whole["mount"], rel=0.02)
    assert some["byte"] * times == pytest.approx(whole["byte"], rel=0.3)


def test_it_takes_its_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MOST_PIECES", 1000)
    question = Question(catalog(1000), lambda _source, _destination: replace(USUAL, cores=2.0), Settings(), Host(2.0))
    sketch = question.sketch
    assert (len(sketch.workload.images), sketch.times) == (334, pytest.approx(3.0, rel=0.01))
    assert sketch.seconds == pytest.approx(question.seconds, rel=0.15)
