"""Where `report` writes to, what it compares, and what of a secret it passes on: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cli.test_main import SOURCE_ROOTS
from cli.test_report import record
from image_syncer.telemetry import Difference, ImageResult, Outcome, Report, ReportWriter, Totals

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cli.conftest import Command

DIFFERENT = ImageResult(
    "src.example/b:1",
    "dst.example/b:1",
    Outcome.DIFFERENT,
    reason="tag dst.example/b:1: expected sha256:1, found nothing",
    differences=(Difference("tag", "dst.example/b:1", "sha256:1", "nothing"),),
)
UNCHECKED = ImageResult("src.example/c:1", "dst.example/c:1", Outcome.UNCHECKED, reason="the source is silent")
COPIED = ImageResult("src.example/a:1", "dst.example/a:1", Outcome.COPIED)


def write(path: Path, images: Iterable[ImageResult] = (COPIED,), moved: int = 3, **fields: Any) -> Path:
    writer, totals = ReportWriter(str(path)), Totals()
    for image in images:
        totals.add(image)
        writer.add(image)
    for number in range(moved):
        writer.add_transfer(record(number))
    writer.close(Report({}, totals, "2026-01-02T03:04:05+00:00", 9.0, **fields))
    return path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--html", "a.html", "--junit", "./a.html"], "--html and --junit name the same file: ./a.html"),
        (["--plot", "waits", "a.png", "--plot", "workers", "a.png"], "--plot and --plot name the same file: a.png"),
        (["--html", "-"], "--html needs the name of a file; that of standard output is /dev/stdout"),
        (["--png", "x.png"], "--png needs the name of a figure and a file, as in --png waits waits.png: throughput,"),
        (["--html"], "Option '--html' requires an argument"),
    ],
)
def test_one_file_for_each(
    words: list[str], says: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "run.json")
    monkeypatch.chdir(tmp_path)
    ran = command("report", "run.json", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("option", "begins"), [("--html", "<!DOCTYPE html>"), ("--junit", "<?xml"), ("--markdown", "###")]
)
def test_standard_output_is_a_file_like_others(option: str, begins: str, tmp_path: Path) -> None:
    code = "import sys; from image_syncer_cli.main import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", code, "report", str(write(tmp_path / "run.json")), option, "/dev/stdout"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS))}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(begins)
    assert "/dev/stdout: 1 image" in done.stderr
    assert "/dev/stdout" not in done.stdout


def test_what_is_there_stays_where_nothing_can_be_written(command: Command, tmp_path: Path) -> None:
    report, page = write(tmp_path / "run.json"), tmp_path / "page.html"
    page.write_text("old")
    (tmp_path / "page.html.partial").mkdir()
    ran = command("report", report, "--html", page)
    assert (ran.code, ran.out) == (2, "")
    assert page.read_text() == "old"


def test_png_is_another_name_of_plot(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ran = command("report", write(tmp_path / "run.json"), "--png", "workers", tmp_path / "x.png")
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_verification_is_told_with_what_differs(command: Command, tmp_path: Path) -> None:
    report = write(tmp_path / "verify.json", (DIFFERENT, UNCHECKED), 0, kind="verify")
    out = command("report", report).out
    assert "different: src.example/b:1 → dst.example/b:1\n  tag dst.example/b:1: expected sha256:1" in out
    assert "not checked: src.example/c:1" in out
    assert "1 × different" in out
    assert "Transfers" not in out
    assert command("report", report, "--junit", tmp_path / "v.xml").code == 0
    assert "tag dst.example/b:1: expected sha256:1, found nothing\ntag dst" in (tmp_path / "v.xml").read_text()


def test_two_verifications_have_failures(command: Command, tmp_path: Path) -> None:
    equal = ImageResult(DIFFERENT.source, DIFFERENT.destination, Outcome.EQUAL)
    before = write(tmp_path / "a.json", (DIFFERENT,), 0, kind="verify")
    after = write(tmp_path / "b.json", (equal, UNCHECKED), 0, kind="verify")
    out = command("report", before, after).out
    assert "Failures: 1 new in B, 1 gone, 0 in both." in out
    assert "1 failed in B, and not in A:\n  src.example/c:1" in out


def test_other_verbs_are_not_compared(command: Command, tmp_path: Path) -> None:
    sync, verify = write(tmp_path / "a.json"), write(tmp_path / "b.json", (DIFFERENT,), 0, kind="verify")
    ran = command("report", sync, verify)
    assert (ran.code, ran.out) == (2, "")
    assert "the first report is of a sync, the second of a verify" in ran.err


def test_a_report_beside_itself_is_said_to_be_that(command: Command, tmp_path: Path) -> None:
    report = write(tmp_path / "a.json")
    copy = tmp_path / "b.json"
    copy.write_bytes(report.read_bytes())
    out = command("report", report, copy).out
    assert "Both files are the same report" in out
    assert "proves nothing" not in out
    assert command("report", report, copy, "--html", tmp_path / "c.html").code == 0
    assert "Both files are the same report" in (tmp_path / "c.html").read_text()


@pytest.mark.parametrize(("data", "says"), [([{"what": 1}], "what is no text"), ({}, "the differences are no list")])
def test_differences_that_are_none_are_said(data: object, says: str, command: Command, tmp_path: Path) -> None:
    report = write(tmp_path / "verify.json", (DIFFERENT,), 0, kind="verify")
    document = json.loads(report.read_text())
    document["images"][0]["differences"] = data
    report.write_text(json.dumps(document))
    ran = command("report", report)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


SECRETS = ("hunter2hunter2", "c2VjcmV0LXNpZ25hdHVyZQ", "eyJhbGciOiJIUzI1NiJ9.e30.c2ln")
TELLING = (
    f"GET https://robot:{SECRETS[0]}@dst.example/v2/x?X-Amz-Signature={SECRETS[1]} Authorization: Bearer {SECRETS[2]}"
)


def test_no_form_of_a_report_passes_on_a_secret(command: Command, tmp_path: Path) -> None:
    """As an old release, or a program of somebody else, may have written it."""
    report = write(
        tmp_path / "run.json",
        (ImageResult("src.example/a:1", "dst.example/a:1", Outcome.FAILED, reason=TELLING), COPIED),
        warnings=(TELLING,),
        internal_error=TELLING,
    )
    document = json.loads(report.read_text())
    document["images"][0]["error"] = {"kind": "transport", "side": "source", "hint": TELLING}
    document["settings"]["auth"] = TELLING
    report.write_text(json.dumps(document))
    other = write(tmp_path / "other.json")
    made = [tmp_path / name for name in ("page.html", "run.xml", "run.md", "line.html", "two.html")]
    words = ("--html", made[0], "--junit", made[1], "--markdown", made[2], "--timeline", made[3])
    assert command("report", report, *words).code == 0
    assert command("report", other, report, "--html", made[4]).code == 0
    for path in made:
        text = path.read_text()
        assert not [secret for secret in SECRETS if secret in text], path.name
    assert "robot" not in made[0].read_text()
