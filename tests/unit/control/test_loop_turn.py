"""What is done in a loop, whichever thread asks."""

from __future__ import annotations

import asyncio
import threading

import pytest

from image_syncer.control import run_control
from image_syncer.control.run_control import in_loop


def fail() -> None:
    raise ValueError("no")


def test_it_is_done_here_where_no_loop_is_under_way() -> None:
    assert in_loop(None, threading.get_ident) == threading.get_ident()
    loop = asyncio.new_event_loop()
    loop.close()
    assert in_loop(loop, threading.get_ident) == threading.get_ident()


def test_it_is_done_in_the_loop_and_its_errors_come_back() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert in_loop(loop, threading.get_ident) == threading.get_ident()
        assert await asyncio.to_thread(in_loop, loop, threading.get_ident) == threading.get_ident()
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(in_loop, loop, fail)

    asyncio.run(main())


def test_a_loop_that_stands_still_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_control, "TURN_S", 0.05)
    loop = asyncio.new_event_loop()  # nobody runs it
    with pytest.raises(TimeoutError, match="no turn"):
        in_loop(loop, fail)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
