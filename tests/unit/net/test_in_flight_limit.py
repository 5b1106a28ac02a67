from __future__ import annotations

import asyncio

from image_syncer.net.transport import InFlightLimit


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_comes_later_waits_and_is_let_in_in_order() -> None:
    async def scenario() -> None:
        limit = InFlightLimit(2)
        assert limit.try_enter()
        await limit.enter()
        assert not limit.try_enter()
        let_in: list[int] = []

        async def come(number: int) -> None:
            await limit.enter()
            let_in.append(number)

        tasks = [asyncio.ensure_future(come(number)) for number in range(3)]
        await turns()
        assert let_in == []
        for expected in ([0], [0, 1], [0, 1, 2]):
            limit.leave()
            assert not limit.try_enter()  # the place is handed over, nobody slips in before those who wait
            await turns()
            assert let_in == expected
        await asyncio.gather(*tasks)
        limit.leave()
        limit.leave()
        assert [limit.try_enter() for _ in range(3)] == [True, True, False]

    asyncio.run(scenario())


def test_who_gives_up_loses_no_place() -> None:
    async def scenario() -> None:
        limit = InFlightLimit(1)
        assert limit.try_enter()
        waiting = [asyncio.ensure_future(limit.enter()) for _ in range(3)]
        await turns()
        waiting[0].cancel()  # before it has a place
        await turns()
        limit.leave()  # to the second
        waiting[1].cancel()  # which has it, and does not know yet
        await turns()
        assert [task.cancelled() for task in waiting[:2]] == [True, True]
        assert waiting[2].done()
        assert not limit.try_enter()
        limit.leave()
        assert limit.try_enter()

    asyncio.run(scenario())
