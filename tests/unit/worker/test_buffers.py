"""Windows on a machine that has less memory than was planned with."""

from __future__ import annotations

import asyncio
import mmap

import pytest

from image_syncer.errors import SyncError
from image_syncer.worker.context import Windows

WINDOW_BYTES = 4096


class Machine:
    """Has memory for so many windows."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        before = mmap.mmap

        def make(number: int, size: int) -> mmap.mmap:
            if not self.room:
                raise OSError(12, "Cannot allocate memory")
            self.room -= 1
            return before(number, size)

        monkeypatch.setattr("image_syncer.worker.context.mmap.mmap", make)


def test_where_there_is_no_memory_for_one_more_the_others_are_used_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        Machine(monkeypatch, room=2)
        windows, at_once, most = Windows(WINDOW_BYTES, 8), 0, 0

        async def use() -> None:
            nonlocal at_once, most
            window = await windows.lend()
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            windows.give_back(window)

        await asyncio.wait_for(asyncio.gather(*(use() for _ in range(50))), 10)
        assert most == 2

    asyncio.run(scenario())


def test_where_there_is_no_memory_for_any_it_is_said_and_may_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        machine = Machine(monkeypatch, room=0)
        windows = Windows(WINDOW_BYTES, 1)
        for _ in range(3):
            with pytest.raises(SyncError, match=r"for a window of 4.0 KiB: .*Cannot allocate") as found:
                await windows.lend()
            assert found.value.retryable
        machine.room = 1
        assert len(await windows.lend()) == WINDOW_BYTES

    asyncio.run(scenario())
