"""The watch over crashes, on a loop of its own."""

from __future__ import annotations

import asyncio

from image_syncer.dispatch.ending import CrashWatch, crash_words, tell_crash
from image_syncer.errors import UnavailableError


def crash() -> None:
    raise ZeroDivisionError("password=hunter2hunter2\nmore")


def test_what_a_callback_of_the_loop_raises_is_noted_once() -> None:
    async def scenario() -> list[Exception]:
        told: list[Exception] = []
        watch, loop = CrashWatch(told.append), asyncio.get_running_loop()
        with watch.listening(loop):
            loop.call_soon(crash)
            loop.call_soon(crash)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert [watch.error] == told
        assert loop.get_exception_handler() is None
        return told

    [error] = asyncio.run(scenario())
    assert crash_words(error) == "ZeroDivisionError: password=…"


def test_a_task_on_which_nobody_waits_tells_at_once() -> None:
    async def scenario() -> None:
        told: list[Exception] = []
        loop = asyncio.get_running_loop()

        async def work() -> None:
            crash()

        with CrashWatch(told.append).listening(loop):
            task = loop.create_task(work())
            task.add_done_callback(tell_crash)
            await asyncio.wait([task])
            await asyncio.sleep(0)
        assert [type(error) for error in told] == [ZeroDivisionError]

    asyncio.run(scenario())


def test_an_error_of_a_registry_is_no_crash() -> None:
    async def scenario() -> None:
        told: list[Exception] = []
        loop = asyncio.get_running_loop()
        with CrashWatch(told.append).listening(loop):
            loop.call_exception_handler({"message": "never retrieved", "exception": UnavailableError("down")})
            loop.call_exception_handler({"message": "a transport", "exception": OSError(5, "x"), "transport": "one"})
            loop.call_exception_handler({"message": "a task was destroyed"})
        assert told == []

    asyncio.run(scenario())
