"""The lines of the live display, from a snapshot and a size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from image_syncer.telemetry import Outcome, RegistryRow, Snapshot, TransferRow, WorkerRow
from image_syncer_cli.screen import SPARE_COLUMNS, View, screen_lines
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
━━━━━━━──────────────────────  25% 1.0 GiB of 4.0 GiB · 120 MiB/s · 26 s left
93 of 150 images (60 copied) · 512 of 812 blobs
registry                         rate  in flight  errors
registry-1.docker.io  from  120 MiB/s          8       0  paced to 1.5 reque…
harbor.example:8443   to    120 MiB/s    8 of 16       2
workers (4 streams each, held to 191 MiB/s)  1: 60.0 MiB/s, 4+2
  5: 60.0 MiB/s, 4+0 (restart 1)
p pause"""


def shown(snapshot: Snapshot = SNAPSHOT, width: int = 80, height: int = 24, **more: object) -> list[str]:
    return [line.text.rstrip() for line in screen_lines(snapshot, width, height, **more)]  # type: ignore[arg-type]


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
    for part in (" 25%", "1.0 GiB of 4.0 GiB · 120 MiB/s · 26 s left", "harbor.example:8443", "120 MiB/s"):
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
    lines = [line for line in shown(replace(SNAPSHOT, workers=rows), height=50) if ", 4+2" in line]
    assert len(lines) == 3
    assert lines[0].startswith("workers (4 streams each, held to 191 MiB/s)  1: 60.0 MiB/s")
