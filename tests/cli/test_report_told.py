"""What a stranger reads off the page, the plots and the summary of a run: no figure says what is not so."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from cli.test_report import Page, record
from image_syncer import load_report
from image_syncer.telemetry import ImageResult, Outcome, Report, ReportWriter, Totals, TransferRecord
from image_syncer_cli.display.figures import draw_svg, figures_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cli.conftest import Command

LIMITS = {
    "docker.io": {
        "refused": 60,
        "left_alone_s": 4.0,
        "requests_per_s": [[1.0, 8.0]],
        "bytes_per_s": [],
        "connections": [],
    },
    "quay.io": {"refused": 4, "left_alone_s": 0, "requests_per_s": [], "bytes_per_s": [], "connections": []},
}
COPIED = ImageResult("src.example/a:1", "dst.example/a:1", Outcome.COPIED, blobs_present=51, blobs_mounted=1, tries=2)
FAILED = ImageResult("src.example/b:1", "dst.example/b:1", Outcome.FAILED, reason="no")
RECORDS = (
    record(1, began_s=3.0, ended_s=5.0, worker=1, source_waited_s=0.5, destination_waited_s=0.25),
    record(2, began_s=3.0, ended_s=6.0, worker=5, outcomes=("present",), bytes_moved=0, source_resumes=1),
    record(3, began_s=4.0, ended_s=8.0, worker=5, outcomes=("failed",), bytes_moved=0),
)


def write(
    path: Path, records: Iterable[TransferRecord] = RECORDS, images: Iterable[ImageResult] = (COPIED,), **fields: Any
) -> Path:
    writer, totals = ReportWriter(str(path)), Totals(requests={"get blob": 3, "head manifest": 4})
    for image in images:
        totals.add(image)
        writer.add(image)
    for each in records:
        writer.add_transfer(each)
    known = {"limits": LIMITS, "settings": {"workers": 3}, "seconds": 10.0, **fields}
    settings, seconds = known.pop("settings"), known.pop("seconds")
    writer.close(Report(settings, totals, "2026-01-02T03:04:05+00:00", seconds, **known))
    return path


def page(command: Command, report: Path, *words: str | Path) -> Page:
    target = report.with_name("page.html")
    ran = command("report", report, *words, "--html", target)
    assert (ran.code, ran.err) == (0, "")
    return Page(target.read_text(encoding="utf-8"))


def test_time_in_which_neither_side_was_slow_is_not_said_to_be_movement(tmp_path: Path) -> None:
    figure = figures_of(load_report(str(write(tmp_path / "run.json"))))["waits"]
    assert figure.labels == ("ring full: slow destination", "neither of them", "ring empty: slow source")
    assert figure.facts == ("0.5 s (6 %)", "8.2 s (92 %)", "0.2 s (3 %)")
    for parts in zip(*(track.values for track in figure.tracks), strict=True):
        known = [part for part in parts if part is not None]
        assert not known or sum(known) == pytest.approx(1.0)
    assert "both sides moved, or a registry was waited for" in figure.about
    drawn = draw_svg(figure)
    assert [drawn.count(f'class="{kind} area"') for kind in ("k0", "rest", "k1")] == [1, 1, 1]


def test_the_page_says_what_passed_before_anything_moved(command: Command, tmp_path: Path) -> None:
    found = page(command, write(tmp_path / "run.json")).text
    assert "The first transfer began after 3.0 s: images are looked at first." in found
    assert "What a transfer moved is spread evenly over its time." in found
    early = write(tmp_path / "early.json", (record(1, began_s=0.1, ended_s=5.0),))
    assert "The first transfer" not in (text := page(command, early).text)
    assert "▼" not in text


def test_counts_of_what_was_not_sent_agree(command: Command, tmp_path: Path) -> None:
    text = page(command, write(tmp_path / "run.json")).text
    assert "0\u00a0blobs mounted, 1\u00a0found there" in text
    assert re.search(r"found there\s*2.0 KiB\s*1\s*at the destination", text)
    assert re.search(r"known to be there\s*not noted\s*50\s*another image had brought it", text)


def test_limits_and_workers_that_died_are_told(command: Command, tmp_path: Path) -> None:
    text = page(command, write(tmp_path / "run.json")).text
    assert re.search(r"Refused\s*64\s*requests, for their number \(429\): 60.by docker.io", text)
    assert "may have waited for a limit: docker.io, quay.io had one." in text
    assert re.search(r"worker processes that died and were replaced, at least\s*2", text)
    assert "Those above 3 began in place of workers that had died." in text
    assert "1\u00a0image tried again" in text
    calm = write(tmp_path / "calm.json", RECORDS[:1], limits={}, settings={})
    text = page(command, calm).text
    assert "Refused" not in text
    assert "died" not in text


def test_how_much_the_slow_side_was_slow_is_told(command: Command, tmp_path: Path) -> None:
    slow = record(1, began_s=0.0, ended_s=10.0, source_waited_s=2.0)
    assert re.search(
        r"Slow side\s*destination: 20.%\s*of their time, transfers waited",
        page(command, write(tmp_path / "run.json", (slow,))).text,
    )


def test_parts_of_requests_are_set_in(command: Command, tmp_path: Path) -> None:
    from image_syncer.reporting.plan_file import ImageShape, PlannedBlob, PlanWriter

    writer = PlanWriter(str(tmp_path / "plan.json"))
    planned = ImageResult("src.example/a:1", "dst.example/a:1", Outcome.PLANNED)
    shape = ImageShape(1, (PlannedBlob("sha256:" + "a" * 64, 100),))
    writer.note_shape(planned.source, planned.destination, shape)
    writer.add(planned)
    writer.close(Report({}, Totals(), "2026-01-01T00:00:00+00:00", 1.0))
    report = write(tmp_path / "run.json")
    page(command, report, "--plan", tmp_path / "plan.json")
    assert "<td>&emsp;get blob</td>" in report.with_name("page.html").read_text()


def test_outcomes_stand_in_one_order(command: Command, tmp_path: Path) -> None:
    images = (
        ImageResult("src.example/b:1", "dst.example/b:1", Outcome.FAILED),
        COPIED,
    )
    assert "1 copied, 1 failed" in page(command, write(tmp_path / "run.json", images=images)).text


def test_the_summary_tells_limits_and_faults(command: Command, tmp_path: Path) -> None:
    out = command("report", write(tmp_path / "run.json")).out
    assert "Limit      docker.io refused 60 requests (429), was paused for 4.0 s" in out
    assert "Faults     1 transfer broke off and went on, 1 failed\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_another_amount_of_work_has_no_better_faults(command: Command, tmp_path: Path) -> None:
    before = write(tmp_path / "a.json", images=(COPIED, FAILED))
    after = write(tmp_path / "b.json", images=(*[COPIED] * 20, FAILED), limits={})
    out = command("report", before, after).out
    assert "requests refused (429)" in out
    assert "Better" not in out
    text = page(command, before, after)
    assert "verdict bad" in [each.get("class") for each in text.attributes("p")]
    assert len(text.attributes("table")) <= 3


def test_a_plot_says_what_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure as Sheet

    from image_syncer_cli.display.plots import draw_figure

    said: list[str] = []
    plain = Sheet.text

    def note(sheet: Sheet, x: float, y: float, words: str, **how: Any) -> Any:
        said.append(words)
        assert 0 < y < 1
        return plain(sheet, x, y, words, **how)

    monkeypatch.setattr(Sheet, "text", note)
    recorded = load_report(str(write(tmp_path / "run.json")))
    figures = figures_of(recorded)
    for figure in figures.values():
        said.clear()
        assert draw_figure(figure, recorded, "run.json").startswith(b"\x89PNG")
        assert figure.about in " ".join(said)
        assert figure.measure == "" or figure.measure in said
    assert figures["workers"].all_facts(0).endswith(", at most 1 at once")
    assert figures["limits"].all_facts(0) == figures["limits"].facts[0]


def test_what_failed_is_seen_without_its_colour(command: Command, tmp_path: Path) -> None:
    report = write(tmp_path / "run.json", (record(1, began_s=0.0, ended_s=9.0, outcomes=("failed",)),))
    assert command("report", report, "--timeline", tmp_path / "line.html").code == 0
    script = (tmp_path / "line.html").read_text()
    assert 'if (name === "bad" && wide > 4) stripe(pen, left, y, wide, tall);' in script
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    assert command("report", report, "--timeline", tmp_path / "line.png").code == 0
    picture = imread(BytesIO((tmp_path / "line.png").read_bytes()))[..., :3]
    red = (picture[..., 0] > 0.7) & (picture[..., 1] < 0.3)
    row = max(red, key=lambda line: int(line.sum()))
    places = row.nonzero()[0]
    assert len(places) > 500
    assert not row[places[0] : places[-1]].all()


def test_the_kinds_of_hostile_settings_are_taken(command: Command, tmp_path: Path) -> None:
    report = write(tmp_path / "run.json")
    for workers in (True, -1, "3", None, 2**62, 1.5, [3]):
        document = json.loads(report.read_text())
        document["settings"]["workers"] = workers
        report.write_text(json.dumps(document))
        assert "at least" not in page(command, report).text.partition("Retries")[2]


def test_small_blobs_do_not_hide_which_side_was_slow(command: Command, tmp_path: Path) -> None:
    large = record(1, size_bytes=2**24, began_s=0.0, ended_s=10.0, source_waited_s=6.0)
    small = [record(n, size_bytes=2**19, began_s=0.0, ended_s=9.0) for n in range(2, 60)]
    settings = {"workers": 3, "window_bytes": 2**20, "small_bytes": 2**19}
    report = write(tmp_path / "run.json", (large, *small), settings=settings)
    text = page(command, report).text
    assert re.search(r"Slow side\s*destination: 60.%\s*of their time, transfers of more than 1.0.MiB waited", text)
    assert "Blobs of up to 1.0 MiB are left out: they cannot fill a ring." in text
    assert re.search(r"window_bytes\s*1.0 MiB", text)
    out = " ".join(command("report", report).out.split())
    assert "of blobs of more than 1.0 MiB, downloads waited 6.0 s (60 %)" in out
    assert "The destination was the slow side." in out
    command("report", report, "--timeline", tmp_path / "line.html")
    assert "waits of blobs above 1.0" in (tmp_path / "line.html").read_text()
    only = write(tmp_path / "small.json", small, settings=settings)
    assert "left out" not in page(command, only).text


def test_the_rest_of_many_registries_does_not_flatten_the_others(tmp_path: Path) -> None:
    records = [record(n, source=f"s{n}.example/a", bytes_moved=1000 + n, size_bytes=1000) for n in range(60)]
    figure = figures_of(load_report(str(write(tmp_path / "run.json", records))))["registries"]
    [rest] = figure.apart
    assert figure.labels[rest] == "from 51 others"
    assert figure.about.endswith("all rows to the same scale, but for those of others.")
    assert figure.top(rest) > 5 * figure.top(0) or figure.top(0) == figure.top(len(figure.tracks) - 1)
    assert figure.top(0) == max(
        value or 0.0 for place, track in enumerate(figure.tracks) if place != rest for value in track.values
    )


def test_the_same_trouble_of_many_registries_is_one_cause(command: Command, tmp_path: Path) -> None:
    error = {"kind": "unavailable", "side": "source", "status": 503}
    images = [ImageResult(f"s{n}.example/a:1", "d.example/a:1", Outcome.FAILED, error=error) for n in range(40)]
    images.append(ImageResult("t.example/a:1", "d.example/a:1", Outcome.FAILED, error={"kind": "not found"}))
    report = write(tmp_path / "run.json", images=images)
    text = page(command, report).text
    assert "40 × 40 source registries: unavailable (503)" in text
    assert "1 × not found" in text
    assert "     40 × 40 source registries: unavailable (503)\n      1 × not found" in command("report", report).out


def test_many_limits_leave_room_in_the_summary(command: Command, tmp_path: Path) -> None:
    limits = {f"r{n}.example": LIMITS["docker.io"] for n in range(20)}
    out = command("report", write(tmp_path / "run.json", limits=limits)).out
    assert out.count("Limit  ") == 3
    assert "… and 17 more registries had limits" in out


def test_a_blob_that_went_everywhere_needs_no_table(command: Command, tmp_path: Path) -> None:
    text = page(command, write(tmp_path / "run.json", (record(1),), (FAILED,))).text
    assert "Each blob was sent to each destination that needed it." in text
    assert "found there" not in text.partition("What need not move")[2].partition("Workers")[0]


def test_long_addresses_are_not_torn_in_the_summary(command: Command, tmp_path: Path) -> None:
    address = "http://dst.example/v2/b/blobs/sha256:" + "0" * 64
    image = ImageResult(
        "src.example/b:1", "dst.example/b:1", Outcome.FAILED, reason=f"it is said: GET {address} is 500"
    )
    out = command("report", write(tmp_path / "run.json", images=(image,))).out
    assert f"  it is said: GET\n  {address[:77]}…\n  is 500\n" in out


def test_a_timeline_of_days_counts_in_clocks(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.axes import Axes

    shown: list[str] = []
    plain = Axes.set_xticks

    def note(axes: Axes, ticks: Any, labels: Any = None, **how: Any) -> Any:
        shown.extend(labels or ())
        return plain(axes, ticks, labels, **how)

    monkeypatch.setattr(Axes, "set_xticks", note)
    report = write(tmp_path / "run.json", (record(1, began_s=0.0, ended_s=250_000.0),), seconds=259_200.0)
    assert command("report", report, "--timeline", tmp_path / "line.png").code == 0
    assert shown[:2] == ["0 s", "12:00:00"]


def test_the_page_of_a_verification_has_nothing_of_a_copy(command: Command, tmp_path: Path) -> None:
    image = ImageResult("src.example/a:1", "dst.example/a:1", Outcome.EQUAL)
    usage = {"coordinator_cpu_s": 0.1, "workers_cpu_s": 0, "coordinator_peak_bytes": 2**26, "worker_peak_bytes": 0}
    text = page(command, write(tmp_path / "verify.json", (), (image,), kind="verify", usage=usage, limits={})).text
    assert re.search(r"from → to\s*images\s*outcomes\s*src.example", text)
    assert "1 equal" in text
    for word in ("Over time", "all workers", "mounted", "already there"):
        assert word not in text
