"""Credentials by repository: looked up once, kept while they are valid, and looked up again when they are refused."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec import Struct

from image_syncer.credentials import NEVER, Found
from image_syncer.errors import SyncError
from image_syncer.net import share, shared_result
from image_syncer.telemetry import get_logger
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import RegistryBook
    from image_syncer.credentials import CredentialSource
    from image_syncer.oci import Repository
    from image_syncer.registry import Credential


ASK_AGAIN_AFTER_S = 60.0
"""The least time between two questions to a source that failed, or whose credential was refused: as a rule its answer
is wrong, not just out of date.
"""

_ANONYMOUS = Found(None, "anonymous")
_log = get_logger(__name__)


class _KeptLookup(Struct):
    task: asyncio.Task[Found]
    ended_at_s: float = NEVER
    replaced_at_s: float = NEVER


class CredentialLookup:
    """See `image_syncer.net.Credentials`. Asks `source` in a thread, since it may run a helper process.

    A source answers once for all repositories of one helper or file, also when it is asked anew: it is given the time
    before which its answers are out of date.
    """

    def __init__(
        self, source: CredentialSource, registries: RegistryBook, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source = source
        self.registries = registries
        self._clock = clock
        self._kept: dict[Repository, _KeptLookup] = {}

    async def find(self, repository: Repository | None) -> Found:
        """The credential for `repository`, or none, with its origin. Raises what the source raises."""
        if repository is None:
            return _ANONYMOUS
        kept = self._kept.get(repository)
        if kept is None:
            kept = self._ask(repository, NEVER, None)
        elif kept.task.done():
            kept = self._renewed(repository, kept)
        return await shared_result(kept.task)

    async def replace(self, repository: Repository, refused: Credential) -> bool:
        """Ask the source anew; return whether it has another credential than the one that was `refused`."""
        while True:
            found = await self.find(repository)
            if found.credential != refused:
                return True
            kept = self._kept[repository]
            if kept.task.done():  # else it is being asked already
                break
        now = self._clock()
        if now - kept.replaced_at_s < ASK_AGAIN_AFTER_S:
            return False
        _log.info("credential refused", repository=str(repository), source=found.source)
        self._ask(repository, found.learnt_at_s, found).replaced_at_s = now
        return (await self.find(repository)).credential != refused

    def _renewed(self, repository: Repository, kept: _KeptLookup) -> _KeptLookup:
        """`kept`, or a new question where the source has to be asked again."""
        now = self._clock()
        if kept.task.cancelled() or kept.task.exception() is not None:
            due = now - kept.ended_at_s >= ASK_AGAIN_AFTER_S
            return self._ask(repository, kept.ended_at_s, None) if due else kept
        found = kept.task.result()
        if found.good_until_s is None or now < found.good_until_s:
            return kept
        renewed = self._ask(repository, found.learnt_at_s, found)
        renewed.replaced_at_s = kept.replaced_at_s
        return renewed

    def _ask(self, repository: Repository, after: float, otherwise: Found | None) -> _KeptLookup:
        task = share(self._look_up(repository, after, otherwise))
        kept = self._kept[repository] = _KeptLookup(task)

        def note_end(_task: asyncio.Task[Found]) -> None:
            kept.ended_at_s = self._clock()

        task.add_done_callback(note_end)
        return kept

    async def _look_up(self, repository: Repository, after: float, otherwise: Found | None) -> Found:
        try:
            found = await asyncio.to_thread(self.source.find_credential, repository, self.registries, after=after)
        except SyncError as error:
            if otherwise is None:
                raise
            return self._go_on_with(otherwise, repository, str(error))
        if found.credential is None and otherwise is not None and otherwise.credential is not None:
            # A logout, or a locked keychain, is no reason to end a run of days.
            return self._go_on_with(otherwise, repository, f"there is none any more: {found.source}")
        _log.info("credential", repository=str(repository), source=found.source)
        return found

    def _go_on_with(self, found: Found, repository: Repository, why: str) -> Found:
        """Keep a credential that was valid until now; the registry refuses it where it no longer is."""
        _log.warning("credential not renewed", repository=str(repository), error=why)
        now = self._clock()
        return replace(found, learnt_at_s=now, good_until_s=now + ASK_AGAIN_AFTER_S)
