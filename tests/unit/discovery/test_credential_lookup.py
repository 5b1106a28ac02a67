"""Credentials that end, are refused, or cannot be had for a while, by a clock that is made up."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import RegistryBook
from image_syncer.credentials import NEVER, CredentialError, Found
from image_syncer.discovery.credential_lookup import ASK_AGAIN_AFTER_S, CredentialLookup
from image_syncer.oci import Repository
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Coroutine

ONE, TWO = Repository("registry.example", "team/one"), Repository("registry.example", "team/two")


class Bench:
    """A source that hands out a new password each time it is really asked, and a clock."""

    def __init__(self, good_for_s: float | None = None, *, changes: bool = True) -> None:
        self.now = 1000.0
        self.good_for_s = good_for_s
        self.changes = changes
        self.delay_s = 0.0
        self.logged_out = False
        self.asked_at: list[float] = []
        self.error: CredentialError | None = None
        self.lookup = CredentialLookup(self, RegistryBook(), clock=lambda: self.now)  # type: ignore[arg-type]

    def find_credential(self, _repository: Repository, _book: RegistryBook, *, after: float = NEVER) -> Found:
        if not self.asked_at or self.asked_at[-1] <= after:
            self.now += self.delay_s
            self.asked_at.append(self.now)
        if self.error is not None:
            raise self.error.changed()
        if self.logged_out:
            return Found(None, "anonymous")
        number = len(self.asked_at) if self.changes else 1
        good_until_s = None if self.good_for_s is None else self.asked_at[-1] + self.good_for_s
        return Found(Credential("me", f"p{number}"), "a source", self.asked_at[-1], good_until_s)

    async def password(self, repository: Repository = ONE) -> str:
        credential = (await self.lookup.find(repository)).credential
        assert credential is not None
        return credential.password

    async def replace(self, password: str, repository: Repository = ONE) -> bool:
        return await self.lookup.replace(repository, Credential("me", password))


def run(work: Coroutine[None, None, None]) -> None:
    asyncio.run(work)


def test_what_is_good_for_ever_is_asked_for_once() -> None:
    async def scenario() -> None:
        bench = Bench()
        for _ in range(3):
            bench.now += 1e6
            assert await bench.password() == "p1"
        assert await bench.lookup.find(None) == Found(None, "anonymous")

    run(scenario())


def test_what_ends_is_asked_for_again_when_it_has_ended_once_for_all_repositories() -> None:
    async def scenario() -> None:
        bench = Bench(good_for_s=3600)
        assert {await bench.password(ONE), await bench.password(TWO)} == {"p1"}
        bench.now += 3599
        assert await bench.password() == "p1"
        bench.now += 1
        assert [await bench.password(each) for each in (ONE, TWO, ONE)] == ["p2"] * 3
        assert bench.asked_at == [1000.0, 4600.0]

    run(scenario())


def test_a_day_of_passwords_that_last_an_hour() -> None:
    async def scenario() -> None:
        bench = Bench(good_for_s=3600)
        for minute in range(24 * 60):
            bench.now = 1000.0 + 60 * minute
            await bench.password(ONE if minute % 2 else TWO)
        assert len(bench.asked_at) == 24

    run(scenario())


def test_what_was_refused_is_asked_for_again_once_however_many_were_refused() -> None:
    async def scenario() -> None:
        bench = Bench()
        await asyncio.gather(bench.password(ONE), bench.password(TWO))
        bench.now += 7200
        both = await asyncio.gather(*(bench.replace("p1", each) for each in (ONE, TWO) for _ in range(4)))
        assert both == [True] * 8
        assert [await bench.password(ONE), await bench.password(TWO)] == ["p2"] * 2
        assert bench.asked_at == [1000.0, 8200.0]

    run(scenario())


def test_a_source_that_goes_on_to_say_what_was_refused_is_asked_once_in_a_while() -> None:
    async def scenario() -> None:
        bench = Bench(changes=False)
        await bench.password()
        for _ in range(5):
            bench.now += ASK_AGAIN_AFTER_S / 10
            assert not await bench.replace("p1")
        assert len(bench.asked_at) == 2
        bench.now += ASK_AGAIN_AFTER_S
        assert not await bench.replace("p1")
        assert len(bench.asked_at) == 3

    run(scenario())


def test_a_source_that_fails_when_it_is_asked_again_leaves_what_was_good() -> None:
    async def scenario() -> None:
        bench = Bench(good_for_s=3600)
        await bench.password()
        bench.delay_s = 5.0
        bench.error = CredentialError("docker-credential-x failed")
        bench.now += 3600
        assert await bench.password() == "p1"
        bench.now += ASK_AGAIN_AFTER_S / 2
        assert await bench.password() == "p1"
        assert len(bench.asked_at) == 2
        bench.error = None
        bench.now += ASK_AGAIN_AFTER_S
        assert await bench.password() == "p3"
        bench.error = CredentialError("docker-credential-x failed")
        bench.now += 1
        assert not await bench.replace("p3")

    run(scenario())


def test_a_source_that_knows_nothing_any_more_leaves_what_was_good() -> None:
    async def scenario() -> None:
        bench = Bench(good_for_s=3600)
        await bench.password()
        bench.logged_out = True
        bench.now += 3600
        assert await bench.password() == "p1"
        assert not await bench.replace("p1")
        assert await bench.password() == "p1"
        bench.logged_out = False
        bench.now += ASK_AGAIN_AFTER_S
        assert await bench.password() != "p1"

    run(scenario())


def test_a_source_that_failed_at_first_is_asked_again_after_a_while() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.delay_s = 5.0
        bench.error = CredentialError("docker-credential-x failed")
        for _ in range(3):
            with pytest.raises(CredentialError, match="failed"):
                await bench.password()
        assert len(bench.asked_at) == 1
        bench.error = None
        bench.now += ASK_AGAIN_AFTER_S
        assert await bench.password() == "p2"

    run(scenario())


def test_a_failure_that_nobody_waits_for_any_more_is_no_mistake_of_ours() -> None:
    """Ctrl-C while a cloud is asked, which fails later."""
    complaints: list[object] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        asking, go_on = threading.Event(), threading.Event()
        bench = Bench()
        bench.error = CredentialError("the cloud did not answer")
        find = bench.find_credential

        def slow(repository: Repository, book: RegistryBook, *, after: float = NEVER) -> Found:
            asking.set()
            go_on.wait()
            return find(repository, book, after=after)

        bench.find_credential = slow  # type: ignore[method-assign]
        waiting = asyncio.ensure_future(bench.lookup.find(ONE))
        await asyncio.to_thread(asking.wait)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)

    run(scenario())
    gc.collect()  # what has failed unseen complains when it goes
    assert complaints == []
