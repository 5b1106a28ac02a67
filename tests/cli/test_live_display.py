"""What the live display writes to the terminal, and what keys do."""

from __future__ import annotations

import io
import os
import pty
import select
import time
import tty
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pyte
import pytest

from cli.test_screen import SNAPSHOT
from image_syncer_cli.display.key_commands import ASKED_S, KeyCommands
from image_syncer_cli.display.live_display import BURST_BYTES, BYTES_PER_S, Region
from image_syncer_cli.display.screen import Line, View, screen_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Screen:
    """A region on a terminal, and what is seen there."""

    def __init__(self, columns: int = 40, rows: int = 8) -> None:
        self.stream, self.size = io.StringIO(), (columns, rows)
        self.region = Region(self.stream, lambda: self.size, colors=True)
        self._screen = pyte.Screen(columns, rows)
        self._feed = pyte.Stream(self._screen).feed

    @property
    def lines(self) -> list[str]:
        self._feed(self.stream.getvalue())
        self.stream.seek(0)
        self.stream.truncate()
        return [line.rstrip() for line in self._screen.display if line.strip()]


def lines(*texts: str) -> list[Line]:
    return [Line(((text, "32"),)) for text in texts]


SERIES = [
    ("a", "b", "c"),
    ("a", "B", "c"),
    ("x",),
    ("x", "y", "z", "w"),
    ("", "y"),
    ("p", "y", "", "q"),
    ("p",),
    ("1", "2", "3", "4", "5", "6", "7"),
]


@pytest.mark.parametrize("before", ["", "$ image-syncer\r\n", "\r\n" * 7])
def test_after_any_change_the_lines_are_there_and_nothing_else(before: str) -> None:
    screen = Screen()
    screen.stream.write(before)
    kept = ["$ image-syncer"] if "$" in before else []
    for at, texts in enumerate(SERIES):
        assert screen.region.draw(lines(*texts), float(at))
        assert screen.lines == [*kept, *(text for text in texts if text)]
    screen.region.erase()
    assert screen.lines == kept


def test_what_is_printed_meanwhile_stays_above() -> None:
    screen = Screen()
    screen.region.draw(lines("bar", "rows"), 0.0)
    screen.region.above("a log line\r\n")
    assert screen.lines == ["a log line", "bar", "rows"]
    screen.region.draw(lines("bar", "more"), 1.0)
    assert screen.lines == ["a log line", "bar", "more"]


def test_only_what_has_changed_is_written() -> None:
    screen = Screen(120, 30)
    screen.region.draw(screen_lines(SNAPSHOT, 120, 30), 0.0)
    first = screen.region.written
    screen.region.draw(screen_lines(SNAPSHOT, 120, 30), 1.0)
    assert screen.region.written == first
    screen.region.draw(screen_lines(replace(SNAPSHOT, blobs_done=513), 120, 30), 2.0)
    assert 0 < screen.region.written - first < 150


def test_a_display_that_changes_wholly_is_bounded() -> None:
    """Every line is another each time, four times a second for a minute: frames are left out, and the last is shown."""
    screen = Screen(200, 50)
    drawn = 0
    for frame in range(240):
        drawn += screen.region.draw(lines(*(f"{frame} " + "x" * 180 for _ in range(20))), frame / 4)
    assert screen.region.written < BURST_BYTES + 60 * BYTES_PER_S * 1.1
    assert 20 < drawn < 240
    assert screen.region.draw(lines("the end"), 100.0)
    assert screen.lines == ["the end"]


def test_a_picture_larger_than_a_burst_is_drawn_all_the_same() -> None:
    """Fifty long errors on a large terminal: it came never, as there was never so much to spare."""
    screen = Screen(250, 60)
    whole = lines(*("x" * 240 for _ in range(58)))
    assert screen.region.draw(whole, 0.0)
    assert len(screen.lines) == 58
    assert not screen.region.draw(lines(*("y" * 240 for _ in range(58))), 1.0)
    assert screen.region.draw(lines("y"), 10.0)
    assert screen.region.written < 58 * 280


def test_a_narrower_terminal_that_has_broken_the_lines_is_cleaned() -> None:
    screen = Screen(40, 8)
    screen.region.draw(lines("x" * 30, "y" * 30), 0.0)
    screen.size = (20, 8)
    screen.region.draw(lines("x" * 10), 1.0)
    assert "\x1b[3A\x1b[J" in screen.stream.getvalue()  # two lines that have become four


class Pty:
    """A pseudo-terminal that is read when the test likes."""

    def __init__(self) -> None:
        self.reader, writer = pty.openpty()
        tty.setraw(writer)
        self.stream = os.fdopen(writer, "w", encoding="utf-8")

    def read(self) -> bytes:
        data = b""
        while select.select([self.reader], [], [], 0)[0]:
            data += os.read(self.reader, 65536)
        return data

    def close(self) -> None:
        self.stream.close()
        os.close(self.reader)


@pytest.fixture
def unread() -> Iterator[Pty]:
    one = Pty()
    yield one
    one.close()


def test_a_terminal_that_is_not_read_is_not_waited_for(unread: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_syncer_cli.display.live_display.END_S", 0.1)
    region = Region(unread.stream, lambda: (200, 60), colors=False)
    drawn = [region.draw(lines(*([f"{frame} {'x' * 190}"] * 50)), frame * 10.0) for frame in range(20)]
    assert drawn[0]
    assert not any(drawn[2:])  # one more than it holds, at most
    for _ in range(5000):
        region.above("a warning that is logged again and again, and again, and again\r\n")
    region.close()
    assert b"\x1b" in unread.read()
    assert unread.read() == b""


def _stays(condition: Callable[[], bool], for_s: float) -> bool:
    """Whether `condition` holds all the time for `for_s` seconds."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        if not condition():
            return False
        time.sleep(0.01)
    return True


def test_a_terminal_of_another_user_gets_no_pictures_while_it_is_full(
    unread: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `su` it cannot be opened once more: that it is full is all that can be known."""
    monkeypatch.setattr("image_syncer_cli.display.live_display._opened_again", lambda _stream: None)
    region = Region(unread.stream, lambda: (80, 24), colors=False)
    frames = count()

    def draw() -> bool:
        frame = next(frames)
        return region.draw(lines(*([f"{frame} {'x' * 70}"] * 10)), frame * 10.0)

    assert draw()
    # The kernel moves what was written to the reader's side at a time of its own, and has room again until that is
    # full too.
    until = time.monotonic() + 10
    while draw() or not _stays(lambda: not draw(), 0.2):
        assert time.monotonic() < until
    assert not any(draw() for _ in range(20))
    unread.read()
    assert region.draw(lines("again"), next(frames) * 10.0)
    region.close()


def test_what_a_terminal_did_not_take_comes_when_it_is_read(unread: Pty) -> None:
    region = Region(unread.stream, lambda: (80, 24), colors=False)
    region.draw(lines("bar", "rows"), 0.0)
    for number in range(200):
        region.above(f"line {number} {'x' * 60}\r\n")
    shown, screen = b"", pyte.HistoryScreen(80, 24, history=1000)
    for second in range(20):
        shown += unread.read()
        region.draw(lines("bar", f"rows {second}"), float(second))
    shown += unread.read()
    pyte.ByteStream(screen).feed(shown)
    assert [shown.count(f"line {number} ".encode()) for number in range(200)] == [1] * 200
    assert [line.strip() for line in screen.display if line.strip()][-2:] == ["bar", "rows 19"]
    region.close()


def test_in_the_background_it_draws_nothing_but_says_what_is_printed(
    unread: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = Region(unread.stream, lambda: (80, 24), colors=False)
    region.draw(lines("bar", "rows"), 0.0)
    unread.read()
    monkeypatch.setattr("os.tcgetpgrp", lambda _fd: os.getpgrp() + 1)
    assert not region.draw(lines("bar", "more"), 1.0)
    region.above("a warning\r\n")
    assert unread.read() == b"a warning\r\n"
    monkeypatch.undo()
    assert region.draw(lines("bar", "more"), 2.0)
    assert unread.read() == b"\rbar\x1b[K\r\n\rmore\x1b[K\r\x1b[4C"
    region.close()


class Run:
    def __init__(self) -> None:
        self.is_paused = False
        self.drains = 0

    @property
    def is_draining(self) -> bool:
        return self.drains > 0

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def drain(self) -> None:
        self.drains += 1

    def errors(self) -> list[tuple[str, str]]:
        return [("2026-01-02T03:04:05+00:00", "no")]


def pressed(keys: str, **more: Any) -> tuple[Run, KeyCommands]:
    run = Run()
    commands = KeyCommands(run, **more)
    for at, key in enumerate(keys):
        commands.press(key, float(at))
    return run, commands


@pytest.mark.parametrize(("keys", "drains"), [("d", 0), ("dd", 1), ("dxd", 0), ("dpd", 0), ("ddd", 1), ("dddd", 1)])
def test_a_drain_is_asked_for_twice_in_a_row(keys: str, drains: int) -> None:
    assert pressed(keys)[0].drains == drains


def typed(*bursts: str) -> tuple[Run, KeyCommands]:
    """What comes between two looks, one second apart."""
    run = Run()
    commands = KeyCommands(run)
    for at, keys in enumerate(bursts):
        commands.type(keys, float(at))
    return run, commands


@pytest.mark.parametrize(
    "pasted", ["git add address", "d" * 100, "\x1b[200~ddpp", "\x1bd", "\x1bp", "\x1bOP", "dd", "add", "x\nd\nd\n"]
)
def test_what_was_pasted_neither_drains_nor_pauses(pasted: str) -> None:
    run, _ = typed(pasted)
    assert (run.drains, run.is_paused) == (0, False)


def test_keys_pressed_one_by_one_count_and_a_question_is_answered_when_it_was_seen() -> None:
    assert typed("d", "d")[0].drains == 1
    assert typed("dd", "d")[0].drains == 1
    assert typed("d", "git add address", "d")[0].drains == 0
    assert typed("ep")[0].is_paused
    assert "pasted" in typed("git add address")[1].shown(1.0).notice


def test_a_question_does_not_wait_for_ever() -> None:
    run, commands = pressed("d")
    assert "again" in commands.shown(1.0).notice
    assert commands.shown(ASKED_S + 1).notice == ""
    commands.press("d", ASKED_S + 2)
    assert run.drains == 0


def test_views_come_and_go_and_q_leaves_only_where_it_may() -> None:
    for keys, view in (("e", View.ERRORS), ("ee", View.RUN), ("?", View.HELP), ("e?", View.HELP), ("q", View.HELP)):
        assert pressed(keys)[1].shown(9.0).view is view
    assert pressed("q", may_leave=True)[1].left
    assert pressed("e")[1].shown(9.0).errors == Run().errors()
    assert pressed("\x1b[A")[1].shown(9.0).view is View.RUN


def test_the_line_of_keys_says_what_p_does() -> None:
    assert "p pause" in pressed("")[1].shown(9.0).keys
    assert "p go on" in pressed("p")[1].shown(9.0).keys
    assert "p pause" in pressed("pp")[1].shown(9.0).keys
    assert pressed("dd")[1].shown(9.0).keys == "e errors · ? help"  # there is nothing left to be said
