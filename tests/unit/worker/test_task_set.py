from __future__ import annotations

import asyncio

from image_syncer.worker.task_set import TaskSet


def test_one_that_has_just_ended_is_not_under_way() -> None:
    async def scenario() -> None:
        tasks, seen = TaskSet(lambda _crash: None), []

        async def first() -> None:
            pass

        async def second() -> None:
            seen.append("first" in tasks)  # in the same turn of the loop in which it has ended

        tasks.spawn("first", first())
        tasks.spawn("second", second())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == [False]

    asyncio.run(scenario())


def test_what_is_not_waited_for_is_broken_off() -> None:
    async def scenario() -> None:
        tasks, done = TaskSet(lambda _crash: None), []

        async def brief() -> None:
            await asyncio.sleep(0.01)
            done.append("brief")

        tasks.spawn("cancel 0", brief())
        tasks.spawn("sink 0", asyncio.sleep(60))
        await tasks.clear(wait_for="cancel")
        assert done == ["brief"]
        assert "sink 0" not in tasks

    asyncio.run(scenario())


def test_a_crash_is_told() -> None:
    async def scenario() -> None:
        told: list[BaseException] = []
        tasks = TaskSet(told.append)

        async def crash() -> None:
            raise ZeroDivisionError

        tasks.spawn("crash", crash())
        await asyncio.sleep(0.01)
        assert [type(error) for error in told] == [ZeroDivisionError]

    asyncio.run(scenario())
