"""The file of a bench, and what estimates make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.bench import BenchFile, Setting, load_bench, save_bench, sweep
from image_syncer.errors import ConfigurationError
from image_syncer.planning.fit import USUAL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FIRST, SECOND = replace(USUAL, source="a.example"), replace(USUAL, source="b.example", cores=3.0)


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "bench.json")
    found = BenchFile((FIRST, SECOND), Setting(2, 4, 2**20))
    save_bench(found, path)
    assert load_bench(path) == found
    assert found.path_of("b.example", "c.example") is SECOND
    assert found.path_of("another.example", "c.example") is FIRST


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "its kind is not"),
        ('{"kind": "benches", "paths": []}', "has no paths"),
        ('{"kind": "benches", "paths": [{"kind": "sync"}]}', "is no file of image-syncer bench"),
        ('{"kind": "benches", "paths": [7]}', "is no bench of image-syncer"),
        (json.dumps({"kind": "benches", "paths": [FIRST.as_data()], "best": {"x": 1}}), "is no bench of image-syncer"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str | None, what: str) -> None:
    path = tmp_path / "bench.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=what):
        load_bench(str(path))


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
    best = sweep(machine, lambda: tmp_path, 4, runs=1)  # type: ignore[arg-type]
    assert best == Setting(2, 4, 2**20)
    assert len(machine.tried) == 4 + 3 + 3
