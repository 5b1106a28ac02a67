"""The file of a bench, and what estimates make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.bench.bench_file import BenchFile, HostLimits, HostRate, load_bench, save_bench
from image_syncer.bench.measuring import RUNS, Setting, sweep
from image_syncer.bench.sides import PathSide
from image_syncer.capacity.fit import USUAL
from image_syncer.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FIRST, SECOND = replace(USUAL, source="a.example"), replace(USUAL, source="b.example", cores=3.0)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "bench.json")
    rate = HostRate(1.0, 2.0, 3.0)
    sides = (
        PathSide("a.example", "source", 0.2, 0.1, {"head blob": 0.11}, 50.0, "100 requests", 1, 2.0, 4, 1.5),
        PathSide("b.example", "destination", trouble="it does not answer"),
    )
    limits = HostLimits(2, rate, rate, rate, rate, rate)
    found = BenchFile((FIRST, SECOND), Setting(2, 4, 2**20), limits, sides)
    save_bench(found, path)
    assert load_bench(path) == found
    assert found.path_of("b.example", "c.example") is SECOND
    assert found.path_of("another.example", "c.example") is FIRST


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        (" ", "is empty"),
        ('{"kind": "benches", "paths": [{"kind": "bench", "cores": NaN}]}', "is not JSON"),
        ("[]", "its kind is not"),
        ('{"kind": "plan", "format": 1, "images": []}', "its kind is not"),
        ('{"kind": "benches", "paths": []}', "paths: there are none"),
        ('{"kind": "benches", "paths": {"0": 1}}', "paths: it is no list of objects"),
        ('{"kind": "benches", "format": 3, "paths": []}', "its format is '3', and this release reads 1 to 2"),
        ('{"kind": "benches", "format": "x", "paths": []}', "its format is 'x'"),
        ('{"kind": "benches", "paths": [{"kind": "sync"}]}', "is no file of image-syncer bench"),
        ('{"kind": "benches", "paths": [7]}', "is not a benchmark file of image-syncer"),
        (json.dumps({"kind": "benches", "paths": [FIRST.as_data()], "best": {"x": 1}}), "best.workers: missing"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, what: str) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=what):
        load_bench(str(path))


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("cores", 0, "paths[0]: path.cores: '0' is no number from 0.01"),
        ("cores", -1.0, "path.cores: '-1.0' is no number"),
        ("cores", True, "path.cores: 'True'"),
        ("start_s", 1e308, "path.start_s: '1e+308'"),
        ("start_s", None, "path.start_s: missing"),
        ("spread", 1e9, "path.spread"),
        ("worker_memory_bytes", "much", "path.worker_memory_bytes: 'much'"),
        ("source", 7, "source: it is no text"),
        ("host", [], "host: it is no object"),
        ("byte", None, "byte: it is no object"),
        ("small", {"worker_s": 1}, "small.coordinator_s: missing"),
        ("limits", {"path_bytes_per_s": 0}, "limits.path_bytes_per_s: '0'"),
        ("limits", 7, "limits: it is no object"),
        ("format", 9, "its format is 9"),
    ],
)
def test_a_figure_that_makes_no_sense_is_told_with_its_key(tmp_path: Path, key: str, value: object, what: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"kind": "benches", "paths": [{**FIRST.as_data(), key: value}]}))
    with pytest.raises(ConfigurationError) as caught:
        load_bench(str(path))
    assert what in caught.value.message
    assert str(path) in caught.value.message


def test_what_an_older_release_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    data = FIRST.as_data()
    del data["many_bytes_per_s"]
    path.write_text(json.dumps({"kind": "benches", "paths": [data]}))
    assert load_bench(str(path)) == BenchFile((FIRST,))


class _Machine:
    """A measurer on which time follows from the settings."""

    def __init__(self) -> None:
        self.tried: list[tuple[str, ...]] = []

    def run(self, _plan: Path, options: Sequence[str] = ()) -> object:
        self.tried.append(tuple(options))
        workers, streams, window = (int(option.partition("=")[2]) for option in options)
        seconds = 10 / min(workers, 2) + 1 / min(streams, 4) + (2.0 if window < 2**20 else 0.0)
        return type("Done", (), {"wall_s": seconds})()


def test_the_smallest_settings_that_are_as_good_as_the_best_are_taken(tmp_path: Path) -> None:
    machine = _Machine()
    best = sweep(machine, lambda: tmp_path, 4, tell=lambda _text: None)  # type: ignore[arg-type]
    assert best == Setting(2, 4, 2**20)
    assert len(machine.tried) == RUNS * (4 + 3 + 3)
