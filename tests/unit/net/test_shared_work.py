"""Work that is done once for all who ask for it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from image_syncer.errors import SyncError
from image_syncer.net import share, shared_result


async def ends_with(error: Exception, go: asyncio.Event) -> None:
    await go.wait()
    raise error


def outcome_without_waiters(error: Exception) -> list[dict[str, Any]]:
    """What the loop is told of shared work that ends with `error` when all who waited for it were cancelled."""
    told: list[dict[str, Any]] = []

    async def abandon() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        go = asyncio.Event()
        work = share(ends_with(error, go))
        waiter = asyncio.ensure_future(shared_result(work))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        go.set()
        await asyncio.wait({work})
        await asyncio.sleep(0)
        del work
        gc.collect()

    asyncio.run(abandon())
    return told


def test_a_failure_that_nobody_waits_for_any_more_is_no_mistake() -> None:
    assert outcome_without_waiters(SyncError("it does not answer")) == []


def test_a_mistake_of_ours_is_told_also_when_nobody_waits() -> None:
    mistake = RuntimeError("a mistake")
    assert [context["exception"] for context in outcome_without_waiters(mistake)] == [mistake]


def test_each_who_waits_gets_an_error_of_its_own() -> None:
    error = SyncError("it does not answer")

    async def wait_twice() -> list[Any]:
        go = asyncio.Event()
        go.set()
        work = share(ends_with(error, go))
        return await asyncio.gather(shared_result(work), shared_result(work), return_exceptions=True)

    first, second = asyncio.run(wait_twice())
    assert first is not second
    assert error not in (first, second)
    assert first.message == second.message == error.message


def test_the_work_goes_on_when_one_who_waits_is_cancelled() -> None:
    async def run() -> int:
        go = asyncio.Event()

        async def work_on() -> int:
            await go.wait()
            return 7

        work = share(work_on())
        impatient, patient = (asyncio.ensure_future(shared_result(work)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        go.set()
        return await patient

    assert asyncio.run(run()) == 7
