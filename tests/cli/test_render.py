from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from cli.test_main import SOURCE_ROOTS
from image_syncer.telemetry import Outcome, Snapshot, TransferRow
from image_syncer_cli.display.render import LineDisplay, is_live_terminal, progress_line
from image_syncer_cli.display.screen import transfer_cells

ROWS = tuple(
    TransferRow(f"sha256:{number:064x}", "library/nginx", "mirror/nginx", 2**20, 2**28, 4.0, 30 * 2**20)
    for number in range(9)
)
SNAPSHOT = Snapshot(
    elapsed_s=12.0,
    images_total=150,
    images_done=93,
    outcomes={Outcome.COPIED: 60},
    listing=True,
    blobs_total=812,
    blobs_done=512,
    bytes_total=4 * 2**30,
    bytes_done=2**30,
    bytes_per_s=120 * 2**20,
    eta_s=11.0,
    slowest=ROWS,
    waiting="registry.example asked for a pause of 30 s",
)


def test_a_line_says_what_is_still_being_counted_and_waited_for() -> None:
    assert progress_line(SNAPSHOT) == (
        "12 s · 93 of 150+ images (60 copied) · 512 of 812 blobs · 1.0 GiB of 4.0 GiB · 120 MiB/s · "
        "at least 10 s left · waiting: registry.example asked for a pause of 30 s"
    )
    assert progress_line(Snapshot()) == "0.0 s · 0 of 0 images · 0 of 0 blobs · 0 B of 0 B · 0 B/s"


NAMES = ["team/a-longer-name/app-1", "team/a-longer-name/app-22"]
MOVING = [
    TransferRow("sha256:0123456789abcdef", f"one.example:5000/{name}", f"two.example/{name}", 2**20, -1, 4.0, 2**20)
    for name in NAMES
]
MOVEMENT = ["1.0 MiB of ?", "1.0 MiB/s", "4.0 s"]


@pytest.mark.parametrize(
    ("width", "names", "movement"),
    [
        (140, [f"one.example:5000/{name} → two.example/{name}" for name in NAMES], MOVEMENT),
        (100, [f"one.example:5000/{name}" for name in NAMES], MOVEMENT),
        (80, NAMES, MOVEMENT),
        (70, ["team/a-longer-name/app-1", "…am/a-longer-name/app-22"], MOVEMENT),
        (60, ["…/a-longer-name/app-1", "…a-longer-name/app-22"], MOVEMENT[:2]),
        (40, ["…-name/app-1", "…name/app-22"], MOVEMENT[:1]),
        (20, ["", ""], MOVEMENT[:1]),
    ],
)
def test_where_there_is_little_room_the_end_of_a_name_says_most(
    width: int, names: list[str], movement: list[str]
) -> None:
    rows = transfer_cells(MOVING, width)
    assert rows == [[f"0123456789ab  {name}", *movement] for name in names]


@pytest.mark.parametrize(
    ("environ", "live"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({}, False), ({"TERM": "xterm", "CI": "1"}, False)],
)
def test_what_is_a_live_terminal(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], live: bool) -> None:
    monkeypatch.setattr("sys.stderr", type("Terminal", (io.StringIO,), {"isatty": lambda _: True})())
    assert is_live_terminal(environ) is live
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert is_live_terminal(environ) is False


def test_lines_tell_of_a_watch_that_waits_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay(every_s=1000.0)
    for _ in range(3):
        display.tell(["watch: the next round is due in 10 s", "more"])
    LineDisplay(as_json=True).tell(["watch: waits"])
    assert capsys.readouterr().err.splitlines() == [
        "watch: the next round is due in 10 s",
        '{"event": "watch", "text": "watch: waits"}',
    ]


ON_A_TERMINAL = """
from image_syncer.telemetry import Snapshot, configure_logging, get_logger
from image_syncer_cli.display.output import say
from image_syncer_cli.display.live_display import LiveDisplay
configure_logging()
display = LiveDisplay()
display.update(Snapshot(images_total=7))
get_logger("net").warning("a log line")
say("a result")
display.update(Snapshot(images_total=7, images_done=7))
display.close()
say("the end")
"""


def test_logs_and_results_come_above_the_live_display() -> None:
    """On a real terminal, whose both ends are looked at: standard output is a pipe and stays one."""
    terminal, end = os.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL],
        env={**os.environ, "PYTHONPATH": SOURCE_ROOTS, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=end,
    )
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:
        pass  # the child has closed the terminal
    finally:
        os.close(terminal)
    out, _ = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, b"a result\nthe end\n")
    first, logged, second = (shown.index(part) for part in (b"0 of 7 images", b"a log line", b"7 of 7 images"))
    assert first < logged < second
    # The display is taken away before the line is written, and drawn again below it.
    assert b"\x1b[J" in shown[first:logged]
    # And in the end nothing of it stays.
    assert shown.endswith(b"\r\x1b[1A\x1b[J")
