from __future__ import annotations

import asyncio

from image_syncer.worker.chores import Chores


def test_one_that_has_just_ended_is_not_under_way() -> None:
    async def scenario() -> None:
        chores, seen = Chores(lambda _crash: None), []

        async def first() -> None:
            pass

        async def second() -> None:
            seen.append("first" in chores)  # in the same turn of the loop in which it has ended

        chores.spawn("first", first())
        chores.spawn("second", second())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == [False]

    asyncio.run(scenario())


def test_what_is_not_waited_for_is_broken_off() -> None:
    async def scenario() -> None:
        chores, done = Chores(lambda _crash: None), []

        async def brief() -> None:
            await asyncio.sleep(0.01)
            done.append("brief")

        chores.spawn("cancel 0", brief())
        chores.spawn("sink 0", asyncio.sleep(60))
        await chores.clear(wait_for="cancel")
        assert done == ["brief"]
        assert "sink 0" not in chores

    asyncio.run(scenario())


def test_a_crash_is_told() -> None:
    async def scenario() -> None:
        told: list[BaseException] = []
        chores = Chores(told.append)

        async def crash() -> None:
            raise ZeroDivisionError

        chores.spawn("crash", crash())
        await asyncio.sleep(0.01)
        assert [type(error) for error in told] == [ZeroDivisionError]

    asyncio.run(scenario())
