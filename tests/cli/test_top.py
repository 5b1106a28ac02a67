"""`image-syncer top` at a socket behind which there is no run, but somebody who notes what is asked."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from cli.test_screen import SNAPSHOT
from image_syncer.coordinator.control_paths import make_private
from image_syncer.coordinator.control_socket import ControlSocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cli.conftest import Command
    from image_syncer.telemetry import Snapshot


class Noting:
    """A `RunControl` that does nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_paused = self.is_draining = False

    def pause(self) -> None:
        self.asked.append("pause")
        self.is_paused = True

    def resume(self) -> None:
        self.asked.append("resume")
        self.is_paused = False

    def drain(self) -> None:
        self.asked.append("drain")
        self.is_draining = True

    def change_rate(self, rate: object) -> None:
        self.asked.append(f"rate {rate}")

    def change_streams(self, most: int) -> int:
        self.asked.append(f"streams {most}")
        return min(most, 16)

    def errors(self) -> list[tuple[str, str]]:
        return [("2026-01-02T03:04:05+00:00", "blob sha256:1 not moved: no")]

    def snapshot(self) -> Snapshot:
        return SNAPSHOT


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sockets lie, and no others than those of the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def noting(runtime: Path) -> Iterator[Noting]:
    control: Any = Noting()
    loop = uvloop.new_event_loop()
    socket = loop.run_until_complete(ControlSocket(control, str(runtime / "image-syncer" / "4711.sock")).open())
    assert socket is not None
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield control
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(socket.close())
    loop.close()
    assert not list((runtime / "image-syncer").iterdir())


@pytest.mark.parametrize(
    ("words", "asked", "out"),
    [
        (["--pause"], ["pause"], "paused\n"),
        (["--resume"], ["resume"], "goes on\n"),
        (["--drain"], ["drain"], "drains: begins nothing more, and ends when what is under way has ended\n"),
        (["--rate", "200MB/s"], ["rate 200MB/s"], "rate: 200MB/s\n"),
        (["--rate", "none"], ["rate None"], "rate: no limit\n"),
        (["--streams", "64"], ["streams 64"], "streams: 16 at most in each worker\n"),
        (["--errors"], [], "2026-01-02T03:04:05+00:00 blob sha256:1 not moved: no\n"),
    ],
)
def test_one_thing_is_done_and_said(
    command: Command, noting: Noting, words: list[str], asked: list[str], out: str
) -> None:
    for run in (["4711"], []):  # by its number, or as the only one
        ran = command("top", *run, *words)
        assert (ran.code, ran.out, ran.err) == (0, out, "")
        assert noting.asked == asked
        noting.asked.clear()


def test_how_it_goes_is_shown_once_or_told_to_programs(command: Command, noting: Noting) -> None:
    ran = command("top", "--once")
    assert "93 of 150 images (60 copied)" in ran.out
    assert "harbor.example:8443" in ran.out
    told = json.loads(command("top", "--json").out)
    assert told["snapshot"]["images_done"] == 93
    assert told["snapshot"]["registries"][0]["throttled"] == "paced to 1.5 requests/s"
    assert noting.asked == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pause", "--drain"], "do not go together"),
        (["--streams", "0"], "--streams"),
        (["--rate", "fast"], "fast"),
        (["1"], "process 1 has no socket"),
    ],
)
def test_what_cannot_be_meant_is_said(command: Command, noting: Noting, words: list[str], said: str) -> None:
    ran = command("top", *words)
    assert ran.code == 2
    assert said in ran.err
    assert noting.asked == []


def test_without_a_run_there_is_nothing_to_look_at(command: Command, runtime: Path) -> None:
    make_private(runtime / "image-syncer")
    (runtime / "image-syncer" / "12.sock").touch()  # what a run that was killed has left
    ran = command("top", str(runtime / "no.sock"))
    assert (ran.code, "no run answers at" in ran.err) == (1, True)
