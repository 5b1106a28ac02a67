from __future__ import annotations

import asyncio

import pytest

from image_syncer.oci import Repository
from image_syncer.registry import Endpoint, pull_scope, push_scope
from image_syncer.worker.process import RemoteAuthorizer
from image_syncer.worker.protocol import AuthorizationGiven, AuthorizationWanted

ENDPOINT = Endpoint("registry.example", "https://registry.example")
REPOSITORY = Repository("registry.example", "team/app")
PULL = (pull_scope(REPOSITORY),)
PUSH = (push_scope(REPOSITORY),)


def test_what_the_coordinator_gave_is_known_until_it_is_renewed_or_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        asked: list[AuthorizationWanted] = []
        authorizer = RemoteAuthorizer(asked.append)

        async def give(value: str, usable_s: float) -> None:
            await asyncio.sleep(0)
            authorizer.on_given(AuthorizationGiven(asked[-1].request_id, value, usable_s))

        def known() -> str | None:
            given = authorizer.known(ENDPOINT, REPOSITORY, PULL)
            return given.value if given else None

        assert known() is None
        given, _ = await asyncio.gather(authorizer.authorize(ENDPOINT, REPOSITORY, PULL), give("Bearer 1", 60.0))
        assert (given.value, known()) == ("Bearer 1", "Bearer 1")
        assert authorizer.known(ENDPOINT, REPOSITORY, PUSH) is None
        assert await authorizer.authorize(ENDPOINT, REPOSITORY, PULL) is given
        renewing = asyncio.ensure_future(authorizer.renew(ENDPOINT, REPOSITORY, PULL, "Bearer 1", []))
        await asyncio.sleep(0)
        assert known() is None
        await give("Bearer 2", 60.0)
        assert ((await renewing).value, known()) == ("Bearer 2", "Bearer 2")
        assert len(asked) == 2
        loop = asyncio.get_running_loop()
        later = loop.time() + 61
        monkeypatch.setattr(loop, "time", lambda: later)
        assert known() is None

    asyncio.run(scenario())
