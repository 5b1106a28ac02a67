from __future__ import annotations

from typing import Any

import pytest

from image_syncer.reporting.recorded_report import RecordedReport
from image_syncer.reporting.report_comparison import Change, compare_reports
from image_syncer.reporting.run_account import EXAMPLES, FailureGroups, account_of_run
from image_syncer.reporting.timeline import RunCurves, limit_tracks
from image_syncer.telemetry import ImageResult, Outcome, Report, Totals, TransferRecord


def record(digest: str, *destinations: str, outcomes: tuple[str, ...] = ("moved",), **fields: Any) -> TransferRecord:
    known = {"size_bytes": 100, "source": "src/a", "worker": 1, "began_s": 0.0, "ended_s": 10.0, "bytes_moved": 100}
    return TransferRecord(digest=digest, destinations=destinations or ("dst/a",), outcomes=outcomes, **(known | fields))


def failed(number: int, kind: str = "rate limited", status: int | None = 429, **fields: Any) -> ImageResult:
    error = {"kind": kind, "side": "source", "repository": "src/a", "status": status, **fields}
    return ImageResult(f"src/a:{number}", f"dst/a:{number}", Outcome.FAILED, reason=f"why {number}", error=error)


def recorded(*images: ImageResult, transfers: tuple[TransferRecord, ...] = (), **fields: Any) -> RecordedReport:
    totals = Totals(requests=dict(fields.pop("requests", {})))
    for image in images:
        totals.add(image)
    seconds = fields.pop("seconds", 10.0)
    report = Report(fields.pop("settings", {}), totals, "2026-01-01T00:00:00+00:00", seconds, **fields)
    unfinished = tuple(image for image in images if image.outcome is Outcome.FAILED)
    return RecordedReport(report, transfers, unfinished, None, [image.as_data() for image in images])


def test_failures_are_grouped_by_cause_the_largest_first() -> None:
    groups = FailureGroups()
    for image in [failed(1, "not found", 404), *(failed(number) for number in range(2, 9))]:
        groups.add(image)
    groups.add(ImageResult("src/a:9", "dst/a:9", Outcome.COPIED))
    groups.add(ImageResult("src/b:1", "dst/b:1", Outcome.NOT_TRIED))
    first, *rest = groups.groups()
    assert (first.count, first.cause, len(first.examples)) == (7, "source src: rate limited (429)", EXAMPLES)
    assert [group.cause for group in rest] == ["source src: not found (404)", "not tried"]
    assert "retry --report" in rest[1].advice


def test_the_hint_of_an_error_is_what_to_do() -> None:
    groups = FailureGroups()
    groups.add(failed(1, hint="Log in."))
    groups.add(failed(2, "never heard of", None))
    assert groups.groups()[0].advice == "Log in."
    assert "retry" in groups.groups()[1].advice


def test_a_failure_without_an_error_is_grouped_by_its_outcome() -> None:
    groups = FailureGroups()
    groups.add(ImageResult("a/b:1", "c/d:1", Outcome.FAILED, reason="no"))
    assert [(group.kind, group.registry) for group in groups.groups()] == [("failed", "")]


def test_what_was_saved_is_the_size_of_what_was_mounted_and_there() -> None:
    transfers = (
        record("sha256:1", "d/a", "e/a", outcomes=("moved", "mounted")),
        record("sha256:2", outcomes=("present",), bytes_moved=0, size_bytes=50),
        record("sha256:3", "d/a", "e/a", outcomes=("moved", "moved"), bytes_moved=200),
        record("sha256:4", outcomes=("present",), bytes_moved=0, size_bytes=-1),
    )
    saved = account_of_run(recorded(transfers=transfers)).savings
    assert (saved.bytes_moved, saved.bytes_mounted, saved.bytes_present) == (300, 100, 50)
    assert (saved.blobs_mounted, saved.blobs_present, saved.bytes_shared) == (1, 2, 100)
    assert saved.share == pytest.approx(150 / 450)


def test_pairs_retries_and_the_largest() -> None:
    images = (
        ImageResult("a/x:1", "c/x:1", Outcome.COPIED, bytes_moved=5, blobs_moved=1, tries=2),
        ImageResult("a/x:2", "c/x:2", Outcome.UNCHANGED),
        ImageResult("b/x:1", "c/x:1", Outcome.COPIED, bytes_moved=9, tries=4),
    )
    transfers = (record("sha256:1", size_bytes=7), record("sha256:2"), record("sha256:2", ended_s=20.0))
    account = account_of_run(recorded(*images, transfers=transfers))
    assert [(pair.source, pair.images, pair.bytes_moved) for pair in account.pairs] == [("b", 1, 9), ("a", 2, 5)]
    assert (account.images_retried, [image.tries for image in account.retried]) == (2, [4, 2])
    assert [(one.digest, one.ended_s) for one in account.largest] == [("sha256:2", 20.0), ("sha256:1", 10.0)]
    assert account.slowest[0].ended_s == 20.0


def test_bytes_go_to_the_registries_that_got_them_and_were_read_once() -> None:
    both = record("sha256:1", "d/a", "e/a", "f/a", outcomes=("moved", "moved", "mounted"), bytes_moved=200)
    curves = RunCurves((both, record("sha256:2", "d/b", began_s=5.0)), 10.0, 10)
    to = {track.name: track for track in curves.to_registries(5)}
    assert {name: track.total for name, track in to.items()} == {"d": 200, "e": 100}
    assert to["d"].values[0] == pytest.approx(10.0)
    assert to["d"].values[9] == pytest.approx(30.0)
    assert [(track.name, track.total) for track in curves.from_registries(5)] == [("src", 200)]


def test_registries_that_are_too_many_are_told_together() -> None:
    records = tuple(record(f"sha256:{number}", f"r{number}/a", bytes_moved=100 + number) for number in range(9))
    tracks = RunCurves(records, 10.0, 4).to_registries(3)
    assert [track.name for track in tracks] == ["r8", "r7", "7 others"]
    assert sum(track.total for track in tracks) == sum(each.bytes_moved for each in records)


def test_shares_of_waits_over_time() -> None:
    slow = record("sha256:1", source_waited_s=2.5, destination_waited_s=5.0)
    full, empty, moved = RunCurves((slow,), 20.0, 4).waits()
    assert full.values == (pytest.approx(0.25), pytest.approx(0.25), None, None)
    assert empty.values[:2] == (pytest.approx(0.5), pytest.approx(0.5))
    assert moved.values[0] == pytest.approx(0.25)
    assert (full.total, empty.total, moved.total) == (2.5, 5.0, 2.5)


def test_waits_are_never_longer_than_their_transfer() -> None:
    odd = record("sha256:1", source_waited_s=10.0, destination_waited_s=30.0)
    full, empty, moved = RunCurves((odd,), 10.0, 1).waits()
    assert (full.values[0], empty.values[0], moved.values[0]) == (pytest.approx(0.25), pytest.approx(0.75), 0.0)


def test_failed_transfers_are_marked_where_they_ended() -> None:
    records = (record("sha256:1", outcomes=("failed",), ended_s=9.9), record("sha256:2"))
    assert RunCurves(records, 10.0, 5).failures() == (0, 0, 0, 0, 1)


def test_a_limit_holds_until_the_next_one() -> None:
    [track] = limit_tracks({"a": [(2.5, 8.0), (5.0, 4.0), (7.0, None)], "b": [(0.0, None)]}, 1.0, 9)
    assert track.values == (None, None, 8.0, 8.0, 8.0, 4.0, 4.0, None, None)
    assert (track.name, track.total) == ("a", 4.0)


def test_two_runs_of_the_same_work_are_judged() -> None:
    images = [ImageResult(f"a/x:{n}", f"c/x:{n}", Outcome.COPIED, bytes_moved=100, blobs_moved=1) for n in range(100)]
    before = recorded(*images, failed(1), failed(2), requests={"get blob": 300}, seconds=10.0, settings={"workers": 1})
    well = ImageResult("src/a:1", "dst/a:1", Outcome.COPIED)
    after = recorded(*images, well, failed(2), requests={"get blob": 200}, seconds=20.0, settings={"workers": 2})
    found = compare_reports(before, after)
    assert found.same_work
    changes = {fact.name: fact.change for fact in found.facts}
    assert (changes["time"], changes["rate over the whole run"]) == (Change.WORSE, Change.WORSE)
    assert (changes["failed"], changes["get blob"]) == (Change.BETTER, Change.BETTER)
    assert (changes["copied"], changes["bytes moved"]) == (Change.OTHER, Change.SAME)
    assert [image.source for image in found.gone_failures] == ["src/a:1"]
    assert (found.new_failures, found.dropped_failures, found.lasting_failures) == ((), (), 1)
    assert found.settings == (("workers", "1", "2"),)


def test_runs_of_other_work_are_not_judged_by_their_time() -> None:
    one = ImageResult("a/x:1", "c/x:1", Outcome.COPIED, bytes_moved=100, blobs_moved=1)
    found = compare_reports(recorded(one, failed(1), seconds=5.0), recorded(one, one, one, failed(3), seconds=50.0))
    assert not found.same_work
    changes = {fact.name: fact.change for fact in found.facts}
    assert changes["time"] is Change.OTHER
    assert [image.source for image in found.new_failures] == ["src/a:3"]
    assert [image.source for image in found.dropped_failures] == ["src/a:1"]
