"""A worker's authorizer: it holds no password and fetches no token, it asks the coordinator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import SyncError, keep_out
from image_syncer.net import Authorization, shared_result
from image_syncer.worker.messages import AuthorizationGiven, AuthorizationWanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from image_syncer.oci import Repository
    from image_syncer.registry import Endpoint, Scope

__all__ = ["RemoteAuthorizer"]

_Key = tuple[str, "Repository | None", tuple["Scope", ...]]


class RemoteAuthorizer:
    """See `image_syncer.net.Authorizer`. What the coordinator gave is used until it says that it must be renewed."""

    def __init__(self, say: Callable[[AuthorizationWanted], None]) -> None:
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._kept: dict[_Key, tuple[Authorization, float]] = {}
        self._asked: dict[_Key, asyncio.Future[Authorization]] = {}
        self._waiting: dict[int, asyncio.Future[Authorization]] = {}
        self._next_id = 0

    def known(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization | None:
        """See `Authorizer`."""
        kept = self._kept.get((endpoint.registry, repository, scopes))
        return kept[0] if kept is not None and kept[1] > self._loop.time() else None

    async def authorize(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization:
        """See `Authorizer`. One question goes out, however many wait for its answer."""
        known = self.known(endpoint, repository, scopes)
        if known is not None:
            return known
        key = (endpoint.registry, repository, scopes)
        asked = self._asked.get(key)
        if asked is None:
            asked = self._ask(key, endpoint, renew=False, rejected=None, challenges=())
            self._asked[key] = asked
            asked.add_done_callback(lambda _done: self._asked.pop(key, None))
        return await self._answer(asked)

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: tuple[Scope, ...],
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """See `Authorizer`."""
        key = (endpoint.registry, repository, scopes)
        self._kept.pop(key, None)
        return await self._answer(self._ask(key, endpoint, renew=True, rejected=rejected, challenges=tuple(challenges)))

    def answered(self, endpoint: Endpoint) -> None:
        """See `Authorizer`: the coordinator has been there before."""

    def abandoned(self, endpoint: Endpoint) -> None:
        """See `Authorizer`: the coordinator has been there before."""

    def on_given(self, message: AuthorizationGiven) -> None:
        """The coordinator has answered."""
        future = self._waiting.pop(message.request_id, None)
        if future is None or future.done():
            return
        if message.error is not None:
            future.set_exception(SyncError.from_data(message.error))
        else:
            keep_out((message.value or "").partition(" ")[2], passing=True)
            future.set_result(Authorization(message.value, message.usable_s))

    def _ask(
        self, key: _Key, endpoint: Endpoint, *, renew: bool, rejected: str | None, challenges: tuple[str, ...]
    ) -> asyncio.Future[Authorization]:
        self._next_id += 1
        future: asyncio.Future[Authorization] = self._loop.create_future()
        future.add_done_callback(lambda done: self._keep(key, done))
        self._waiting[self._next_id] = future
        _, repository, scopes = key
        self._say(
            AuthorizationWanted(
                self._next_id,
                endpoint.to_data(),
                repository,
                scopes,
                renew=renew,
                rejected=rejected,
                challenges=challenges,
            )
        )
        return future

    async def _answer(self, future: asyncio.Future[Authorization]) -> Authorization:
        return await shared_result(future)

    def _keep(self, key: _Key, done: asyncio.Future[Authorization]) -> None:
        if not done.cancelled() and done.exception() is None:
            given = done.result()
            self._kept[key] = (given, self._loop.time() + given.usable_s)
