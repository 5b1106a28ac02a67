"""`image-syncer report`: in words, as a page and as a picture; and what strangers write into reports."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cli.test_main import SOURCE_ROOTS, run
from image_syncer.embedded import ContentBuilder, push_to
from image_syncer.telemetry import ImageResult, Outcome, Report, ReportWriter, Totals, TransferRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cli.conftest import Command
    from support.bad_input import Bench

HOSTILE = "evil/</script><script>alert(1)</script>&<!--\u2028\"'{data}${x}\x1b[31m"
PNG = b"\x89PNG\r\n\x1a\n"


def record(number: int, **fields: Any) -> TransferRecord:
    return TransferRecord(
        **{
            "digest": f"sha256:{number:064x}",
            "size_bytes": 1000 * number,
            "source": "docker.io/library/nginx",
            "destinations": ("registry.example/mirror/nginx",),
            "worker": number % 2 + 1,
            "began_s": number / 10,
            "ended_s": number / 5 + 1,
            "bytes_moved": 1000 * number,
            "outcomes": ("moved",),
            **fields,
        }
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_report(*records: TransferRecord, images: tuple[ImageResult, ...] = (), **fields: Any) -> Path:
        path = tmp_path / "run.json"
        writer = ReportWriter(str(path))
        totals = Totals(requests={"get blob": 3, "head manifest": 4000})
        for image in images:
            totals.add(image)
            writer.add(image)
        for each in records:
            writer.add_transfer(each)
        writer.close(Report({"workers": 4}, totals, "2026-01-02T03:04:05+00:00", 9.0, **fields))
        return path

    return write_report


def test_the_summary_says_what_happened(command: Command, write: Callable[..., Path]) -> None:
    images = (
        ImageResult("src/a:1", "dst/a:1", Outcome.COPIED, bytes_moved=5 * 2**20, blobs_moved=3, blobs_mounted=1),
        ImageResult("src/b:1", "dst/b:1", Outcome.FAILED, reason="source src/b:1: it is not there"),
    )
    slow = record(40, began_s=0.0, ended_s=8.0, source_waited_s=6.0, pauses=9, worker=1)
    ran = command("report", write(record(1), record(2), slow, images=images, warnings=("careful",)))
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "Run of 2026-01-02 03:04:05 UTC · 9.0 s · exit code 1"
    facts = dict(re.findall(r"^([A-Z]\w+) {2,}(.*)", ran.out, re.MULTILINE))
    assert facts["Images"] == "2: 1 copied, 1 failed"
    assert facts["Moved"] == "5.0 MiB, 569 KiB/s over the whole run"
    assert facts["Blobs"] == "3 moved, 1 mounted, 0 already there"
    assert facts["Requests"] == "4,003: 4,000 head manifest, 3 get blob"
    assert facts["Warning"] == "careful"
    assert facts["Transfers"] == "3 in 8.0 s, at most 3 at once"
    assert facts["Tail"] == "the last transfer ran alone for 6.6 s (82 %)"
    assert "The destination was the slow side." in ran.out
    worker = next(line for line in lines if line.startswith("     2"))
    assert worker.split()[:6] == ["2", "1000", "B", "1", "1", "86"]
    assert "2 workers had nothing to move." in lines
    slowest = lines[next(number for number, line in enumerate(lines) if line.startswith("Slowest")) + 1]
    assert slowest.startswith("  8.0 s  39.1 KiB")
    assert "destination 75 %" in slowest
    assert lines[-2:] == ["failed: src/b:1 → dst/b:1", "  source src/b:1: it is not there"]


def test_the_summary_says_what_mirrors_gave_and_which_rate_was_kept(
    command: Command, write: Callable[..., Path]
) -> None:
    mirrors = {"mirror.example": {"bytes": 3 * 2**20, "failures": 2}}
    path = write(record(1), mirrors=mirrors)
    assert "Mirror     mirror.example gave 3.0 MiB, and failed 2 times" in command("report", path).out
    path.write_text(path.read_text().replace('"workers": 4', '"workers": 4, "rate": "50MB/s"'))
    assert "Rate       no more than 50MB/s" in command("report", path).out


def test_the_summary_of_a_run_that_moved_nothing(command: Command, write: Callable[..., Path]) -> None:
    ran = command("report", write(images=(ImageResult("src/a:1", "dst/a:1", Outcome.UNCHANGED),)))
    assert ran.code == 0
    assert "1: 1 unchanged" in ran.out
    assert "none are in this report" in ran.out


def test_the_summary_fits_into_80_columns_whatever_the_names(command: Command, write: Callable[..., Path]) -> None:
    long = "registry.example/" + "very-long-name/" * 20
    records = [
        record(
            number,
            destinations=(long, "b/c"),
            outcomes=("failed", "moved"),
            size_bytes=2**40 * number,
            worker=number * 999,
            source_waited_s=0.1,
        )
        for number in range(40)
    ]
    failed = ImageResult(long, long, Outcome.FAILED, reason=long * 9)
    ran = command("report", write(*records, images=(failed,) * 9, interrupted="SIGTERM", warnings=(long,)))
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 80
    assert len(ran.out.splitlines()) < 80
    assert "… and 8 more workers" in ran.out
    assert "… and 6 more failed" in ran.out


def test_a_terminal_is_not_moved_by_names(command: Command, write: Callable[..., Path]) -> None:
    failed = ImageResult(HOSTILE, HOSTILE, Outcome.FAILED, reason=HOSTILE)
    ran = command("report", write(record(1, destinations=(HOSTILE,)), images=(failed,), warnings=(HOSTILE,)))
    assert ran.code == 0
    assert all(character.isprintable() or character == "\n" for character in ran.out)


def test_a_terminal_without_blocks_gets_other_marks(write: Callable[..., Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "image_syncer_cli", "report", str(write(record(1), record(2)))],
        env={"PYTHONPATH": SOURCE_ROOTS, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    [first, _] = re.findall(r"\|(.*)\|", done.stdout)
    assert set(first) <= set(" .:-=+*#%")
    assert "%" in first


class Page(HTMLParser):
    """What a browser makes of a page: its elements, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
            self._in_script = True

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text += data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def draw(command: Command, report: Path) -> Page:
    target = report.with_name("run.html")
    ran = command("report", report, "--timeline", target)
    assert (ran.code, ran.err) == (0, "")
    return Page(target.read_text(encoding="utf-8"))


def test_the_page_holds_every_transfer(command: Command, write: Callable[..., Path]) -> None:
    records = [
        record(number, outcomes=("mounted", "moved"), destinations=("a.example/x", "b.example/y"))
        for number in range(9)
    ]
    page = draw(command, write(*records, record(10, outcomes=("failed",), source_waited_s=2.0)))
    data = json.loads(page.scripts[0])
    columns = data["columns"]
    assert {len(column) for column in columns.values()} == {10}
    assert sum(sum(worker["counts"]) for worker in data["workers"]) == 10
    assert [worker["id"] for worker in data["workers"]] == [1, 2]
    assert sorted(columns["digest"]) == sorted(each.digest for each in [*records, record(10)])
    place = columns["digest"].index(record(10).digest)
    assert (columns["ended"][place], columns["side"][place], columns["paused"][place]) == (3, 2, 2.0)
    assert data["groups"][columns["group"][place]] == "registry.example"
    other = columns["digest"].index(record(3).digest)
    assert data["groups"][columns["group"][other]] == "a.example + b.example"
    assert [data["names"][number] for number in columns["targets"][other]] == ["a.example/x", "b.example/y"]
    assert columns["outcomes"][other] == [1, 0]
    assert len(page.attributes("canvas")) == 5  # the axis, two curves, two workers
    assert len(page.attributes("tr")) == 11


def test_transfers_of_one_lane_stand_together_and_in_order(command: Command, write: Callable[..., Path]) -> None:
    data = json.loads(draw(command, write(*(record(number) for number in range(30)))).scripts[0])
    place = 0
    for worker in data["workers"]:
        for count in worker["counts"]:
            spans = [(data["columns"]["at"][at], data["columns"]["to"][at]) for at in range(place, place + count)]
            assert all(before[1] <= after[0] for before, after in pairwise(spans))
            place += count
    assert place == 30


def test_names_are_data_and_nothing_else(command: Command, write: Callable[..., Path]) -> None:
    hostile = record(1, digest=HOSTILE, source=HOSTILE, destinations=(HOSTILE,))
    report = write(hostile, interrupted=HOSTILE)
    hostile_name = report.with_name("<img src=x onerror=alert(1)>.json")
    report.rename(hostile_name)
    page, plain = draw(command, hostile_name), draw(command, write(record(1)))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert page.scripts[1:] == plain.scripts[1:]
    assert json.loads(page.scripts[0])["names"] == [HOSTILE]
    assert not re.search(r"[<>&\u2028\u2029]", page.scripts[0])
    assert "<img src=x onerror=alert(1)>.json" in page.text


def test_the_page_loads_nothing_and_lets_no_other_script_run(command: Command, write: Callable[..., Path]) -> None:
    page = draw(command, write(record(1)))
    assert [tag for tag, attributes in page.tags if {"src", "href", "style", "onclick"} & set(attributes)] == []
    policy = next(each["content"] for each in page.attributes("meta") if "http-equiv" in each)
    assert policy is not None
    allowed = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in "".join(page.scripts)


def test_a_lone_surrogate_in_the_name_of_the_file(command: Command, write: Callable[..., Path]) -> None:
    path = write(record(1))
    odd = path.with_name("run-\udcff.json")
    path.rename(odd)
    draw(command, odd)


def test_transfers_that_took_no_time_are_drawn(command: Command, write: Callable[..., Path]) -> None:
    assert json.loads(draw(command, write(record(0, began_s=0.0, ended_s=0.0))).scripts[0])["columns"]["to"] == [0]


@pytest.mark.parametrize(
    "fields",
    [
        {"worker": 2**62},
        {"began_s": 0.0, "ended_s": 1e-300, "bytes_moved": 2**62, "source_waited_s": 1.0},
        {"began_s": 0.0, "ended_s": 5e-324, "bytes_moved": 2**62},
        {"began_s": 0.0, "ended_s": 1e-9, "bytes_moved": 2**62, "size_bytes": 2**62},
        {"began_s": 0.0, "ended_s": 1e17, "size_bytes": 2**62},
    ],
)
def test_numbers_that_no_run_has_are_shown(
    fields: dict[str, Any], command: Command, write: Callable[..., Path]
) -> None:
    path = write(record(1, **fields))
    document = json.loads(path.read_text())
    document["seconds"] = 0 if fields.get("ended_s", 1) < 1 else 1e-300
    path.write_text(json.dumps(document))
    ran = command("report", path)
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    page = draw(command, path)
    assert not re.search(r"\b(inf|nan)\b", ran.out + page.text)
    curve = json.loads(page.scripts[0])["curve"]
    assert max(curve["rate"] + curve["flight"]) <= 2**53


def test_the_plot_is_a_png(command: Command, write: Callable[..., Path]) -> None:
    pytest.importorskip("matplotlib")
    records = [record(number, destinations=(f"r{number % 12}.example/$x_{{1}}$",)) for number in range(60)]
    report = write(*records, record(61, outcomes=("failed",)), record(62, began_s=3.0, ended_s=3.0))
    target = report.with_name("run.PNG")
    ran = command("report", report, "--timeline", target)
    assert (ran.code, ran.out, ran.err) == (0, f"{target}: 62 transfers drawn\n", "")
    assert target.read_bytes().startswith(PNG)
    assert sorted(path.name for path in report.parent.iterdir()) == ["run.PNG", "run.json"]


@pytest.mark.parametrize(
    "records",
    [
        [record(1, destinations=(HOSTILE,))],
        [record(0, began_s=0.0, ended_s=0.0)],
        [record(number, worker=number) for number in range(70)],
    ],
)
def test_the_plot_takes_what_is_odd(
    command: Command, write: Callable[..., Path], records: list[TransferRecord]
) -> None:
    pytest.importorskip("matplotlib")
    report = write(*records)
    assert command("report", report, "--timeline", report.with_name("run.png")).code == 0


def test_without_matplotlib_a_png_says_what_to_install(
    command: Command, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report = write(record(1))
    ran = command("report", report, "--timeline", report.with_name("run.png"))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "Error: a .png needs matplotlib, which is not installed\n"
        "  Install it with pip install 'image-syncer[plots]', or give --timeline a name that ends in .html.\n"
    )
    assert not report.with_name("run.png").exists()
    assert command("report", report, "--timeline", report.with_name("run.html")).code == 0


def test_a_picture_that_is_there_is_replaced_when_the_new_one_is_whole(
    command: Command, write: Callable[..., Path]
) -> None:
    report = write(record(1))
    target = report.with_name("run.html")
    target.write_text("old")
    report.write_text("{")
    assert command("report", report, "--timeline", target).code == 2
    assert target.read_text() == "old"
    draw(command, write(record(1)))
    assert sorted(path.name for path in report.parent.iterdir()) == ["run.html", "run.json"]


def test_a_report_is_not_replaced_by_its_picture(command: Command, write: Callable[..., Path]) -> None:
    report = write(record(1))
    own = report.rename(report.with_name("run.html"))
    before = own.read_text()
    ran = command("report", own, "--timeline", own)
    assert ran.code == 2
    assert ran.err.startswith("Error: --timeline names the report itself")
    assert own.read_text() == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Missing argument 'FILE'"),
        (["gone.json"], "gone.json cannot be read: No such file"),
        (["run.json", "--timeline", "run.svg"], "'run.svg' ends neither in .html nor in .png"),
        (["run.json", "--timeline", "html"], "'html' ends neither in .html nor in .png"),
        (["run.json", "--timeline", "gone/run.html"], "the timeline cannot be written to gone/run.html: No such file"),
        (["run.json", "--timeline", "folder.html"], "the timeline cannot be written to folder.html: it is a folder"),
        (["empty.json", "--timeline", "run.html"], "there is nothing to draw: empty.json has no transfers"),
        (["text.json"], "text.json is not JSON"),
        (["cut.json"], "cut.json ends in the middle"),
        (["list.json"], "list.json is no report of image-syncer: it is no JSON object"),
    ],
)
def test_what_cannot_be_done_is_said(
    command: Command, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    folder = write().rename(write().with_name("empty.json")).parent
    text = write(record(1)).read_text()
    for name, content in (("text.json", "nginx: x\n"), ("cut.json", text[:-400]), ("list.json", "[]")):
        (folder / name).write_text(content)
    (folder / "folder.html").mkdir()
    monkeypatch.chdir(folder)
    ran = command("report", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert len(ran.err.splitlines()) <= 2
    assert not (folder / "run.html").exists()


def test_a_full_disk_is_said(command: Command, write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "full.html").symlink_to("/dev/full")
    ran = command("report", write(record(1)), "--timeline", tmp_path / "full.html")
    assert ran.code == 1
    assert "the timeline cannot be written to" in ran.err
    assert "No space left on device" in ran.err


def test_help_is_cheap() -> None:
    code = "import sys; from image_syncer_cli.main import main; main(['report', '--help']); print(sorted(sys.modules))"
    out = run(code=code).stdout
    assert "--timeline PICTURE" in out
    for module in ("matplotlib", "orjson", "image_syncer.telemetry", "image_syncer_cli.display.timeline_script"):
        assert f"'{module}'" not in out


def test_a_real_run_is_reported_and_drawn(command: Command, bench: Bench, tmp_path: Path) -> None:
    image = ContentBuilder(seed=5).image(3, layer_bytes=200_000)
    push_to(bench.source.storage, "team/app", image, ["1"])
    report = tmp_path / "run.json"
    words = ("copy", f"{bench.source.address}/team/app:1", f"{bench.destination.address}/mirror/app", "--quiet")
    insecure = ("--insecure", bench.source.address, "--insecure", bench.destination.address)
    done = run(*words, *insecure, "--workers", "1", "--report", str(report))
    assert done.returncode == 0, done.stderr
    document = json.loads(report.read_text())
    transfers = document["transfers"]
    assert {each["digest"] for each in transfers} == {str(blob.digest) for blob in image.all_blobs()}
    assert {each["outcomes"][0] for each in transfers} == {"moved"}
    assert sum(each["bytes_moved"] for each in transfers) == document["totals"]["bytes_moved"]
    for each in transfers:
        assert 0 <= each["began_s"] <= each["ended_s"] <= document["seconds"] + 0.01
        assert each["source"] == f"{bench.source.address}/team/app"
        assert each["destinations"] == [f"{bench.destination.address}/mirror/app"]
    assert "4 in " in command("report", report).out
    assert len(json.loads(draw(command, report).scripts[0])["columns"]["digest"]) == 4
