from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from image_syncer.errors import ConfigurationError, SyncError
from image_syncer.telemetry import ImageResult, Outcome, PartialFile, Report, ReportWriter, Totals, TransferRecord


def transfer(number: int) -> TransferRecord:
    return TransferRecord(f"sha256:{number:064}", 7, "src/r", ("dst/r",), 1, 0.5, 1.25, 7, ("moved",), pauses=2)


def result(number: int, outcome: Outcome, **fields: Any) -> ImageResult:
    return ImageResult(f"src/r:{number}", f"dst/r:{number}", outcome, **fields)


def report_of(*results: ImageResult, requests: dict[str, int] | None = None, **fields: Any) -> Report:
    totals = Totals()
    for each in results:
        totals.add(each)
    totals.add_requests(requests or {})
    fields.setdefault("seconds", 41.0)
    return Report(settings={"workers": 2}, totals=totals, started_at="2026-01-01T00:00:00Z", **fields)


def test_the_summary_says_everything_in_one_line() -> None:
    moved = result(1, Outcome.COPIED, bytes_moved=41 * 2**20, blobs_moved=812, blobs_mounted=90, blobs_present=33)
    report = report_of(
        moved,
        result(2, Outcome.UNCHANGED),
        result(3, Outcome.SKIPPED),
        result(4, Outcome.FAILED),
        requests={"head manifest": 4000, "get blob": 410},
    )
    assert report.summary_line() == (
        "4 images: 1 copied, 1 unchanged, 1 skipped, 1 failed · 41.0 MiB in 41 s (1.0 MiB/s) · "
        "812 blobs moved, 90 mounted, 33 already there · 4,410 requests"
    )


def test_the_summary_of_a_dry_run_says_what_would_move() -> None:
    report = report_of(result(1, Outcome.PLANNED, bytes_total=2**30), requests={"head manifest": 1}, seconds=2.0)
    assert report.summary_line() == "1 image: 1 would be copied · 1.0 GiB to copy, looked at in 2.0 s · 1 request"


def test_the_summary_of_nothing_and_of_an_interruption() -> None:
    assert report_of(seconds=0).summary_line() == (
        "0 images · 0 B in 0.0 s · 0 blobs moved, 0 mounted, 0 already there · 0 requests"
    )
    interrupted = report_of(result(1, Outcome.NOT_TRIED), interrupted="SIGINT")
    assert interrupted.summary_line().startswith("interrupted (SIGINT) · 1 image: 1 not tried · ")


@pytest.mark.parametrize(
    ("outcomes", "interrupted", "exit_code"),
    [
        ([], None, 0),
        ([Outcome.COPIED, Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.PLANNED], None, 0),
        ([Outcome.COPIED, Outcome.FAILED], None, 1),
        ([Outcome.NOT_TRIED], None, 1),
        ([Outcome.FAILED], "SIGINT", 130),
        ([Outcome.COPIED], "SIGTERM", 143),
    ],
)
def test_exit_codes(outcomes: list[Outcome], interrupted: str | None, exit_code: int) -> None:
    results = [result(number, outcome) for number, outcome in enumerate(outcomes)]
    assert report_of(*results, interrupted=interrupted).exit_code == exit_code


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_file_is_one_document_with_one_image_a_line(tmp_path: Path, count: int) -> None:
    path = tmp_path / "report.json"
    results = [result(number, Outcome.COPIED, reason="naïve\n") for number in range(count)]
    writer = ReportWriter(str(path))
    for each in results:
        writer.add(each)
    assert not path.exists()
    writer.close(report_of(*results, requests={"put manifest": count}, warnings=("careful",)))
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    assert [image["source"] for image in document["images"]] == [f"src/r:{number}" for number in range(count)]
    assert next(iter(document)) == "images"
    assert document["totals"]["outcomes"]["copied"] == document["totals"]["images"] == count
    assert document["totals"]["requests"] == {"put manifest": count}
    assert (document["exit_code"], document["warnings"], document["settings"]) == (
        0,
        ["careful"],
        {"workers": 2},
    )
    assert sum(line.startswith('{"source"') for line in text.splitlines()) == count
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_report_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    writer = ReportWriter(str(path))
    writer.add(result(1, Outcome.COPIED))
    assert path.read_text() == "old"
    writer.abandon()
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    ReportWriter(str(link)).close(report_of())
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["images"] == []


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        ReportWriter(str(pipe)).close(report_of())
        assert json.loads(os.read(reader, 1 << 16))["images"] == []
        assert list(tmp_path.iterdir()) == [pipe]
    finally:
        os.close(reader)


def test_a_folder_that_is_not_there_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory") as raised:
        ReportWriter(str(tmp_path / "gone" / "report.json"))
    assert raised.value.hint
    with pytest.raises(ConfigurationError, match="it is a folder"):
        ReportWriter(str(tmp_path))


def test_a_full_disk_is_said_as_what_it_is() -> None:
    writer = ReportWriter("/dev/full")
    with pytest.raises(SyncError, match="the report cannot be written to /dev/full: No space left"):
        writer.close(report_of())


def test_a_disk_that_is_full_in_the_middle_is_said_at_the_end() -> None:
    writer = ReportWriter("/dev/full")
    for number in range(500):  # more than any buffer
        writer.add(result(number, Outcome.COPIED))
    with pytest.raises(SyncError, match="No space left"):
        writer.close(report_of())


def test_nothing_stays_of_a_report_that_cannot_be_finished(tmp_path: Path) -> None:
    writer = ReportWriter(str(tmp_path / "report.json"))
    (tmp_path / "report.json").mkdir()
    with pytest.raises(SyncError, match="the report cannot be written"):
        writer.close(report_of())
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_report_that_is_not_there_is_a_failure() -> None:
    assert report_of(result(1, Outcome.COPIED), unwritten="the disk is full").exit_code == 1
    assert report_of(interrupted="SIGTERM", unwritten="the disk is full").exit_code == 143


@pytest.mark.parametrize("count", [0, 1, 3, 20_000])
def test_transfers_stand_after_the_images_one_a_line(tmp_path: Path, count: int) -> None:
    path = tmp_path / "report.json"
    writer = ReportWriter(str(path))
    writer.add(result(1, Outcome.COPIED))
    for number in range(count):
        writer.add_transfer(transfer(number))
    writer.add(result(2, Outcome.COPIED))
    assert [each.name for each in tmp_path.iterdir()] == ["report.json.partial"]  # what waits has no name
    writer.close(report_of())
    text = path.read_text(encoding="utf-8")
    document = json.loads(text)
    assert list(document)[:2] == ["images", "transfers"]
    assert [each["source"] for each in document["images"]] == ["src/r:1", "src/r:2"]
    assert [each["digest"] for each in document["transfers"]] == [f"sha256:{number:064}" for number in range(count)]
    assert sum(line.startswith('{"digest"') for line in text.splitlines()) == count
    assert list(tmp_path.iterdir()) == [path]


def test_a_transfer_says_all_that_is_known_of_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    writer = ReportWriter(str(path))
    writer.add_transfer(transfer(3))
    writer.close(report_of())
    assert json.loads(path.read_text())["transfers"] == [
        {
            "digest": f"sha256:{3:064}",
            "size_bytes": 7,
            "source": "src/r",
            "destinations": ["dst/r"],
            "worker": 1,
            "began_s": 0.5,
            "ended_s": 1.25,
            "bytes_moved": 7,
            "outcomes": ["moved"],
            "source_waited_s": 0.0,
            "destination_waited_s": 0.0,
            "pauses": 2,
            "source_resumes": 0,
            "destination_resumes": 0,
        }
    ]


def test_transfers_go_to_a_device_too(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        writer = ReportWriter(str(pipe))
        writer.add_transfer(transfer(1))
        writer.close(report_of())
        assert len(json.loads(os.read(reader, 1 << 16))["transfers"]) == 1
    finally:
        os.close(reader)


@pytest.mark.parametrize("count", [1, 2000])  # fails when it is flushed; fails in the middle
def test_a_disk_that_is_full_of_transfers_is_said_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(PartialFile, "open_aside", lambda _: Path("/dev/full").open("r+b"))  # noqa: SIM115 - the writer closes it
    path = tmp_path / "report.json"
    writer = ReportWriter(str(path))
    for number in range(count):
        writer.add_transfer(transfer(number))
        writer.add(result(number, Outcome.COPIED))
    with pytest.raises(SyncError, match=f"the report cannot be written to {path}: No space left"):
        writer.close(report_of())
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_a_second_file_is_said_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: PartialFile) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(PartialFile, "open_aside", refuse)
    writer = ReportWriter(str(tmp_path / "report.json"))
    writer.add_transfer(transfer(1))
    with pytest.raises(SyncError, match="Too many open files"):
        writer.close(report_of())
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_of_the_transfers_of_a_run_that_is_given_up(tmp_path: Path) -> None:
    writer = ReportWriter(str(tmp_path / "report.json"))
    writer.add_transfer(transfer(1))
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
