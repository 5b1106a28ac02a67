"""Plan files: written in pieces, read back whole, and refused where they are something else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import ConfigurationError
from image_syncer.reporting.chosen_work import planned_work
from image_syncer.reporting.plan_account import Share, account_for
from image_syncer.reporting.plan_file import ImageShape, PlannedBlob, PlanWriter, load_plan
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from image_syncer.reporting.plan_file import PlanFile

BASE, LAYER = PlannedBlob("sha256:" + "1" * 64, 5_000_000), PlannedBlob("sha256:" + "2" * 64, 700)


def write(path: Path, *images: tuple[str, str, ImageShape | None], requests: dict[str, int] | None = None) -> PlanFile:
    writer = PlanWriter(str(path))
    for source, destination, shape in images:
        outcome = Outcome.PLANNED if shape is not None else Outcome.UNCHANGED
        if shape is not None:
            writer.note_shape(source, destination, shape)
        writer.add(ImageResult(source, destination, outcome, source_digest="sha256:" + "a" * 64))
    writer.surveyed = 2
    totals = Totals(requests=requests or {"head blob": 2})
    writer.close(Report(settings={"force": False}, totals=totals, started_at="2026-01-01T00:00:00+00:00", seconds=1.5))
    return load_plan(str(path))


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    first = ImageShape(3, (BASE, LAYER), frozenset({BASE.digest}))
    plan = write(
        tmp_path / "plan.json",
        ("a.example/x:1", "b.example/x:1", first),
        ("a.example/x:2", "b.example/x:2", None),
        ("a.example/y:1", "b.example/y:1", ImageShape(1, (BASE,))),
    )
    assert plan.blobs == (BASE, LAYER)
    assert [(image.outcome, image.blobs, image.present) for image in plan.images] == [
        (Outcome.PLANNED, (0, 1), frozenset({0})),
        (Outcome.UNCHANGED, (), frozenset()),
        (Outcome.PLANNED, (0,), frozenset()),
    ]
    assert (plan.surveyed, plan.requests, plan.seconds) == (2, {"head blob": 2}, 1.5)
    lines = (tmp_path / "plan.json").read_text().splitlines()
    assert sum(line.startswith('{"outcome"') for line in lines) == 3  # an image a line


def test_sources_and_destinations_have_their_shares(tmp_path: Path) -> None:
    """Where one rule brings to two destinations, its source has what moves to both."""
    plan = write(
        tmp_path / "plan.json",
        ("a.example/x:1", "b.example/x:1", ImageShape(1, (BASE,))),
        ("a.example/x:1", "c.example/x:1", ImageShape(1, (BASE,))),
        ("a.example/y:1", "b.example/x:2", ImageShape(1, (BASE, LAYER))),
    )
    account = account_for(plan)
    assert account.sources == {
        "a.example/x": Share(2, 2, 2 * BASE.size),
        "a.example/y": Share(1, 1, LAYER.size),
    }
    assert account.repositories == {
        "b.example/x": Share(2, 2, BASE.size + LAYER.size),
        "c.example/x": Share(1, 1, BASE.size),
    }


def test_a_plan_without_images_is_one(tmp_path: Path) -> None:
    plan = write(tmp_path / "plan.json")
    assert (plan.images, account_for(plan).bytes_to_move) == ((), 0)


def test_published_limits_say_how_long_it_takes_at_least(tmp_path: Path) -> None:
    images = [(f"docker.io/library/a:{number}", f"b.example/a:{number}", ImageShape(2, ())) for number in range(300)]
    waits = account_for(write(tmp_path / "plan.json", *images)).waits()
    assert [(wait.registry, wait.count, round(wait.seconds / 3600)) for wait in waits[:2]] == [
        ("docker.io", 600, 36),
        ("docker.io", 600, 18),
    ]
    assert waits[0].rate == "100 in 6 h without a login"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda _data: [], "its kind is not"),
        (lambda data: {**data, "kind": "sync"}, "its kind is not"),
        (lambda data: {**data, "format": 2}, "its format is 2, and this release reads 1"),
        (lambda data: {name: value for name, value in data.items() if name != "settings"}, "it has no 'settings'"),
        (lambda data: {**data, "requests": {"get blob": -1}}, "-1 is no whole number"),
        (lambda data: {**data, "images": [{**data["images"][0], "blobs": [7]}]}, "in image 1, 7 is no place of a blob"),
        (lambda data: {**data, "images": [{**data["images"][0], "blobs": [["x"]]}]}, "in image 1"),
        (lambda data: {**data, "images": [{**data["images"][0], "outcome": "nice"}]}, "in image 1, 'nice' is not"),
        (lambda data: {**data, "images": [{**data["images"][0], "source": 1}]}, "in image 1, 1 is no text"),
        (lambda data: {**data, "images": ["x"]}, "image 1 is no object"),
        (lambda data: {**data, "images": {"a": 1}}, "images: it is no list"),
        (lambda data: {**data, "format": True}, "its format is True"),
        (lambda data: {**data, "settings": []}, "settings: it is no object"),
        (lambda data: {**data, "requests": []}, "requests: it is no object"),
        (lambda data: {**data, "seconds": "nan"}, "seconds: 'nan' is no number"),
        (
            lambda data: {**data, "images": [{**data["images"][0], "blobs": [["md5:ab", 1]]}]},
            "'md5:ab' is not a digest",
        ),
        (
            lambda data: {**data, "images": [{**data["images"][0], "blobs": [[BASE.digest, 1], True]}]},
            "True is no place",
        ),
        (
            lambda data: {**data, "images": [{**data["images"][0], "blobs": [[BASE.digest, 5, 6]]}]},
            "no digest with its",
        ),
        (lambda data: {**data, "images": [{**data["images"][0], "source": "A B"}]}, "does not name a repository"),
        (lambda data: {**data, "images": [{**data["images"][0], "destination": "u:p@b.example/x"}]}, "no user name"),
        (
            lambda data: {**data, "images": [{**data["images"][0], "blobs": [[BASE.digest, 5], [BASE.digest, 6]]}]},
            "has two sizes, 5 and 6",
        ),
        (lambda data: {**data, "images": [{**data["images"][0], "source_digest": "../x"}]}, "'../x' is not a digest"),
        (lambda data: {**data, "images": [{**data["images"][0], "destination_digest": 1}]}, "1 is no text"),
        (lambda data: {**data, "images": [{**data["images"][0], "replaced_digest": []}]}, "[] is no text"),
        (lambda data: {**data, "images": [{**data["images"][0], "rule": [1]}]}, "[1] is no rule"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path: Path, change: Callable[[dict[str, object]], object], what: str) -> None:
    path = tmp_path / "plan.json"
    write(path, ("a.example/x:1", "b.example/x:1", ImageShape(1, (BASE,))))
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ConfigurationError, match="is no plan of image-syncer") as caught:
        load_plan(str(path))
    assert what in str(caught.value)


def test_an_image_without_its_digests_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write(path, ("a.example/x:1", "b.example/x:1", ImageShape(1, (BASE,))))
    data = json.loads(path.read_text())
    data["images"][0]["destination_digest"] = data["images"][0].pop("source_digest")
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigurationError, match="an image that cannot be copied"):
        planned_work(load_plan(str(path)))


@pytest.mark.parametrize("destination", ["b.example/x", f"b.example/x@{BASE.digest}", f"b.example/x:1@{BASE.digest}"])
def test_a_destination_to_which_its_digest_would_not_be_held_is_refused(tmp_path: Path, destination: str) -> None:
    path = tmp_path / "plan.json"
    write(path, ("a.example/x:1", "b.example/x:1", ImageShape(1, (BASE,))))
    data = json.loads(path.read_text())
    data["images"][0].update(destination=destination, source_digest=BASE.digest, destination_digest=BASE.digest)
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigurationError, match="its destination"):
        planned_work(load_plan(str(path)))


@pytest.mark.parametrize(
    ("text", "what"), [("", "is empty"), ('{"kind": "pl', "is not JSON"), (None, "cannot be read")]
)
def test_a_file_that_cannot_be_read_says_so(tmp_path: Path, text: str | None, what: str) -> None:
    path = tmp_path / "plan.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=what):
        load_plan(str(path))
