"""Runs that are held back: paused, drained, and who may say so."""

from __future__ import annotations

import asyncio
import os
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from image_syncer.control import run_control
from image_syncer.control.paths import control_directory, default_control_socket, make_private
from image_syncer.control.run_control import Pause
from image_syncer.dispatch.watchdog import Watchdog


def test_what_begins_waits_for_the_end_of_a_pause() -> None:
    async def scenario() -> None:
        pause = Pause()
        assert await pause.may_begin()
        pause.pause()
        asked = asyncio.ensure_future(pause.may_begin())
        await asyncio.sleep(0)
        assert not asked.done()
        assert str(pause) == "paused"
        pause.resume()
        assert await asked
        assert str(pause) == ""

    asyncio.run(scenario())


def test_a_drain_ends_a_pause_and_turns_away() -> None:
    async def scenario() -> None:
        pause = Pause()
        pause.pause()
        asked = asyncio.ensure_future(pause.may_begin())
        await asyncio.sleep(0)
        pause.drain()
        assert not await asked
        assert pause.turned_away
        pause.pause()
        assert (str(pause), pause.is_paused) == ("drains", False)

    asyncio.run(scenario())


def test_what_waits_is_let_go_by_a_drain_and_its_mistakes_are_seen() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        pause = Pause()
        with pytest.raises(ZeroDivisionError):
            await pause.unless_drained(fails())
        waits = asyncio.ensure_future(pause.unless_drained(asyncio.sleep(3600)))
        await asyncio.sleep(0)
        pause.drain()
        await asyncio.wait_for(waits, 30)

    asyncio.run(scenario())


def test_the_time_of_a_pause_is_nobodys() -> None:
    told: list[Any] = []
    watchdog = Watchdog(10.0, on_hopeless=lambda _stuck: True)
    watchdog.watch("blob", "moves", lambda _stuck: True)
    watchdog.paused = True
    for second in range(100):
        told += watchdog.look(float(second))
    assert told == []
    watchdog.paused = False
    for second in range(100, 112):
        told += watchdog.look(float(second))
    assert [stuck.watched.what for stuck in told] == ["blob"]
    assert watchdog.stuck() == ["blob: moves"]


def test_sockets_lie_in_the_runtime_directory_or_in_one_of_the_users_own(tmp_path: Path) -> None:
    assert default_control_socket({"XDG_RUNTIME_DIR": str(tmp_path)}, 7) == f"{tmp_path}/image-syncer/7.sock"
    for value in ("", "relative", str(tmp_path / "gone")):
        assert control_directory({"XDG_RUNTIME_DIR": value}).name == f"image-syncer-{os.geteuid()}"


def test_a_directory_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    make_private(tmp_path / "own")
    make_private(tmp_path / "own")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    for name in ("link", "file", "open"):
        with pytest.raises(PermissionError):
            make_private(tmp_path / name)


@pytest.mark.parametrize(("user", "allowed"), [(os.geteuid(), True), (0, True), (os.geteuid() + 12345, False)])
def test_only_the_same_user_and_root_are_answered(user: int, allowed: bool) -> None:
    peer = SimpleNamespace(getsockopt=lambda *_: struct.pack("3i", 1, user, user))
    writer: Any = SimpleNamespace(get_extra_info=lambda _name: peer)
    assert run_control._is_allowed(writer) is allowed
