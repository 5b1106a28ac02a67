from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.coordinator.ledger import Ledger, failed
from image_syncer.errors import InternalError, NotFoundError, Origin
from image_syncer.telemetry import MAX_FAILURES, ImageResult, Outcome, Report, ReportWriter

if TYPE_CHECKING:
    from pathlib import Path


def missing(number: int) -> ImageResult:
    error = NotFoundError(
        "HEAD … answered 404",
        origin=Origin.SOURCE,
        repository="a.example/x",
        reference=f"v{number}",
        hint="Check the name.",
        tries=2,
    )
    return failed(f"a.example/x:v{number}", f"b.example/x:v{number}", error, bytes_moved=5, seconds=1.5)


def test_a_failure_tells_its_reason_in_one_line_and_its_error_as_data() -> None:
    result = missing(1)
    assert (result.outcome, result.tries, result.bytes_moved, result.seconds) == (Outcome.FAILED, 2, 5, 1.5)
    assert result.reason == "source a.example/x:v1: HEAD … answered 404 (tried 2 times)"
    assert result.error is not None
    assert (result.error["kind"], result.error["side"], result.error["hint"]) == (
        "not found",
        "source",
        "Check the name.",
    )


def test_every_result_is_told_once_and_counted(tmp_path: Path) -> None:
    told: list[ImageResult] = []
    writer = ReportWriter(str(tmp_path / "report.json"))
    ledger = Ledger(writer, told.append)
    copied = ImageResult("a.example/x:1", "b.example/x:1", Outcome.COPIED, bytes_moved=10, blobs_moved=2)
    results = [copied, missing(1), ImageResult("a.example/x:2", "b.example/x:2", Outcome.UNCHANGED)]
    for result in results:
        ledger.enter(result)
    assert told == results
    assert ledger.failures == [results[1]]
    assert (ledger.totals.images, ledger.totals.bytes_moved, ledger.totals.blobs_moved) == (3, 15, 2)
    writer.close(Report(settings={}, totals=ledger.totals, started_at="2026-01-01T00:00:00+00:00", seconds=1.0))
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [image["outcome"] for image in document["images"]] == ["copied", "failed", "unchanged"]


def test_failures_are_kept_up_to_a_bound_and_counted_beyond_it() -> None:
    ledger = Ledger(None, None)
    for number in range(MAX_FAILURES + 10):
        ledger.enter(missing(number))
    assert len(ledger.failures) == MAX_FAILURES
    assert ledger.failures[0].source == "a.example/x:v0"
    assert ledger.totals.outcomes == {Outcome.FAILED: MAX_FAILURES + 10}


def done(name: str, destination: str = "b.example/x") -> ImageResult:
    return ImageResult(f"a.example/x:{name}", f"{destination}:{name}", Outcome.COPIED)


def test_the_sum_holds_in_whatever_order_images_end() -> None:
    ledger = Ledger(None, None)
    for name in ("1", "2", "3"):
        ledger.plan(f"a.example/x:{name}", f"b.example/x:{name}")
    ledger.plan("a.example/x@old", "b.example/x@old")
    ledger.enter(ImageResult("a.example/x@old", "b.example/x@new", Outcome.COPIED), planned_as="b.example/x@old")
    for name in ("3", "1", "2"):
        ledger.enter(done(name))
    ledger.check()


@pytest.mark.parametrize(
    ("entered", "text"),
    [
        ([], "2 images were planned, 0 have an outcome"),
        (["1"], "2 images were planned, 1 has an outcome"),
        (["1", "2", "2"], "2 images were planned, 3 have an outcome"),
        (["1", "1"], "2 images were planned, 2 have an outcome, and they are not the same ones"),
    ],
)
def test_an_image_that_is_lost_or_counted_twice_is_a_mistake_of_ours(entered: list[str], text: str) -> None:
    ledger = Ledger(None, None)
    for name in ("1", "2"):
        ledger.plan(f"a.example/x:{name}", f"b.example/x:{name}")
    for name in entered:
        ledger.enter(done(name))
    with pytest.raises(InternalError) as caught:
        ledger.check()
    assert str(caught.value) == f"the ledger does not add up: {text}"
    assert caught.value.exit_code == 70


def test_a_callback_that_fails_is_not_asked_again() -> None:
    def fail(_result: ImageResult) -> None:
        raise ZeroDivisionError

    ledger = Ledger(None, fail)
    with pytest.raises(ZeroDivisionError):
        ledger.enter(done("1"))
    ledger.enter(done("2"))
    assert ledger.totals.images == 2
