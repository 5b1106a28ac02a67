"""JUnit XML and Markdown: well-formed, countable, and harmless whatever the names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from image_syncer.errors import ConfigurationError, SyncError
from image_syncer.reporting.result_files import JUnitWriter, append_markdown, markdown_summary
from image_syncer.reporting.run_account import FailureGroups
from image_syncer.telemetry import Difference, ImageResult, Outcome, PartialFile, Report, Totals

HOSTILE = (
    "evil/]]></failure><testcase name='x'/>&\"'\x00\x1b\ufffe\ud800|`@team` <script> [a](http://x) www.x.example\n# h"
)

ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "skipped", "timestamp"},
    "testcase": {"name", "time", "classname"},
    "skipped": {"message"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
}
"""What Jenkins' schema has (junit-10.xsd), and no more."""


def report(*images: ImageResult, **fields: Any) -> Report:
    totals = Totals()
    for image in images:
        totals.add(image)
    return Report({}, totals, "2026-01-02T03:04:05+00:00", 9.5, **fields)


def written(path: Path, *images: ImageResult, **fields: Any) -> ET.Element:
    writer = JUnitWriter(str(path), option="--report-junit")
    for image in images:
        writer.add(image)
    writer.close(report(*images, **fields))
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    root = ET.parse(path).getroot()
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
    return root


IMAGES = (
    ImageResult("a/x:1", "c/team/x:1", Outcome.COPIED, seconds=1.25),
    ImageResult(
        "b/x:1", "c/x:1", Outcome.FAILED, reason="source b/x:1: gone\nlook", error={"kind": "not found", "hint": "H"}
    ),
    ImageResult("a/x:2", "c/team/x:2", Outcome.SKIPPED, reason="no platform"),
    ImageResult("a/x:3", "c/team/x:3", Outcome.NOT_TRIED),
    ImageResult("a/x:4", "c/x:4", Outcome.DIFFERENT, differences=(Difference("tag", "c/x:4", "sha256:1", "nothing"),)),
    ImageResult("a/x:5", "c/team/x:5", Outcome.UNCHANGED),
)


def test_a_suite_for_each_pair_and_a_case_for_each_image(tmp_path: Path) -> None:
    root = written(tmp_path / "run.xml", *IMAGES)
    assert root.attrib == {"name": "image-syncer sync", "tests": "6", "failures": "2", "errors": "1", "time": "9.500"}
    first, second = root
    assert (first.get("name"), second.get("name")) == ("a → c", "b → c")
    assert (first.get("tests"), first.get("failures"), first.get("errors"), first.get("skipped")) == (
        "5",
        "1",
        "1",
        "1",
    )
    assert first.get("timestamp") == "2026-01-02T03:04:05"
    case = first[0]
    assert case.attrib == {"name": "a/x:1 → c/team/x:1", "classname": "c/team/x", "time": "1.250"}
    assert len(case) == 0
    assert [[each.tag for each in one] for one in first] == [[], ["skipped"], ["error"], ["failure"], []]
    [failure] = second[0]
    assert (failure.get("type"), failure.get("message")) == ("not found", "failed: source b/x:1: gone")
    assert failure.text == "source b/x:1: gone\nlook\nH"
    assert "expected sha256:1, found nothing" in (first[3][0].text or "")


def test_names_cannot_break_out_of_the_xml(tmp_path: Path) -> None:
    odd = ImageResult(HOSTILE, HOSTILE, Outcome.FAILED, reason=HOSTILE * 1000, error={"kind": HOSTILE})
    root = written(tmp_path / "run.xml", odd, odd, kind=HOSTILE)
    assert [element.tag for element in root.iter()] == ["testsuites", "testsuite", *["testcase", "failure"] * 2]
    assert (tmp_path / "run.xml").stat().st_size < 40_000
    assert "</failure>" in (root[0][0].get("name") or "")


def test_a_run_without_images_and_one_of_many_registries(tmp_path: Path) -> None:
    assert len(written(tmp_path / "run.xml")) == 0
    many = [ImageResult(f"r{n}/x:1", "c/x:1", Outcome.COPIED) for n in range(1500)]
    root = written(tmp_path / "run.xml", *many)
    assert len(root) == 1001
    assert sum(len(suite) for suite in root) == 1500


def test_a_full_disk_is_said_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "full.xml").symlink_to("/dev/full")
    writer = JUnitWriter(str(tmp_path / "full.xml"), option="--report-junit")
    for image in IMAGES * 200:
        writer.add(image)
    with pytest.raises(SyncError, match="the JUnit file cannot be written"):
        writer.close(report(*IMAGES))


def markdown(*images: ImageResult, **fields: Any) -> str:
    groups = FailureGroups()
    for image in images:
        groups.add(image)
    return markdown_summary(report(*images, **fields), groups.groups())


@pytest.mark.parametrize("count", [1, 2000])  # fails when it is flushed; fails in the middle
def test_a_disk_that_is_full_of_cases_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(PartialFile, "open_aside", lambda _: Path("/dev/full").open("r+b"))  # noqa: SIM115 - the writer closes it
    writer = JUnitWriter(str(tmp_path / "junit.xml"), option="--report-junit")
    for number in range(count):
        writer.add(ImageResult(f"a/x:{number}", "c/x:1", Outcome.COPIED))
    with pytest.raises(SyncError, match="No space left"):
        writer.close(report())
    assert list(tmp_path.iterdir()) == []


def test_the_summary_has_figures_and_failures() -> None:
    text = markdown(*IMAGES, warnings=("careful",))
    assert text.startswith("### ❌ image-syncer: run of 2026-01-02 03&#58;04&#58;05 UTC\n")
    assert "| images | 6: 1 copied, 1 unchanged, 1 skipped, 1 failed, 1 not tried, 1 different |" in text
    assert "#### What failed" in text
    assert "- careful" in text
    assert markdown(IMAGES[0]).startswith("### ✅")
    assert "What failed" not in markdown(IMAGES[0])


def test_names_are_no_markdown() -> None:
    odd = ImageResult(HOSTILE, HOSTILE, Outcome.FAILED, reason=HOSTILE, error={"kind": HOSTILE, "hint": HOSTILE})
    text = markdown(odd, warnings=(HOSTILE,), interrupted=HOSTILE)
    plain = markdown(ImageResult("a/b", "c/d", Outcome.FAILED), warnings=("w",), interrupted="SIGINT")
    assert text.count("\n") == plain.count("\n")
    assert set(re.findall(r"</?\w+", text)) == {"<code", "</code"}
    assert not re.search(r"[`@\[\]\x00\x1b]|www\.|http:", text)
    row = next(line for line in text.splitlines() if line.startswith("| 1 |"))
    assert row.count("|") == 5


def test_many_causes_and_long_texts_stay_short() -> None:
    images = [ImageResult(f"r{n}/a", "c/d" * 999, Outcome.FAILED, error={"kind": f"k{n}"}) for n in range(500)]
    text = markdown(*images, warnings=("w" * 9999,) * 999)
    assert len(text) < 60_000
    assert "480 more causes" in text


def test_a_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    append_markdown(str(path), "after\ud800\n", option="--report-markdown")
    assert path.read_text() == "before\nafter?\n"
    with pytest.raises(ConfigurationError, match=r"cannot be written to .*: Is a directory"):
        append_markdown(str(tmp_path), "x", option="--report-markdown")
