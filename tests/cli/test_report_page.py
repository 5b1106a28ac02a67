"""`report --html`, `--plot`, `--junit`, `--markdown`, and two reports compared."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from cli.test_main import run
from cli.test_report import HOSTILE, PNG, Page, record
from image_syncer.embedded import ContentBuilder, push_to
from image_syncer.reporting.plan_file import ImageShape, PlannedBlob, PlanWriter
from image_syncer.telemetry import ImageResult, Outcome, Report, ReportWriter, Totals, TransferRecord
from image_syncer_cli.display.figures import time_ticks
from image_syncer_cli.pipeline import refuse_same_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from cli.conftest import Command
    from support.bad_input import Bench

LIMITS = {
    "docker.io": {
        "refused": 3,
        "left_alone_s": 4.0,
        "requests_per_s": [[1.0, 8.0], [4.0, None]],
        "bytes_per_s": [],
        "connections": [[0, 4]],
    }
}
USAGE = {"coordinator_cpu_s": 4.5, "workers_cpu_s": 9.0, "coordinator_peak_bytes": 2**26, "worker_peak_bytes": 2**25}
ERROR = {"kind": "not found", "side": "source", "repository": "src/b", "status": 404, "hint": "Check the name."}
IMAGES = (
    ImageResult("src/a:1", "dst/a:1", Outcome.COPIED, bytes_moved=5 * 2**20, blobs_moved=3, blobs_mounted=1, tries=2),
    ImageResult("src/b:1", "dst/b:1", Outcome.FAILED, reason="source src/b:1: it is not there", error=ERROR),
)
RECORDS = tuple(
    record(number, outcomes=("mounted",) if number == 3 else ("moved",), source_waited_s=0.5) for number in range(1, 9)
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_report(
        records: Iterable[TransferRecord] = RECORDS,
        images: Iterable[ImageResult] = IMAGES,
        name: str = "run.json",
        **fields: Any,
    ) -> Path:
        path = tmp_path / name
        writer = ReportWriter(str(path))
        totals = Totals(requests={"get blob": 3, "head manifest": 4000})
        for image in images:
            totals.add(image)
            writer.add(image)
        for each in records:
            writer.add_transfer(each)
        known = {"limits": LIMITS, "usage": USAGE, "resumes": {"source": 2}, "settings": {"workers": 4}}
        values = known | fields
        settings = values.pop("settings")
        seconds = values.pop("seconds", 9.0)
        writer.close(Report(settings, totals, "2026-01-02T03:04:05+00:00", seconds, **values))
        return path

    return write_report


def page(command: Command, report: Path, *words: str | Path) -> Page:
    target = report.with_name("page.html")
    ran = command("report", report, *words, "--html", target)
    assert (ran.code, ran.err) == (0, "")
    return Page(target.read_text(encoding="utf-8"))


def sections(found: Page) -> list[str]:
    return [attributes["id"] or "" for attributes in found.attributes("section") if "id" in attributes]


def test_the_page_has_a_part_for_each_question(command: Command, write: Callable[..., Path]) -> None:
    found = page(command, write(mirrors={"m.example": {"bytes": 9, "failures": 0}}, warnings=("careful",)))
    assert sections(found) == [
        *("failures", "throughput", "waits", "savings", "workers", "registries", "limits", "refusals", "faults"),
        *("pairs", "requests", "machine", "mirrors", "warnings", "settings"),
    ]
    for text in (
        "✗ 1 of 2 images did not arrive.",
        "1 × source src: not found (404)",
        "What to do: Check the name.",
        "ring full: slow destination",
        "to registry.example",
        "docker.io: requests a second",
        "0.50",
        "careful",
    ):
        assert text in found.text


def test_a_run_that_went_well_says_so(command: Command, write: Callable[..., Path]) -> None:
    found = page(command, write(images=IMAGES[:1], resumes={}, limits={}))
    assert "✓ The one image is at its destination" in found.text
    assert "failures" not in sections(found)
    nothing = page(command, write((), (ImageResult("a/b:1", "c/d:1", Outcome.UNCHANGED),), limits={}, resumes={}))
    assert "No transfers are in this report" in nothing.text
    assert "None: no transfer broke off" in nothing.text


def test_nothing_is_loaded_and_nothing_runs(command: Command, write: Callable[..., Path]) -> None:
    found = page(command, write())
    assert found.scripts == []
    attributes = {name for _, each in found.tags for name in each}
    assert not attributes & {"src", "href", "style", "srcset", "action"}
    assert not [name for name in attributes if name.startswith("on")]
    [policy] = [each["content"] or "" for each in found.attributes("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    text = (write().with_name("page.html")).read_text()
    assert not re.search(r"https?:|//\w|@import|url\((?!#h\d\))", text)


def test_names_of_strangers_are_text(command: Command, write: Callable[..., Path]) -> None:
    def story(name: str) -> Page:
        error = {"kind": name, "side": "source", "registry": name, "status": 1, "hint": name}
        images = (ImageResult(name, name, Outcome.FAILED, reason=name, error=error, tries=3),)
        records = (record(1, digest=name, source=name, destinations=(name,), source_waited_s=1.0),)
        limits = {name: LIMITS["docker.io"]}
        path = write(
            records,
            images,
            warnings=(name,),
            interrupted=name,
            limits=limits,
            settings={name: name},
            mirrors={name: {"bytes": 1, "failures": 1}},
        )
        document = json.loads(path.read_text())
        document["totals"]["requests"][name] = 7
        document["started_at"] = name
        path.write_text(json.dumps(document))
        return page(command, path)

    hostile, plain = story(HOSTILE), story("plain")
    assert [tag for tag, _ in hostile.tags if tag != "br"] == [tag for tag, _ in plain.tags if tag != "br"]
    assert "<script>alert(1)</script>" in hostile.text
    assert "\x1b" not in hostile.text


def test_a_large_report_makes_a_page_of_bounded_size(command: Command, write: Callable[..., Path]) -> None:
    count = 6000
    images = (
        ImageResult(
            f"r{n}.example/a:{n}" + "x" * 900,
            f"d{n}.example/a",
            Outcome.FAILED,
            "y" * 900 + "\n" * 99,
            error={"kind": f"k{n}"},
        )
        for n in range(count)
    )
    records = (record(n, worker=n, destinations=(f"d{n}.example/a" + "z" * 900,)) for n in range(count))
    limits = {f"r{n}.example": LIMITS["docker.io"] for n in range(500)}
    report = write(records, images, limits=limits, warnings=("w" * 9000,) * 500)
    found = page(command, report)
    assert report.with_name("page.html").stat().st_size < 900_000
    assert len(found.attributes("tr")) < 250
    assert "5,980 more causes" in found.text


@pytest.mark.parametrize(
    "fields",
    [
        {"began_s": 0.0, "ended_s": 0.0, "bytes_moved": 2**62},
        {"began_s": 0.0, "ended_s": 5e-324, "bytes_moved": 2**62, "source_waited_s": 1.0},
        {"began_s": 0.0, "ended_s": 1e17, "size_bytes": 2**62, "bytes_moved": 0},
        {"worker": 2**62, "destination_waited_s": 2.0**62},
    ],
)
def test_numbers_that_no_run_has_are_drawn(
    fields: dict[str, Any], command: Command, write: Callable[..., Path]
) -> None:
    found = page(command, write((record(1, **fields),), seconds=0.0))
    assert not re.search(r"\b(inf|nan)\b", found.text)
    if fields.get("ended_s") != 1e17:
        return
    pytest.importorskip("matplotlib")
    report = write((record(1, **fields),), seconds=0.0)
    assert command("report", report, "--plot", "throughput", report.with_name("odd.png")).code == 0


def test_a_plan_is_compared_with_what_was_done(command: Command, write: Callable[..., Path], tmp_path: Path) -> None:
    writer = PlanWriter(str(tmp_path / "plan.json"))
    blobs = (PlannedBlob("sha256:" + "a" * 64, 100), PlannedBlob("sha256:" + "b" * 64, 50))
    planned = ImageResult("src.example/a:1", "dst.example/a:1", Outcome.PLANNED)
    writer.note_shape(planned.source, planned.destination, ImageShape(1, blobs))
    writer.add(planned)
    writer.close(Report({}, Totals(), "2026-01-01T00:00:00+00:00", 1.0))
    done = ImageResult(planned.source, planned.destination, Outcome.COPIED, bytes_moved=150, blobs_moved=1)
    told = {"seconds": 4.5, "p90_s": 6, "cpu_s": 13.5, "memory_bytes": 2**28}
    (tmp_path / "estimate.json").write_text(json.dumps(told))
    words = "--plan", tmp_path / "plan.json", "--estimate", tmp_path / "estimate.json"
    found = page(command, write(images=(done,)), *words)
    assert "forecast" in sections(found)
    table = found.text.partition("Prediction against reality")[2]
    assert re.search(r"bytes to move\s*150 B\s*150 B\s*as planned", table)
    assert re.search(r"time\s*4.5 s\s*9.0 s\s*\+4.5 s \(100 %\)", table)
    assert re.search(r"nine of ten within\s*6.0 s\s*9.0 s\s*not kept", table)
    assert re.search(r"processor time\s*14 s\s*14 s\s*as planned", table)
    assert re.search(r"memory, at most\s*256 MiB\s*192 MiB", table)
    assert re.search(r"blobs to move\s*2\s*1\s*−1 \(50 %\)", table)


def test_figures_are_drawn_one_by_one(command: Command, write: Callable[..., Path]) -> None:
    pytest.importorskip("matplotlib")
    records = [*RECORDS, record(9, outcomes=("failed",), destinations=("$x_{1}$/a",))]
    report = write(records)
    names = ("throughput", "waits", "workers", "registries", "limits")
    words = [word for name in names for word in ("--plot", name, report.with_name(f"{name}.png"))]
    ran = command("report", report, *words)
    assert (ran.code, ran.err) == (0, "")
    assert all(report.with_name(f"{name}.png").read_bytes().startswith(PNG) for name in names)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run.json", "--plot", "nonsense", "x.png"], "'nonsense' is not one of"),
        (["run.json", "--plot", "waits", "x.svg"], "'x.svg' does not end in .png"),
        (["run.json", "--plan", "plan.json"], "give --html PAGE"),
        (["run.json", "--html", "x.html", "--estimate", "gone.json"], "the estimate gone.json cannot be read"),
        (["run.json", "--html", "x.html", "--estimate", "run.json"], "run.json is no estimate: p90_s is no number"),
        (["run.json", "--html", "run.json"], "--html names the report itself"),
        (["run.json", "--junit", "run.json"], "--junit names the report itself"),
        (["run.json", "run.json", "--junit", "x.xml"], "two reports are compared in words, or with --html"),
        (["run.json", "gone.json"], "gone.json cannot be read"),
        (["run.json", "--html", "gone/x.html"], "the page cannot be written to gone/x.html"),
        (["run.json", "--junit", "gone/x.xml"], "the JUnit file cannot be written to gone/x.xml"),
        (["run.json", "--markdown", "gone/x.md"], "the Markdown summary cannot be written to gone/x.md"),
        (["idle.json", "--plot", "waits", "x.png"], "the report has nothing for waits"),
        (["odd.json", "--html", "x.html"], "in an image of the report, the outcome is none that this release knows"),
    ],
)
def test_what_cannot_be_done_is_said(
    command: Command, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    if "--plot" in words and words[-1].endswith(".png") and "nonsense" not in words:
        pytest.importorskip("matplotlib")
    write((), name="idle.json", limits={})
    odd = write(name="odd.json")
    odd.write_text(odd.read_text().replace('"outcome":"copied"', '"outcome":"sung"'))
    monkeypatch.chdir(write().parent)
    ran = command("report", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert not odd.with_name("x.html").exists()


def test_two_reports_are_compared(command: Command, write: Callable[..., Path]) -> None:
    before = write(name="a.json")
    again = (*IMAGES[:1], ImageResult("src/c:1", "dst/c:1", Outcome.FAILED, reason="no\x1b[31m"))
    after = write(images=again, name="b.json", seconds=18.0, settings={"workers": 8})
    ran = command("report", before, after)
    assert (ran.code, ran.err) == (0, "")
    assert "Failures: 1 new in B, 0 gone, 0 in both." in ran.out
    assert "One run each proves nothing about speed" in ran.out
    assert re.search(r"^time +9.0 s +18 s +\+100 % +worse$", ran.out, re.MULTILINE)
    assert "1 failed in A, and not part of B:" in ran.out
    assert "workers: 4 → 8" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "\x1b" not in ran.out
    found = page(command, before, after)
    assert "Two runs compared" in found.text
    assert "▼ worse" in found.text
    assert found.scripts == []


def test_a_report_is_written_for_pipelines(command: Command, write: Callable[..., Path]) -> None:
    report = write()
    junit, markdown = report.with_name("run.xml"), report.with_name("run.md")
    ran = command("report", report, "--junit", junit, "--markdown", markdown)
    assert (ran.code, ran.err) == (0, "")
    assert ET.parse(junit).getroot().get("failures") == "1"
    assert "#### What failed" in markdown.read_text()


@pytest.mark.parametrize(
    ("fields", "outcome", "says"),
    [
        ({"interrupted": "SIGTERM"}, Outcome.NOT_TRIED, "✗ Ended before all was done (SIGTERM): 1 of 1 images"),
        ({"internal_error": "odd"}, Outcome.COPIED, "✗ An internal error of image-syncer"),
        ({"kind": "verify"}, Outcome.DIFFERENT, "✗ 1 of 1 images differ, or could not be checked."),
        ({"kind": "verify"}, Outcome.EQUAL, "✓ The one image is at its destination"),
        ({"kind": "prune"}, Outcome.SELECTED, "✓ Nothing failed."),
        ({}, Outcome.PLANNED, "✓ Nothing was copied, as asked: 1 of 1 images would be."),
        ({}, Outcome.SKIPPED, "✓ 0 of 1 images are at their destinations as they are at their sources; 1 skipped."),
    ],
)
def test_the_first_line_says_how_it_went(
    fields: dict[str, Any], outcome: Outcome, says: str, command: Command, write: Callable[..., Path]
) -> None:
    assert says in page(command, write((), (ImageResult("a/b:1", "c/d:1", outcome),), **fields)).text


def test_the_summary_groups_many_failures(command: Command, write: Callable[..., Path]) -> None:
    images = [ImageResult(f"a/b:{n}", "c/d:1", Outcome.FAILED, error={"kind": f"k{n % 9}"}) for n in range(20)]
    out = command("report", write(images=images)).out
    assert out.endswith("      2 × k5\n… and 3 more causes.\n")
    assert "\nAll failures by cause:\n      3 × k0\n      3 × k1\n      2 × k2\n" in out


def test_files_of_a_run_have_names_of_their_own(command: Command, tmp_path: Path) -> None:
    refuse_same_files("x.json", "x.xml", None)
    refuse_same_files("/dev/null", "/dev/null", "/dev/null")
    ran = command("copy", "a/b:1", "c/d", "--report", tmp_path / "x", "--report-junit", f"{tmp_path}/./x")
    assert (ran.code, ran.out) == (2, "")
    assert "are each a file of its own" in ran.err


def test_ticks_are_round_moments() -> None:
    assert time_ticks(0) == [(0.0, "0")]
    assert [label for _, label in time_ticks(200)] == ["0 s", "30 s", "1:00", "1:30", "2:00", "2:30", "3:00"]
    assert all(2 <= len(time_ticks(10.0**power)) <= 12 for power in range(-6, 5))
    assert len(time_ticks(1e18)) <= 12


def test_a_real_run_writes_for_pipelines(command: Command, bench: Bench, tmp_path: Path) -> None:
    push_to(bench.source.storage, "team/app", ContentBuilder(seed=5).image(2, layer_bytes=20_000), ["1"])
    (tmp_path / "summary.md").write_text("# Pipeline\n")
    source, target = f"{bench.source.address}/team/app:1", f"{bench.destination.address}/mirror/app"
    insecure = (
        "--insecure",
        bench.source.address,
        "--insecure",
        bench.destination.address,
        "--quiet",
        "--workers",
        "1",
    )
    told = ("--report-junit", str(tmp_path / "run.xml"), "--report-markdown", str(tmp_path / "summary.md"))
    done = run("copy", source, target, *insecure, *told, "--report", str(tmp_path / "run.json"))
    assert done.returncode == 0, done.stderr
    root = ET.parse(tmp_path / "run.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("1", "0")
    assert (tmp_path / "summary.md").read_text().startswith("# Pipeline\n### ✅ image-syncer")
    assert "✓ The one image is" in page(command, tmp_path / "run.json").text


def test_a_file_for_pipelines_that_cannot_be_written_fails_the_run(bench: Bench, tmp_path: Path) -> None:
    push_to(bench.source.storage, "team/app", ContentBuilder(seed=5).image(1, layer_bytes=2_000), ["1"])
    source, target = f"{bench.source.address}/team/app:1", f"{bench.destination.address}/mirror/app"
    insecure = (
        "--insecure",
        bench.source.address,
        "--insecure",
        bench.destination.address,
        "--quiet",
        "--workers",
        "1",
    )
    late = run("copy", source, target, *insecure, "--report-markdown", str(tmp_path / "gone" / "x.md"))
    assert late.returncode == 1
    assert "1 copied" in late.stdout
    assert "the Markdown summary cannot be written" in late.stderr
    early = run("copy", source, target, *insecure, "--report-junit", str(tmp_path / "gone" / "x.xml"))
    assert (early.returncode, early.stdout) == (2, "")
