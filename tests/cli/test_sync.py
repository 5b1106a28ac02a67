from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import NotFoundError, Origin, TransportError
from image_syncer.oci import PlatformFilter
from image_syncer.telemetry import ImageResult, Outcome, Snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command, FakeEngine, Files

COPIED = ImageResult("nginx:1", "reg/nginx:1", Outcome.COPIED, bytes_moved=2**20, blobs_moved=3)
UNCHANGED = ImageResult("nginx:2", "reg/nginx:2", Outcome.UNCHANGED)


def failed(number: int = 3) -> ImageResult:
    error = NotFoundError(
        "there is no such tag",
        origin=Origin.SOURCE,
        repository="docker.io/library/nginx",
        reference=str(number),
        operation="head manifest",
        hint="Look at the tags of the repository.",
        tries=3,
    )
    return ImageResult(f"nginx:{number}", f"reg/nginx:{number}", Outcome.FAILED, error=error.to_data())


def test_metrics_at_a_port_that_is_taken_end_it_before_it_begins(
    command: Command, engine: FakeEngine, files: Files
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = command(*files.words, "--metrics", str(port))
    assert ran.code == 2
    assert f"cannot listen at 127.0.0.1:{port}" in ran.err
    assert engine.configuration is None
    assert command(*files.words, "--metrics", "no-port").code == 2


@pytest.mark.parametrize("verb", [(), ("sync",)])
def test_the_verb_may_be_left_out(command: Command, engine: FakeEngine, files: Files, verb: tuple[str, ...]) -> None:
    engine.results = [COPIED, UNCHANGED]
    ran = command(*verb, *files.words)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("2 images: 1 copied, 1 unchanged · 1.0 MiB in 2.0 s")
    assert ran.out.count("\n") == 1
    assert engine.configuration is not None
    assert [str(rule.source) for rule in engine.configuration.rules] == ["docker.io/library/nginx"]


def test_the_go_tools_command_line_means_what_it_meant(
    command: Command, engine: FakeEngine, files: Files, tmp_path: Path
) -> None:
    words = (
        *("--proc=6", "-r", "1", "--os", "linux", "--os", "", "--arch", "amd64", "--arch", "arm:v7"),
        *("--log", str(tmp_path / "log"), "--output-success-images", str(tmp_path / "done.json")),
        *("--output-images-format", "json", "--force"),
    )
    engine.results = [COPIED, UNCHANGED, failed()]
    assert command(*files.words, *words).code == 1
    settings = engine.settings
    assert settings is not None
    assert (settings.proc, settings.retries, settings.force) == (6, 1, True)
    assert settings.platform_filter == PlatformFilter(os_names=("linux",), architectures=("amd64", "arm:v7"))
    assert json.loads((tmp_path / "done.json").read_text()) == {
        "nginx:1": ["reg/nginx:1"],
        "nginx:2": ["reg/nginx:2"],
    }
    assert (tmp_path / "log").exists()


def test_defaults_are_left_to_the_engine(command: Command, engine: FakeEngine, files: Files) -> None:
    from image_syncer.config import Settings

    assert command(*files.words).code == 0
    assert engine.settings == Settings()


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["-p=5"], "proc", 5),
        (["-p5"], "proc", 5),
        (["--retries=0"], "retries", 0),
        (["-r=0"], "retries", 0),
        (["--force=true"], "force", True),
        (["--force=false"], "force", False),
        (["--workers", "3"], "workers", 3),
        (["--streams", "4"], "streams", 4),
        (["--window", "512KiB"], "window_bytes", 2**19),
        (["--memory", "16MiB"], "memory_bytes", 2**24),
        (["--deadline", "1h30m"], "deadline_s", 5400.0),
        (["--retry-for", "2h"], "retry_for_s", 7200.0),
        (["--give-up-after", "45s"], "give_up_after_s", 45.0),
        (["--connect-timeout", "500ms"], "connect_timeout_s", 0.5),
        (["--stall-timeout", "2m"], "stall_timeout_s", 120.0),
        (["--answer-timeout", "20m"], "answer_timeout_s", 1200.0),
        (["--dry-run"], "dry_run", True),
        (["--verify"], "verify", True),
        (["--report", "r.json"], "report_path", "r.json"),
        (["--os", "linux,windows"], "platform_filter", PlatformFilter(os_names=("linux", "windows"))),
        (["--arch", "a, b", "--arch", "c"], "platform_filter", PlatformFilter(architectures=("a", "b", "c"))),
    ],
)
def test_options_reach_the_engine(
    command: Command, engine: FakeEngine, files: Files, words: list[str], field: str, value: object
) -> None:
    assert command(*files.words, *words).code == 0
    assert getattr(engine.settings, field) == value


def test_a_failure_is_told_in_three_lines_that_one_can_act_on(
    command: Command, engine: FakeEngine, files: Files
) -> None:
    engine.results = [COPIED, failed()]
    ran = command(*files.words)
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "failed: nginx:3 → reg/nginx:3",
        "  source docker.io/library/nginx:3: there is no such tag (tried 3 times)",
        "  Look at the tags of the repository.",
    ]
    assert "1 copied, 1 failed" in ran.out


def test_only_the_first_failures_are_told(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [failed(number) for number in range(70)]
    ran = command(*files.words, "--quiet")
    assert ran.err.count("failed: ") == 20
    assert "… and 50 more, each with its reason in the file of --report." in ran.err


def test_a_web_page_is_no_reason(command: Command, engine: FakeEngine, files: Files) -> None:
    error = TransportError("x" * 5000, phase="receive")
    engine.results = [ImageResult("a:1", "b/a:1", Outcome.FAILED, error=error.to_data())]
    assert all(len(line) < 450 for line in command(*files.words).err.splitlines())


@pytest.mark.parametrize(("signal", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_an_interrupted_run_says_so(command: Command, engine: FakeEngine, files: Files, signal: str, code: int) -> None:
    engine.results, engine.interrupted = [COPIED, ImageResult("a:1", "b:1", Outcome.NOT_TRIED)], signal
    ran = command(*files.words)
    assert ran.code == code
    assert ran.err == ""
    assert ran.out.startswith(f"interrupted ({signal}) · 2 images: 1 copied, 1 not tried")


def test_a_mistake_of_ours_is_one_sentence_after_what_was_done(
    command: Command, engine: FakeEngine, files: Files
) -> None:
    engine.results = [COPIED, ImageResult("a:1", "b:1", Outcome.NOT_TRIED, reason="…")]
    engine.internal_error, engine.interrupted = "ZeroDivisionError: division by zero", "SIGINT"
    ran = command(*files.words)
    assert ran.code == 70
    assert ran.out.startswith("internal error · 2 images: 1 copied, 1 not tried")
    assert ran.err.splitlines() == [
        "Error: this is an internal error of image-syncer: ZeroDivisionError: division by zero",
        "  Please run it again with --debug, and report what it prints.",
    ]


def test_a_dry_run_names_what_it_would_copy(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [UNCHANGED, ImageResult("nginx:9", "reg/nginx:9", Outcome.PLANNED, bytes_total=2**21)]
    ran = command(*files.words, "--dry-run")
    assert ran.code == 0
    first, last = ran.out.splitlines()
    assert first == "would copy nginx:9 → reg/nginx:9 (2.0 MiB)"
    assert last.startswith("2 images: 1 unchanged, 1 would be copied · 2.0 MiB to copy")
    assert command(*files.words, "--dry-run", "--quiet").out.splitlines() == [last]


SNAPSHOTS = [
    Snapshot(
        elapsed_s=second,
        images_total=150,
        images_done=93,
        outcomes={Outcome.COPIED: 60, Outcome.FAILED: 1},
        blobs_total=812,
        blobs_done=512,
        bytes_total=4 * 2**30,
        bytes_done=2**30,
        bytes_per_s=120 * 2**20,
        eta_s=26.0,
    )
    for second in (0.0, 1.0, 4.9, 5.0, 7.0, 10.1, 11.0)
]
LINE = (
    "5.0 s · 93 of 150 images (60 copied, 1 failed) · 512 of 812 blobs · "
    "1.0 GiB of 4.0 GiB · 120 MiB/s · about 25 s left"
)


def test_a_pipe_gets_a_line_every_few_seconds(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.snapshots = SNAPSHOTS
    lines = command(*files.words).err.splitlines()
    assert (len(lines), lines[0]) == (2, LINE)


@pytest.mark.parametrize("option", ["--quiet", "--no-progress"])
def test_no_progress_where_none_is_wanted(command: Command, engine: FakeEngine, files: Files, option: str) -> None:
    engine.snapshots = SNAPSHOTS
    ran = command(*files.words, option)
    assert ran.err == ""
    assert ran.out.count("\n") == 1


def test_json_makes_json_of_everything_on_standard_error(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.snapshots, engine.results, engine.warnings = SNAPSHOTS, [failed()], ("slow disk",)
    ran = command(*files.words, "--log-format", "json")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert [event["event"] for event in events] == ["progress", "progress", "warning", "failed"]
    assert events[0]["outcomes"] == {"copied": 60, "failed": 1}
    assert events[2]["message"] == "slow disk"
    assert events[3]["error"]["kind"] == "not found"


def test_warnings_are_told_once_even_when_quiet(command: Command, engine: FakeEngine, files: Files) -> None:
    files.images.write_text("nginx:1.27: registry.example/mirror/nginx\n")
    files.auth.write_text("registry.example:\n  usrname: me\n")
    engine.warnings = ("the limit of open files is low",)
    ran = command(*files.words, "--quiet")
    assert ran.code == 0
    [first, second] = ran.err.splitlines()
    assert first.startswith(f"Warning: {files.auth}:2")
    assert second == "Warning: the limit of open files is low"


def test_a_run_that_breaks_leaves_no_half_list(
    command: Command, engine: FakeEngine, files: Files, tmp_path: Path
) -> None:
    engine.error = TransportError("no route to host", phase="connect")
    ran = command(*files.words, "--output-success-images", tmp_path / "done.yaml")
    assert (ran.code, ran.err) == (1, "Error: no route to host\n")
    assert not list(tmp_path.glob("done*"))


def test_nothing_runs_when_the_list_cannot_be_written(
    command: Command, engine: FakeEngine, files: Files, tmp_path: Path
) -> None:
    ran = command(*files.words, "--output-success-images", tmp_path / "gone" / "done.yaml")
    assert ran.code == 2
    assert engine.settings is None
    assert len(ran.err.splitlines()) <= 3


def test_why_images_were_left_out_is_told_of_the_first(command: Command, engine: FakeEngine, files: Files) -> None:
    engine.results = [ImageResult(f"a:{number}", f"b:{number}", Outcome.SKIPPED, reason="why") for number in range(5)]
    ran = command(*files.words)
    assert ran.code == 0
    assert ran.err.splitlines() == [
        *(f"skipped: a:{number} → b:{number}: why" for number in range(3)),
        "… and 2 more skipped, each with its reason in the file of --report.",
    ]
    assert command(*files.words, "--quiet").err == ""
    events = [json.loads(line) for line in command(*files.words, "--log-format", "json").err.splitlines()]
    assert [(event["event"], event["reason"]) for event in events] == [("skipped", "why")] * 3


def test_a_report_that_is_not_there_is_told_after_the_summary(
    command: Command, engine: FakeEngine, files: Files
) -> None:
    engine.results, engine.unwritten = [COPIED], "the report cannot be written: the disk is full"
    ran = command(*files.words)
    assert (ran.code, ran.err) == (1, "Error: the report cannot be written: the disk is full\n")
    assert ran.out.startswith("1 image: 1 copied")
    assert json.loads(command(*files.words, "--log-format", "json").err)["event"] == "error"


def test_an_empty_name_of_a_log_is_none_as_in_the_go_tool(command: Command, engine: FakeEngine, files: Files) -> None:
    assert command(*files.words, "--log", "").code == 0
    assert engine.settings is not None
