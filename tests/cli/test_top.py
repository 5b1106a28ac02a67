"""`image-syncer top` at a socket behind which there is no run, but somebody who notes what is asked."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from cli.test_screen import SNAPSHOT
from image_syncer.control import client
from image_syncer.control.paths import control_sockets, make_private, sweep
from image_syncer.control.run_control import MOST_CLIENTS, ControlSocket, Rounds
from image_syncer.watch.server import State, WatchStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.conftest import Command
    from image_syncer.telemetry import Snapshot


class Noting:
    """A `RunControl` that does nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_paused = self.is_draining = False
        self.rounds: Any = None
        self.now: Snapshot | None = SNAPSHOT

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

    def snapshot(self) -> Snapshot | None:
        return self.now


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
        (["--resume"], ["resume"], "running\n"),
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


def test_a_watch_that_waits_is_shown_with_its_next_round(command: Command, noting: Noting) -> None:
    status = WatchStatus(0.0, State.WAITING, rounds=12, next_at=time.time() + 200)
    status.last = {"cause": "schedule", "ended_at": "2026-01-02T03:04:05+00:00", "seconds": 4.1, "exit_code": 1}
    status.last["outcomes"] = {"copied": 3, "unchanged": 40, "failed": 1}
    noting.now, noting.rounds = None, Rounds(partial(status.as_data, details=True), lambda: None)
    ran = command("top", "--once")
    assert (ran.code, ran.err) == (0, "")
    head, last = ran.out.splitlines()
    assert head.startswith("watch: the next round is due in 3 min ")
    assert last.startswith("12 rounds so far; the last one (schedule) ended at 2026-01-02 ")
    assert last.endswith(" after 4.1 s: 3 copied, 40 unchanged, 1 failed, exit code 1")
    assert command("top", "--pause").out == "paused\n"
    noting.rounds.is_draining = noting.is_draining = True
    status.configuration_error = "images.yaml:3: no"
    lines = command("top", "--once").out.splitlines()
    assert lines[0] == "watch: drains, and ends"
    assert lines[2].startswith("paused: the next round begins, and copies nothing")
    assert lines[3].startswith("the files on disk have errors")
    assert json.loads(command("top", "--json").out)["watch"]["rounds"] == 12


class Stranger:
    """Listens where a run would, and says the same to everybody, again and again or once."""

    def __init__(self, path: Path, said: bytes, *, again: bool) -> None:
        self.path, self._said, self._again = path, said, again
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.sendall(self._said)
                    while connection.recv(1000):
                        for _ in range(2000 if self._again else 1):
                            connection.sendall(self._said)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


STRANGE = {
    "a strange watch": b'{"ok": true, "snapshot": null, "watch": {"state": 7, "next_at": "soon"}}\n',
    "garbage": b"\x00\xff hello\n",
    "deep": b"[" * 200_000 + b"\n",
    "a list": b"[]\n",
    "nothing in it": b'{"ok": true}\n',
    "other types": b'{"ok": true, "paused": 1, "draining": "no", "errors": {}, "snapshot": {"images_total": "many"}}\n',
    "too much": b'{"ok": true, "snapshot": {"bytes_total": 1e400}}\n',
    "no snapshot": b'{"ok": true, "snapshot": [7]}\n',
    "rows of something": b'{"ok": true, "snapshot": {"workers": [{"number": null}]}}\n',
}


@pytest.mark.parametrize("said", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("words", [["--once"], ["--pause"], ["--errors"]], ids=lambda words: words[0])
def test_whatever_a_stranger_says_ends_in_a_sentence(
    command: Command, runtime: Path, said: bytes, words: list[str]
) -> None:
    stranger = Stranger(runtime / "x.sock", said, again=False)
    try:
        ran = command("top", str(stranger.path), *words)
    finally:
        stranger.close()
    if said == STRANGE["nothing in it"] and words == ["--once"]:
        assert (ran.code, ran.out) == (0, "no run is under way there now\n")
    elif b'"snapshot": null' in said and words != ["--once"]:
        assert ran.code == 1
    elif b"snapshot" in said and b"paused" not in said and words != ["--once"]:
        assert ran.code == 1  # the answer to another command
    else:
        assert (ran.code, ran.err.count("\n")) == (1, 1), ran.err
        assert "than a run does" in ran.err or "cannot read" in ran.err


@pytest.mark.parametrize(
    ("said", "again"),
    [(b"", False), (b"x", True), (b'{"event": "snapshot"}\n', True), (b"x" * 2**16, True)],
    ids=["never", "half a line", "other things", "an endless line"],
)
def test_whoever_does_not_answer_is_not_waited_for(
    command: Command, runtime: Path, monkeypatch: pytest.MonkeyPatch, said: bytes, again: bool
) -> None:
    monkeypatch.setattr(client, "ANSWER_S", 0.3)
    stranger = Stranger(runtime / "x.sock", said, again=again)
    try:
        ran = command("top", str(stranger.path), "--once")
    finally:
        stranger.close()
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "does not answer" in ran.err or "than a run does" in ran.err


def test_a_process_of_another_user_is_not_talked_to(
    command: Command, noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    monkeypatch.setattr(client, "peer_user", lambda _connection: 815)
    ran = command("top", str(next((Path(os.environ["XDG_RUNTIME_DIR"]) / "image-syncer").iterdir())), "--pause")
    assert ran.code == 1
    assert "another user (uid 815)" in ran.err
    assert noting.asked == []


def test_sockets_of_killed_runs_are_swept_and_directories_of_others_are_not_looked_into(runtime: Path) -> None:
    place = runtime / "image-syncer"
    make_private(place)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(place / "1.sock"))
    stale.close()
    (place / "2.sock").write_text("no socket")
    alive = Stranger(place / "3.sock", b"", again=False)
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    try:
        assert control_sockets(environ) == [str(place / "3.sock")]
        sweep(place)
        assert {one.name for one in place.iterdir()} == {"2.sock", "3.sock"}
        place.chmod(0o777)
        assert control_sockets(environ) == []
    finally:
        alive.close()


def test_more_than_there_may_be_are_told_so(command: Command, noting: Noting, runtime: Path) -> None:
    path = str(runtime / "image-syncer" / "4711.sock")
    with contextlib.ExitStack() as others:
        for _ in range(MOST_CLIENTS):
            others.enter_context(contextlib.closing(client.ControlClient(path))).ask("status")
        ran = command("top", "--pause")
    assert ran.code == 1
    assert "others look on already" in ran.err
    assert noting.asked == []
