"""The lines of the live display, from a snapshot and a size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from image_syncer.telemetry import Outcome, RegistryRow, Snapshot, TransferRow, WorkerRow
from image_syncer_cli.display.screen import (
    SPARE_COLUMNS,
    YELLOW,
    Controls,
    View,
    is_utf8,
    screen_lines,
    sentence_lines,
    width_of,
)
from support.display_picture import draw

MIB = 2**20
SNAPSHOT = Snapshot(
    elapsed_s=12.0,
    images_total=150,
    images_done=93,
    outcomes={Outcome.COPIED: 60},
    blobs_total=812,
    blobs_done=512,
    bytes_total=4096 * MIB,
    bytes_done=1024 * MIB,
    bytes_per_s=120 * MIB,
    eta_s=25.6,
    slowest=tuple(
        TransferRow(f"sha256:{n:064x}", "one.example/library/nginx", "two.example/nginx", MIB, 256 * MIB, 4.0, 30 * MIB)
        for n in range(9)
    ),
    registries=(
        RegistryRow("registry-1.docker.io", "source", 120 * MIB, 8, None, 1.5, 0, "paced to 1.5 requests/s"),
        RegistryRow("harbor.example:8443", "destination", 120 * MIB, 8, 16, None, 2),
    ),
    workers=(WorkerRow(1, 60 * MIB, 4, 2), WorkerRow(5, 60 * MIB, 4, 0, restarts=1)),
    streams=4,
    rate_limit=200e6,
)
EIGHTY = """\
━━━━━━─────────────────  25% 1.0 GiB of 4.0 GiB · 120 MiB/s · about 25 s left
93 of 150 images (60 copied) · 512 of 812 blobs
registry                     rate  in flight  errors
…try-1.docker.io  from  120 MiB/s          8       0  paced to 1.5 requests/s
…or.example:8443  to    120 MiB/s    8 of 16       2
2 workers: 4 streams at most in each, held to 191 MiB/s together
1: 60.0 MiB/s, 4 streams + 2 small    5: 60.0 MiB/s, 4 streams (restart 1)
p pause"""


def shown(snapshot: Snapshot = SNAPSHOT, width: int = 80, height: int = 24, **more: object) -> list[str]:
    return [line.text.rstrip() for line in screen_lines(snapshot, width, height, Controls(**more))]  # type: ignore[arg-type]


def test_eighty_columns_have_it_all() -> None:
    lines = shown(replace(SNAPSHOT, slowest=()), keys="p pause")
    assert lines == EIGHTY.splitlines()
    slowest = [line for line in shown() if "library/nginx" in line]
    assert len(slowest) == 5
    assert all("1.0 MiB of 256 MiB" in line for line in slowest)


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40, 20, 5, 1])
@pytest.mark.parametrize("height", [24, 8, 4, 2, 1])
@pytest.mark.parametrize("view", View)
def test_it_is_never_larger_than_the_terminal(width: int, height: int, view: View) -> None:
    snapshot = replace(SNAPSHOT, held="paused", waiting="for something", stuck=("blob x: worker 1 moves it",) * 3)
    lines = shown(snapshot, width, height, view=view, errors=[("2026-01-02T03:04:05+00:00", "no")] * 40, keys="p pause")
    assert 1 <= len(lines) <= max(1, height - 1)
    assert max(map(len, lines)) <= max(1, width - SPARE_COLUMNS)


def test_a_narrow_terminal_keeps_rates_and_errors() -> None:
    text = "\n".join(shown(width=60))
    for part in (" 25%", "1.0 GiB of 4.0 GiB · 120 MiB/s · about 25 s left", "harbor.example:8443", "120 MiB/s"):
        assert part in text
    assert "in flight" not in text


def test_a_wide_one_has_whole_names() -> None:
    assert any("one.example/library/nginx → two.example/nginx" in line for line in shown(width=200))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"held": "paused"}, "paused: nothing more begins"),
        ({"held": "drains"}, "drains: ends when"),
        ({"waiting": "registry.example asked for a pause"}, "waiting: registry.example asked for a pause"),
        ({"stuck": ("blob sha256:1 from a to b: worker 2 moves it",)}, "stuck: blob sha256:1 from a to b: worker 2"),
        ({"listing": True}, "93 of 150+ images"),
    ],
)
def test_what_holds_the_run_back_is_said(change: dict[str, object], words: str) -> None:
    assert any(line.startswith(words) for line in shown(replace(SNAPSHOT, **change)))  # type: ignore[arg-type]


def test_before_the_first_byte_the_bar_counts_images() -> None:
    first = shown(Snapshot(images_total=4, images_done=2))[0]
    assert " 50%" in first
    assert "0 B of 0 B" in first


def test_many_registries_show_those_in_trouble_and_the_busiest() -> None:
    rows = tuple(RegistryRow(f"r{n}.example", "source", float(n * MIB)) for n in range(20))
    rows = (*rows, RegistryRow("down.example", "destination", throttled="down for 40 s"))
    text = "\n".join(shown(replace(SNAPSHOT, registries=rows)))
    assert "r19.example" in text
    assert "down for 40 s" in text
    assert "r1.example" not in text
    assert "and 15 more registries" in text


def test_the_last_errors_are_shown_and_none_is_said() -> None:
    errors = [(f"2026-01-02T03:04:{n:02}+00:00", f"error {n}\x1b[2J") for n in range(30)]
    lines = shown(height=10, view=View.ERRORS, errors=errors)
    assert lines[-1] == "03:04:29 error 29�[2J"
    assert len(lines) == 9
    assert "no errors so far" in shown(view=View.ERRORS)


def test_colours_are_beside_the_text() -> None:
    styled = "".join(line.styled() for line in screen_lines(SNAPSHOT, 80, 24))
    assert "\x1b[3" in styled
    assert "\x1b" not in "".join(shown())


def test_the_picture_in_the_docs_is_what_is_shown() -> None:
    """Made by `PYTHONPATH=tests python tests/support/display_picture.py docs/display.svg`."""
    picture = Path(__file__).parents[2] / "docs" / "display.svg"
    assert picture.read_text(encoding="utf-8") == draw()


def test_many_workers_take_three_lines_at_most() -> None:
    rows = tuple(WorkerRow(number, 60 * MIB, 4, 2) for number in range(1, 65))
    lines = shown(replace(SNAPSHOT, workers=rows), height=50)
    at = lines.index("64 workers: 4 streams at most in each, held to 191 MiB/s together")
    assert lines[at + 1] == "1: 60.0 MiB/s, 4 streams + 2 small   2: 60.0 MiB/s, 4 streams + 2 small"
    assert sum("4 streams + 2 small" in line for line in lines) == 3


def test_what_is_said_of_one_worker() -> None:
    lines = shown(replace(SNAPSHOT, workers=(WorkerRow(1, 0.0, 1, 0),), streams=1, rate_limit=None))
    assert "1 worker: 1 stream at most in each" in lines
    assert "1: 0 B/s, 1 stream" in lines


def test_transfers_have_a_heading_where_there_is_room_and_stay_together_on_a_wide_terminal() -> None:
    lines = shown(width=200)
    at = next(at for at, line in enumerate(lines) if line.startswith("blob          from"))
    assert lines[at].endswith("for")
    assert len(lines[at]) == len(lines[at + 1]) < 110
    assert not any(line.startswith("blob ") for line in shown(height=11))


def test_a_transfer_that_stands_still_is_seen() -> None:
    stands = replace(SNAPSHOT.slowest[0], bytes_per_s=160.0, seconds=40.0)
    lines = screen_lines(replace(SNAPSHOT, slowest=(stands, SNAPSHOT.slowest[1])), 80, 24)
    assert [line.pieces[1][1] for line in lines if "library/nginx" in line.text] == [YELLOW, ""]


WIDE = "unten 日本語のエラーメッセージ e\u0301 " * 20


@pytest.mark.parametrize("width", [200, 80, 40, 11, 4])
def test_characters_of_two_cells_do_not_break_lines(width: int) -> None:
    rows = (RegistryRow(WIDE, "source", 5.0 * MIB, throttled=WIDE),)
    slow = (replace(SNAPSHOT.slowest[0], source=WIDE, destination=WIDE),)
    change = replace(SNAPSHOT, waiting=WIDE, stuck=(WIDE,), registries=rows, slowest=slow)
    for view in View:
        for line in screen_lines(change, width, 40, Controls(view, [("2026-01-02T03:04:05+00:00", WIDE)] * 3)):
            assert width_of(line.text) <= max(1, width - SPARE_COLUMNS)


def test_a_long_error_takes_several_lines() -> None:
    lines = shown(view=View.ERRORS, errors=[("2026-01-02T03:04:05+00:00", "a " * 60 + "end"), ("", "b" * 1000)])
    assert "end" in lines[3]
    assert lines[3].startswith("         a")
    assert [line[9] for line in lines[-4:]] == ["b"] * 4
    words = [line.text for line in sentence_lines(["so many words " * 12], 80, 24)]
    assert len(words) == 3
    assert all(line.split()[-1] in ("so", "many", "words") for line in words)
    assert lines[-1].endswith("…")


def test_digests_leave_room_for_what_is_wrong() -> None:
    text = f"blob sha256:{'0123456789ab' * 5}0123 not moved: nothing came"
    for lines in (shown(view=View.ERRORS, errors=[("", text)]), shown(replace(SNAPSHOT, stuck=(text,)))):
        assert any("blob sha256:0123456789ab… not moved: nothing came" in line for line in lines)


def test_a_terminal_without_utf8_gets_ascii() -> None:
    lines = [
        line.in_ascii().text for line in screen_lines(replace(SNAPSHOT, waiting=WIDE), 80, 24, Controls(keys="p · d"))
    ]
    assert all(map(str.isascii, lines))
    assert lines[0].startswith("======------")
    assert lines[-1].rstrip() == "p | d"


@pytest.mark.parametrize(
    ("environ", "answer"),
    [
        ({"LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "C.utf8"}, True),
        ({"LANG": "C.UTF-8", "LC_CTYPE": "C.UTF-8"}, True),
        ({"LC_CTYPE": "UTF-8"}, True),
        ({}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "C"}, False),
        ({"LANG": "de_DE.ISO-8859-1"}, False),
    ],
)
def test_the_locale_says_what_the_terminal_knows(environ: dict[str, str], answer: bool) -> None:
    """Python sets LC_CTYPE itself where the locale is C (PEP 538)."""
    assert is_utf8(environ) is answer
