from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.errors import ConfigurationError
from image_syncer.reporting.recorded_report import load_report
from image_syncer.telemetry import ImageResult, Outcome, Report, ReportWriter, Totals, TransferRecord
from support.own_process import in_own_process

if TYPE_CHECKING:
    from pathlib import Path

RECORD = TransferRecord(
    "sha256:ab", 100, "src/r", ("dst/r", "dst/s"), 2, 0.5, 1.5, 200, ("moved", "present"), 0.25, 0.125, 3
)


def written(tmp_path: Path, *records: TransferRecord, images: tuple[ImageResult, ...] = ()) -> Path:
    path = tmp_path / "report.json"
    writer = ReportWriter(str(path))
    totals = Totals(requests={"get blob": 3})
    for image in images:
        totals.add(image)
        writer.add(image)
    for record in records:
        writer.add_transfer(record)
    report = Report(
        {"workers": 2}, totals, "2026-01-01T00:00:00+00:00", 2.5, interrupted="SIGINT", warnings=("careful",)
    )
    writer.close(report)
    return path


def changed(path: Path, **fields: Any) -> str:
    """The first transfer of the report with other values (None: left out)."""
    document = json.loads(path.read_text())
    document["transfers"][0] = {
        name: value for name, value in (document["transfers"][0] | fields).items() if value is not None
    }
    path.write_text(json.dumps(document))
    return str(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    failed = ImageResult("src/r:1", "dst/r:1", Outcome.FAILED, reason="no")
    copied = ImageResult("src/r:2", "dst/r:2", Outcome.COPIED, bytes_moved=200, blobs_moved=1, blobs_present=1)
    recorded = load_report(str(written(tmp_path, RECORD, RECORD, images=(failed, copied))))
    report = recorded.report
    assert recorded.transfers == (RECORD, RECORD)
    assert report.totals.outcomes[Outcome.COPIED] == report.totals.outcomes[Outcome.FAILED] == 1
    assert (report.totals.bytes_moved, report.totals.requests) == (200, {"get blob": 3})
    assert (report.seconds, report.interrupted, report.exit_code, report.warnings) == (2.5, "SIGINT", 130, ("careful",))
    assert [(each.source, each.reason) for each in report.failures] == [("src/r:1", "no")]


def test_a_report_of_an_old_release_has_no_transfers(tmp_path: Path) -> None:
    path = written(tmp_path)
    document = json.loads(path.read_text())
    del document["transfers"]
    path.write_text(json.dumps(document))
    assert load_report(str(path)).transfers == ()


def test_a_report_of_a_new_release_is_read_as_far_as_we_know_it(tmp_path: Path) -> None:
    path = written(tmp_path, RECORD)
    lacking = dict.fromkeys(("source_waited_s", "destination_waited_s", "pauses"))
    [record] = load_report(changed(path, colour="blue", **lacking)).transfers
    assert (record.source_waited_s, record.destination_waited_s, record.pauses) == (0, 0, 0)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"digest": None}, "in transfer 1, digest is no text"),
        ({"began_s": "1"}, "began_s is no number from 0 on"),
        ({"began_s": -1}, "began_s is no number from 0 on"),
        ({"ended_s": 1e300}, "ended_s is no number from 0 on"),
        ({"ended_s": True}, "ended_s is no number from 0 on"),
        ({"ended_s": 0.25}, "ended_s is before began_s"),
        ({"size_bytes": -2}, "size_bytes is no whole number from -1 on"),
        ({"bytes_moved": 1.5}, "bytes_moved is no whole number from 0 on"),
        ({"worker": True}, "worker is no whole number from 0 on"),
        ({"destinations": "dst/r"}, "destinations is no list of texts"),
        ({"destinations": [1, 2]}, "destinations is no list of texts"),
        ({"outcomes": ["moved"]}, "there is not one outcome for each destination"),
        ({"outcomes": [], "destinations": []}, "there is not one outcome for each destination"),
        ({"outcomes": ["moved", "eaten"]}, "outcomes are others than moved, mounted, present, failed, split off"),
    ],
)
def test_a_wrong_transfer_is_told_with_its_place(tmp_path: Path, fields: dict[str, Any], what: str) -> None:
    path = changed(written(tmp_path, RECORD), **fields)
    with pytest.raises(ConfigurationError, match="is no report of image-syncer: in transfer 1, ") as raised:
        load_report(path)
    assert what in str(raised.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("nginx: registry.example/nginx\n", "is not JSON: "),
        ("\x00\xff", "is not JSON: "),
        ("[]", "is no report of image-syncer: it is no JSON object"),
        ("null", "it is no JSON object"),
        ("{}", "it has no images"),
        ('{"images": 1}', "it has no images"),
        ('{"images": [], "settings": {}}', "it has no totals"),
        ('{"images": [], "settings": {}, "totals": {}}', "its totals have no outcomes or no requests"),
        ("[" * 5000, "is not JSON: "),
    ],
)
def test_what_is_no_report_is_said(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError) as raised:
        load_report(str(path))
    assert str(raised.value).startswith(str(path))
    assert what in str(raised.value)
    assert raised.value.hint


def test_wherever_a_report_is_cut_off_it_is_said(tmp_path: Path) -> None:
    whole = written(tmp_path, RECORD, images=(ImageResult("src/r:1", "dst/r:1", Outcome.COPIED),)).read_bytes().rstrip()
    path = tmp_path / "cut.json"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigurationError, match="ends in the middle"):
            load_report(str(path))
    path.write_text('{"images": [\n{"source": "a}')
    with pytest.raises(ConfigurationError, match="ends in the middle"):
        load_report(str(path))
    path.write_bytes(whole[:-300])
    with pytest.raises(ConfigurationError, match="ends in the middle: it was cut off, or its run is not over"):
        load_report(str(path))


def test_a_report_that_has_only_begun_is_not_over(tmp_path: Path) -> None:
    path = tmp_path / "run.json.partial"
    path.touch()
    with pytest.raises(ConfigurationError, match="its run is not over"):
        load_report(str(path))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file or directory"):
        load_report(str(tmp_path / "gone"))
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_report(str(tmp_path))


def test_what_mirrors_gave_is_read_where_it_is_there(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert load_report(str(path)).report.mirrors == {}
    document = json.loads(path.read_text())
    document["mirrors"] = {"mirror.example": {"bytes": 7, "failures": 1}}
    path.write_text(json.dumps(document))
    assert load_report(str(path)).report.mirrors == document["mirrors"]
    for wrong in ([], {"mirror.example": 7}, {"mirror.example": {"bytes": "7", "failures": 1}}):
        path.write_text(json.dumps(document | {"mirrors": wrong}))
        with pytest.raises(ConfigurationError, match=r"mirrors|bytes"):
            load_report(str(path))


@pytest.mark.parametrize("records", [(), (RECORD,), (RECORD,) * 3])
def test_a_report_that_was_written_anew_is_the_same(tmp_path: Path, records: tuple[TransferRecord, ...]) -> None:
    """As other programs write JSON: on one line, or with each value on its own."""
    path = written(tmp_path, *records, images=(ImageResult("src/r:1", "dst/r:1", Outcome.COPIED),))
    streamed = load_report(str(path))
    for indent in (None, 0, 2):
        path.write_text(json.dumps(json.loads(path.read_text()), indent=indent))
        assert load_report(str(path)) == streamed
    assert len(streamed.transfers) == len(records)


def test_a_broken_line_among_transfers_is_told_by_its_number(tmp_path: Path) -> None:
    path = written(tmp_path, RECORD, RECORD, RECORD)
    lines = path.read_text().splitlines()
    second = next(number for number, line in enumerate(lines) if "sha256:ab" in line) + 1
    path.write_text("\n".join([*lines[:second], lines[second].replace('"digest"', "digest"), *lines[second + 1 :]]))
    with pytest.raises(ConfigurationError, match=rf"is not JSON: .* \(line {second + 1}\)"):
        load_report(str(path))
    path.write_text(
        "\n".join([*lines[:second], lines[second].replace('"worker":2', '"worker":-2'), *lines[second + 1 :]])
    )
    with pytest.raises(ConfigurationError, match="in transfer 2, worker is no whole number"):
        load_report(str(path))


@in_own_process
def test_transfers_are_not_held_twice(tmp_path: Path) -> None:
    path = written(tmp_path, *[RECORD] * 20_000)
    tracemalloc.start()
    recorded = load_report(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    assert len(recorded.transfers) == 20_000
    size = path.stat().st_size
    assert peak < 3.5 * size, f"{peak} bytes for a file of {size}"
