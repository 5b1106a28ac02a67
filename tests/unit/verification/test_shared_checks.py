"""What several images share is checked once, whatever comes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import SyncError, UnavailableError
from image_syncer.oci import Repository, digest_of
from image_syncer.telemetry import Difference
from image_syncer.verification import tree_check
from image_syncer.verification.tree_check import CheckResult, SharedChecks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HERE, THERE = Repository("registry.example", "here"), Repository("registry.example", "there")
BLOB, OTHER = digest_of(b"blob"), digest_of(b"other")
RIGHT = CheckResult()
WRONG = CheckResult((Difference("blob", "here", "a", "nothing"),))


class Lab:
    def __init__(self) -> None:
        self.checks = SharedChecks(100)
        self.made = 0

    async def check(
        self, outcome: CheckResult | Exception, repository: Repository = HERE, digest: object = BLOB, turns: int = 0
    ) -> CheckResult:
        async def work() -> CheckResult:
            self.made += 1
            for _ in range(turns):
                await asyncio.sleep(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return await self.checks.once(repository, digest, work)  # type: ignore[arg-type]


def run(scenario: Callable[[Lab], Awaitable[None]]) -> None:
    async def inside() -> None:
        lab = Lab()
        await scenario(lab)
        lab.checks.close()

    asyncio.run(asyncio.wait_for(inside(), 10))


@pytest.mark.parametrize("found", [RIGHT, WRONG], ids=["right", "wrong"])
def test_what_was_found_is_not_looked_for_again(found: CheckResult) -> None:
    async def scenario(lab: Lab) -> None:
        assert [await lab.check(found), await lab.check(SyncError("not asked"))] == [found, found]
        assert lab.made == 1
        await lab.check(RIGHT, THERE)  # what another repository has is another question
        assert lab.made == 2

    run(scenario)


def test_who_comes_meanwhile_waits_for_the_same() -> None:
    async def scenario(lab: Lab) -> None:
        assert await asyncio.gather(*(lab.check(WRONG, turns=3) for _ in range(3))) == [WRONG] * 3
        assert lab.made == 1

    run(scenario)


def test_an_error_is_not_remembered_and_each_has_its_own() -> None:
    async def scenario(lab: Lab) -> None:
        error = UnavailableError("down")
        got = await asyncio.gather(*(lab.check(error, turns=3) for _ in range(2)))
        assert [(one.differences, str(one.error)) for one in got] == [((), "down")] * 2
        assert len({id(one) for one in (got[0].error, got[1].error, error)}) == 3
        assert await lab.check(RIGHT) == RIGHT
        assert lab.made == 2

    run(scenario)


def test_what_was_found_beside_an_error_comes_with_it() -> None:
    async def scenario(lab: Lab) -> None:
        partly = CheckResult(WRONG.differences, UnavailableError("down"))
        assert [await lab.check(partly), await lab.check(RIGHT)] == [partly, RIGHT]

    run(scenario)


def test_no_more_is_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_check, "MOST_WRONG", 1)

    async def scenario(lab: Lab) -> None:
        for _ in range(2):
            await lab.check(WRONG)
            await lab.check(WRONG, digest=OTHER)
        assert lab.made == 3

    run(scenario)


def test_what_is_given_up_is_cancelled() -> None:
    async def scenario(lab: Lab) -> None:
        waiting = asyncio.ensure_future(lab.check(WRONG, turns=1000))
        await asyncio.sleep(0)
        [running] = lab.checks.give_up()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert (running.cancelled(), waiting.cancelled()) == (True, True)
        assert lab.checks.give_up() == []

    run(scenario)
