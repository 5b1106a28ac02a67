"""Credentials by repository: looked up once, kept while they are good, and asked for again when they are refused."""

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

__all__ = ["ASK_AGAIN_AFTER_S", "CredentialLookup"]

ASK_AGAIN_AFTER_S = 60.0
"""A source whose credential was refused, or that failed, is asked again for the same repository not before this: what
it says is wrong, as a rule, and not just out of date.
"""

_NOBODY = Found(None, "anonymous")
_log = get_logger(__name__)


class _Kept(Struct):
    task: asyncio.Task[Found]
    ended_at_s: float = NEVER
    replaced_at_s: float = NEVER


class CredentialLookup:
    """See `image_syncer.net.Credentials`. Asks `source`, which may run a helper process: so it happens in a thread.

    What many repositories have of one helper or file is asked for once there, also when it has to be asked anew: the
    source is told which of its answers came too early to count. `clock` is `time.monotonic`.
    """

    def __init__(
        self, source: CredentialSource, registries: RegistryBook, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.source = source
        self.registries = registries
        self._clock = clock
        self._kept: dict[Repository, _Kept] = {}

    async def find(self, repository: Repository | None) -> Found:
        """The credential for `repository`, if there is one, and where it came from. Raises what the source raises."""
        if repository is None:
            return _NOBODY
        kept = self._kept.get(repository)
        if kept is None:
            kept = self._ask(repository, NEVER, None)
        elif kept.task.done():
            kept = self._renewed(repository, kept)
        return await shared_result(kept.task)

    async def replace(self, repository: Repository, refused: Credential) -> bool:
        """Whether there is another credential than the one that was `refused`, after the source was asked anew."""
        while True:
            found = await self.find(repository)
            if found.credential != refused:
                return True
            kept = self._kept[repository]
            if kept.task.done():  # else somebody asks just now
                break
        now = self._clock()
        if now - kept.replaced_at_s < ASK_AGAIN_AFTER_S:
            return False
        _log.info("credential refused", repository=str(repository), source=found.source)
        self._ask(repository, found.learnt_at_s, found).replaced_at_s = now
        return (await self.find(repository)).credential != refused

    def _renewed(self, repository: Repository, kept: _Kept) -> _Kept:
        """`kept`, or what takes its place because the source should be asked again."""
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

    def _ask(self, repository: Repository, after: float, otherwise: Found | None) -> _Kept:
        task = share(self._look_up(repository, after, otherwise))
        kept = self._kept[repository] = _Kept(task)

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
            # Somebody has logged out, or a keychain was locked: that is no reason to end a run of days.
            return self._go_on_with(otherwise, repository, f"there is none any more: {found.source}")
        _log.info("credential", repository=str(repository), source=found.source)
        return found

    def _go_on_with(self, found: Found, repository: Repository, why: str) -> Found:
        """What was good until now may still be, and the registry says so where it is not."""
        _log.warning("credential not renewed", repository=str(repository), error=why)
        now = self._clock()
        return replace(found, learnt_at_s=now, good_until_s=now + ASK_AGAIN_AFTER_S)
