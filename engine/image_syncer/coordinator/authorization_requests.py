"""Workers ask the coordinator for authorizations, since it alone has the passwords. Each request is a task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import SyncError
from image_syncer.worker.messages import AuthorizationGiven, AuthorizationWanted

if TYPE_CHECKING:
    from image_syncer.coordinator.supervisor import Supervisor
    from image_syncer.net import RegistryClient

__all__ = ["AuthorizationRequests"]


class AuthorizationRequests:
    """Those that are under way; each is answered to the worker that asked, if it is still there."""

    def __init__(self, client: RegistryClient, supervisor: Supervisor) -> None:
        self._client = client
        self._supervisor = supervisor
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, worker: int, wanted: AuthorizationWanted) -> None:
        """Ask for what `worker` wants."""
        task = self._loop.create_task(self._authorize(worker, wanted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Nobody waits for an answer any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _authorize(self, worker: int, wanted: AuthorizationWanted) -> None:
        authorizer = self._client.authorizer
        try:
            if wanted.renew:
                given = await authorizer.renew(
                    wanted.endpoint, wanted.repository, wanted.scopes, wanted.rejected, wanted.challenges
                )
            else:
                given = await authorizer.authorize(wanted.endpoint, wanted.repository, wanted.scopes)
        except SyncError as error:
            answer = AuthorizationGiven(wanted.request_id, None, 0.0, error.to_data())
        else:
            answer = AuthorizationGiven(wanted.request_id, given.value, given.usable_s)
        self._supervisor.send(worker, answer)
