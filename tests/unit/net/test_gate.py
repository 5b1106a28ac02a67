from __future__ import annotations

import asyncio

from image_syncer.net.gate import Gate


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_comes_later_waits_and_is_let_in_in_order() -> None:
    async def scenario() -> None:
        gate = Gate(2)
        assert gate.try_enter()
        await gate.enter()
        assert not gate.try_enter()
        let_in: list[int] = []

        async def come(number: int) -> None:
            await gate.enter()
            let_in.append(number)

        tasks = [asyncio.ensure_future(come(number)) for number in range(3)]
        await turns()
        assert let_in == []
        for expected in ([0], [0, 1], [0, 1, 2]):
            gate.leave()
            assert not gate.try_enter()  # the place is handed over, nobody slips in before those who wait
            await turns()
            assert let_in == expected
        await asyncio.gather(*tasks)
        gate.leave()
        gate.leave()
        assert [gate.try_enter() for _ in range(3)] == [True, True, False]

    asyncio.run(scenario())


def test_who_gives_up_loses_no_place() -> None:
    async def scenario() -> None:
        gate = Gate(1)
        assert gate.try_enter()
        waiting = [asyncio.ensure_future(gate.enter()) for _ in range(3)]
        await turns()
        waiting[0].cancel()  # before it has a place
        await turns()
        gate.leave()  # to the second
        waiting[1].cancel()  # which has it, and does not know yet
        await turns()
        assert [task.cancelled() for task in waiting[:2]] == [True, True]
        assert waiting[2].done()
        assert not gate.try_enter()
        gate.leave()
        assert gate.try_enter()

    asyncio.run(scenario())
