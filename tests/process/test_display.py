"""The live display of a real run in a terminal: what is on its screen, what keys do, and that it leaves no trace."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.processes import children_of, wait_until
from support.sync_process import PROJECT, SOURCE_ROOTS, RunFiles
from support.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from process.conftest import Pair

MIB = 2**20
FULL_BYTES = 4000
"""A pseudo-terminal of Linux holds some 4 KiB for its reader before whoever writes has to wait."""


@pytest.fixture
def start(pair: Pair, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Starts a run over 30 images of which each blob takes a while, or another verb."""
    pair.add_images(30, layers=2, layer_bytes=MIB)
    pair.slow_down(MIB // 2)
    files = RunFiles(tmp_path / "run")
    files.write(pair.source.address, pair.destination.address, pair.images)
    begun: list[Terminal] = []

    def begin(
        *words: str,
        verb: str = "sync",
        columns: int = 80,
        rows: int = 24,
        launcher: tuple[str, ...] = (),
        **environ: str,
    ) -> Terminal:
        given = ["--auth", str(files.auth), "--images", str(files.images), "--report", str(files.report)]
        command = [
            *launcher,
            sys.executable,
            "-m",
            "image_syncer_cli",
            verb,
            *(given if verb == "sync" else ()),
            *words,
        ]
        environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
        environment |= {
            "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS),
            "DOCKER_CONFIG": str(PROJECT / "tests"),
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(tmp_path),
            "TMPDIR": str(tmp_path),  # other runs of this user are nobody's business
            **environ,
        }
        begun.append(Terminal(command, environment=environment, columns=columns, rows=rows))
        return begun[-1]

    yield begin
    for terminal in begun:
        terminal.__exit__()


SLOW = ("--workers", "1", "--streams", "4", "--small-blobs", "0")


@pytest.mark.extended
def test_a_run_shows_itself_and_obeys_its_keys(pair: Pair, start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW)
    terminal.wait_for_text("p pause · d drain · e errors · ? help")
    terminal.wait_for_text(pair.source.address)
    terminal.wait_for_text(" from ")
    for part in ("of 30 images", "registry", "in flight", "1 worker: ", "team/app"):
        terminal.wait_for_text(part)
    assert terminal.hands_out_keys
    terminal.press("?")
    terminal.wait_for_text("d  drain: begin no further image")
    terminal.press("?e")
    terminal.wait_for_text("no errors so far")
    terminal.press("ep")
    terminal.wait_for_text("paused: nothing more begins")
    terminal.wait_for_text("p go on")
    terminal.resize(60, 20)
    terminal.wait_for(lambda: "in flight" not in terminal.text and "paused" in terminal.text, "the narrow form")
    assert terminal.text.count("of 30 images") == 1
    pair.speed_up()
    terminal.press("p")
    assert terminal.wait() == 0
    assert terminal.is_as_before
    assert "30 copied" in terminal.text
    assert "━" not in terminal.text  # nothing of the display stays
    pair.assert_copied()


@pytest.mark.slow
def test_a_drain_is_asked_for_twice(pair: Pair, start: Callable[..., Terminal]) -> None:
    """All 30 images are under way, so that nothing is left: the exit code is that of a whole run."""
    terminal = start(*SLOW)
    terminal.wait_for_text("p pause")
    terminal.press("d")
    terminal.wait_for_text("Press d again")
    terminal.press("x")
    terminal.wait_for(lambda: "Press d again" not in terminal.text, "that another key takes it back")
    terminal.press("d")
    terminal.wait_for_text("Press d again")
    terminal.press("d")
    terminal.wait_for_text("drains: ends when the images under way have ended")
    pair.speed_up()
    assert terminal.wait() == 0
    pair.assert_copied()


@pytest.mark.extended
@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda one: os.kill(one.pid, signal.SIGTERM), 143),
        (lambda one: one.press("\x03"), 130),
    ],
    ids=["SIGTERM", "^C"],
)
def test_the_terminal_is_as_it_was_after_a_signal(start: Callable[..., Terminal], send: Any, code: int) -> None:
    terminal = start(*SLOW)
    terminal.wait_for_text("p pause")
    assert terminal.hands_out_keys
    send(terminal)
    assert terminal.wait() == code
    assert terminal.is_as_before
    assert "p pause" not in terminal.text


@pytest.mark.slow
def test_the_terminal_is_as_it_was_after_two_signals_at_once(start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW)
    terminal.wait_for_text("p pause")
    terminal.press("\x03\x03")
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.wait() in (130, -signal.SIGKILL)
    assert terminal.is_as_before


@pytest.mark.slow
def test_a_run_that_is_stopped_gives_the_terminal_back_meanwhile(pair: Pair, start: Callable[..., Terminal]) -> None:
    shell = ("bash", "-c", 'set -m; "$@"; echo has stopped; read line; fg > /dev/null; echo code $?', "bash")
    terminal = start(*SLOW, launcher=shell)
    terminal.wait_for_text("p pause")
    assert terminal.hands_out_keys
    terminal.press("\x1a")
    terminal.wait_for_text("has stopped")
    assert terminal.is_as_before
    assert "p pause" not in terminal.text
    terminal.press("\n")
    terminal.wait_for_text("p pause")
    assert terminal.hands_out_keys
    pair.speed_up()
    terminal.wait_for_text("code 0")
    assert terminal.is_as_before


@pytest.mark.slow
def test_a_slow_line_gets_few_bytes(pair: Pair, start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW, columns=200, rows=50)
    terminal.wait_for_text("p pause")
    terminal.read(1.0)
    before, began = terminal.written, time.monotonic()
    terminal.read(3.0)
    assert (terminal.written - before) / (time.monotonic() - began) < 5000
    pair.speed_up()
    assert terminal.wait() == 0


@pytest.mark.slow
def test_without_colours_there_are_none_and_dumb_terminals_get_lines(start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW, NO_COLOR="1")
    terminal.wait_for_text("p pause")
    assert {char.fg for row in terminal.screen.buffer.values() for char in row.values()} == {"default"}
    dumb = start(*SLOW, TERM="dumb")
    dumb.wait_for_text("of 30 images")
    assert "p pause" not in dumb.text
    assert not dumb.hands_out_keys


@pytest.mark.slow
def test_top_shows_a_run_of_another_process_and_controls_it(pair: Pair, start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW)
    terminal.wait_for_text("p pause")
    top = start(str(terminal.pid), verb="top", columns=100)
    top.wait_for_text("q leave")
    top.wait_for_text(pair.source.address)
    top.press("p")
    terminal.wait_for_text("paused: nothing more begins")
    top.wait_for_text("p go on")
    top.press("q")
    assert top.wait() == 0
    assert top.is_as_before
    other = start(verb="top")  # the only run there is
    other.wait_for_text("q leave")
    assert other.hands_out_keys
    os.kill(other.pid, signal.SIGTERM)
    assert other.wait() == 143
    assert other.is_as_before
    once = start("--once", verb="top", columns=100)
    assert once.wait() == 0
    assert "paused" in once.text
    again = start(str(terminal.pid), "--resume", "--rate", "50MB/s", "--streams", "2", verb="top")
    assert again.wait() == 0
    assert again.lines == ["rate: 50MB/s", "streams: 2 at most in each worker", "running"]
    pair.speed_up()
    assert terminal.wait() == 0
    gone = start(str(terminal.pid), verb="top")
    assert gone.wait() == 2
    assert "no socket" in gone.text


@pytest.mark.slow
def test_a_terminal_that_nobody_reads_does_not_hold_up_the_run(pair: Pair, start: Callable[..., Terminal]) -> None:
    """As over a line that hangs: the last lines can be written by nobody, but all that was to be done is done."""
    terminal = start(*SLOW, columns=200, rows=60)
    terminal.wait_for_text("p pause")
    pair.slow_down(MIB)
    wait_until(lambda: terminal.unread >= FULL_BYTES, "that the terminal takes nothing more")
    pair.speed_up()
    wait_until(lambda: pair.puts() >= 90, "that all blobs are there")
    assert terminal.wait() == 0
    assert terminal.is_as_before
    pair.assert_copied()


@pytest.mark.slow
def test_a_run_that_was_stopped_unasked_obeys_keys_when_it_goes_on(pair: Pair, start: Callable[..., Terminal]) -> None:
    """SIGSTOP tells nobody: the shell sets the terminal back, and `fg` does not undo that."""
    shell = ("bash", "-c", 'set -m; "$@"; stty icanon echo; echo has stopped; read line; fg > /dev/null', "bash")
    terminal = start(*SLOW, launcher=shell)
    terminal.wait_for_text("p pause")
    run = next(one for one in children_of(terminal.pid) if not one.is_stopped)
    os.kill(run.pid, signal.SIGSTOP)
    terminal.wait_for_text("has stopped")
    terminal.press("\n")
    terminal.wait_for(lambda: terminal.hands_out_keys, "that keys are handed out again")
    terminal.press("p")
    terminal.wait_for_text("paused: nothing more begins")
    assert terminal.text.count("p go on") == 1
    terminal.press("p")
    pair.speed_up()
    assert terminal.wait() == 0
    assert terminal.is_as_before


@pytest.mark.slow
def test_in_the_background_nothing_is_drawn(pair: Pair, start: Callable[..., Terminal]) -> None:
    shell = ("bash", "-c", 'set -m; "$@" & echo begun; read line; echo "you wrote $line"; wait; echo waited', "bash")
    terminal = start(*SLOW, launcher=shell)
    terminal.wait_for_text("begun")
    pair.wait_for_bytes(MIB)
    terminal.press("hello\n")
    terminal.wait_for_text("you wrote hello")
    terminal.read(1.5)
    assert terminal.lines == ["begun", "hello", "you wrote hello"]
    pair.speed_up()
    terminal.wait_for_text("30 copied")
    terminal.wait_for_text("waited")
    assert terminal.is_as_before


@pytest.mark.slow
def test_the_terminal_is_as_it_was_after_a_quit(start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW)
    terminal.wait_for_text("p pause")
    terminal.press("\x1c")
    assert terminal.wait() == -signal.SIGQUIT
    assert terminal.is_as_before
    assert "p pause" not in terminal.text


@pytest.mark.slow
def test_pasted_text_does_not_drain_a_run(pair: Pair, start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW)
    terminal.wait_for_text("p pause")
    terminal.press("git add address paddle\n" * 20)
    terminal.wait_for_text("that was pasted, and is ignored")
    pair.speed_up()
    assert terminal.wait() == 0
    assert "30 copied" in terminal.text


@pytest.mark.slow
def test_where_the_locale_knows_no_utf8_there_is_none(start: Callable[..., Terminal]) -> None:
    terminal = start(*SLOW, LANG="C")
    terminal.wait_for_text("p pause | d drain | e errors | ? help")
    assert terminal.text.isascii()
