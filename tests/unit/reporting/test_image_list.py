from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from image_syncer.errors import ConfigurationError
from image_syncer.reporting.result_files import ImageList
from image_syncer.telemetry import ImageResult, Outcome

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = [
    ImageResult("reg:5000/b:1", "dst/b:1", Outcome.UNCHANGED),
    ImageResult("docker.io/library/a:1", "two/a:1", Outcome.COPIED),
    ImageResult("docker.io/library/a:1", "one/a:1", Outcome.COPIED),
    ImageResult("docker.io/library/a:1", "one/a:1", Outcome.COPIED),
    ImageResult("failed:1", "dst/x:1", Outcome.FAILED),
    ImageResult("skipped:1", "dst/x:1", Outcome.SKIPPED),
    ImageResult("planned:1", "dst/x:1", Outcome.PLANNED),
]
WANTED = {"docker.io/library/a:1": ["one/a:1", "two/a:1"], "reg:5000/b:1": ["dst/b:1"]}


@pytest.mark.parametrize("list_format", ["yaml", "json"])
def test_what_is_as_wanted_is_listed(tmp_path: Path, list_format: str) -> None:
    path = tmp_path / f"list.{list_format}"
    images = ImageList(str(path), list_format=list_format)
    for result in RESULTS:
        images.add(result)
    images.close()
    text = path.read_text()
    assert (yaml.safe_load(text) if list_format == "yaml" else json.loads(text)) == WANTED


def test_the_yaml_reads_as_the_go_tool_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    images = ImageList(str(path))
    for result in RESULTS:
        images.add(result)
    images.close()
    assert path.read_text() == ("docker.io/library/a:1:\n- one/a:1\n- two/a:1\nreg:5000/b:1:\n- dst/b:1\n")


def test_the_place_is_tried_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the list of images cannot be written"):
        ImageList(str(tmp_path / "gone" / "list.yaml"))


def test_nothing_is_left_of_a_run_that_was_given_up(tmp_path: Path) -> None:
    ImageList(str(tmp_path / "list.yaml")).abandon()
    assert list(tmp_path.iterdir()) == []
