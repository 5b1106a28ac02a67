"""Sending: how the bytes of a blob get to one destination, whatever breaks on the way.

It begins with one PUT, or with pieces (PATCH) where the user asked for them. When that breaks off, the session is asked
how much it has, and only the rest is sent: never twice to the same address. Where the session is gone with all it had,
a new one gets the blob in pieces, each over a connection of its own and shorter than what the way let through, so that
the next cut costs one piece. A registry that keeps nothing is asked no more, one that refuses pieces gets none.

What is known of the registry (`capabilities.py`) decides; the tries since the last progress bound it (`Resumption`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, ProtocolViolation, RegistryError, SyncError, TransportError
from image_syncer.registry.capabilities import KEEPS_PARTIAL, TAKES_PIECES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from image_syncer.registry.capabilities import RegistryCapabilities
    from image_syncer.transfer import Resumption, Sender
    from image_syncer.worker.upload import Upload

__all__ = ["Sending", "StreamFeed"]

TOO_LARGE_PIECE_BYTES = 4 * 2**20
"""What proxies take that refuse a whole blob (413)."""
_TOO_LARGE = 413
_PIECES_REFUSED = (400, 405, 411, 413, 415, 501)
_PASSING = (401, 408, 429, 499)
"""Client errors that say nothing about the session."""
_CLIENT_ERRORS = range(400, 500)


class StreamFeed:
    """Where the bytes for one destination come from: `sender` hands them to libcurl; `size` is the whole blob's."""

    def __init__(
        self,
        sender: Sender,
        size: int,
        *,
        seek: Callable[[int, int], bool],
        flowing: Callable[[int], Awaitable[None]],
    ) -> None:
        self.sender = sender
        self.size = size
        self._seek = seek
        self._flowing = flowing

    def seek(self, position: int) -> bool:
        """Let the sender go on at `position`; False where the bytes from there on are not to be had."""
        return self._seek(self.sender.index, position)

    async def flowing(self) -> None:
        """Returns when the sender has something to send, or has sent everything and all of it was verified."""
        await self._flowing(self.sender.index)


class Sending:
    """Sends to one session of `upload` what `feed` gives. Sizes in bytes; None for `pieces_above`: no pieces at first.

    `on_session` is told each address under which the session can be found, `on_broken` each break after which it goes
    on.
    """

    def __init__(
        self,
        upload: Upload,
        feed: StreamFeed,
        capabilities: RegistryCapabilities,
        resumption: Resumption,
        *,
        pieces_above: int | None,
        on_session: Callable[[], None],
        on_broken: Callable[[SyncError], None],
    ) -> None:
        self._upload = upload
        self._feed = feed
        self._capabilities = capabilities
        self._resumption = resumption
        self._on_session = on_session
        self._on_broken = on_broken
        self._profile = upload.endpoint.profile
        self._piece_bytes: int | None = None
        self._alone = False
        self._begun_at = 0
        self._cut_after = 0
        self._too_large = False
        if self._known(TAKES_PIECES) is False:
            return
        if not capabilities.takes_whole(upload.endpoint, feed.size):
            self._take_small_pieces()
        elif pieces_above is not None and feed.size > pieces_above:
            self._piece_bytes = self._profile.piece_bytes

    async def run(self) -> None:
        """Returns when the registry has the blob; raises the `SyncError` that kept it from that."""
        while True:
            try:
                await self._feed.flowing()
                self._begun_at = self._feed.sender.sent
                if self._piece_bytes is None:
                    await self._upload.put(self._feed.sender, self._feed.size)
                else:
                    await self._send_pieces(self._piece_bytes)
            except SyncError as error:  # noqa: PERF203 - each break is one of its own
                sent = self._feed.sender.sent - self._begun_at
                self._cut_after = sent if isinstance(error, TransportError) else 0
                self._choose_form(error)
                if await self._go_on(error):
                    return
            else:
                return

    async def _send_pieces(self, piece_bytes: int) -> None:
        sender, size = self._feed.sender, self._feed.size
        piece_bytes = max(piece_bytes, self._upload.min_piece_bytes, self._profile.least_piece_bytes)
        while sender.sent < size:
            await self._feed.flowing()
            self._begun_at = sender.sent
            await self._upload.patch(sender, min(size, sender.sent + piece_bytes), alone=self._alone)
            self._resumption.came_to(sender.sent, size)
            self._on_session()
        await self._feed.flowing()
        await self._upload.put(sender, size)

    async def _go_on(self, error: SyncError) -> bool:
        """Find where to go on after `error`; True where the registry has the whole blob after all."""
        lost = _says_lost(error)
        while True:
            pause = self._resumption.pause_s(error)
            if pause is None:
                raise error
            self._on_broken(error)
            await asyncio.sleep(pause)
            try:
                return await (self._begin_anew(error) if lost else self._resume(error))
            except SyncError as again:
                if again is error or not again.retryable:
                    raise
                error = again

    async def _resume(self, error: SyncError) -> bool:
        sent = self._feed.sender.sent
        was_cut = isinstance(error, TransportError) and self._begun_at < sent < self._feed.size
        if was_cut and self._known(KEEPS_PARTIAL) is False:
            return await self._begin_anew(error)
        kept = await self._upload.ask()
        if kept is None or kept > sent:  # more than it can have is no answer
            if was_cut and self._cut_after >= self._profile.least_piece_bytes:
                self._learn(KEEPS_PARTIAL, value=False)
            return await self._begin_anew(error)
        if kept > self._begun_at:
            self._learn(KEEPS_PARTIAL, value=True)
        if not self._feed.seek(kept):
            raise error
        self._on_session()
        self._resumption.came_to(kept, self._feed.size)
        return False

    async def _begin_anew(self, error: SyncError) -> bool:
        feed = self._feed
        if feed.sender.sent == feed.size and await self._upload.has_blob():
            return True  # it was only the answer that was lost
        await self._upload.cancel()
        if await self._upload.open_new():
            return True
        self._on_session()
        if not feed.seek(0):
            raise error
        if self._cut_after and self._known(TAKES_PIECES) is not False:
            self._alone = True
            most = self._piece_bytes or self._profile.piece_bytes
            self._piece_bytes = max(self._profile.least_piece_bytes, min(self._cut_after // 4, most))
        return False

    def _choose_form(self, error: SyncError) -> None:
        """Another form of upload where it is the form that was refused; `error` can be tried again then."""
        if not isinstance(error, RegistryError) or (error.retryable and not _says_damaged(error)):
            return
        if self._piece_bytes is None:
            if error.status == _TOO_LARGE and self._known(TAKES_PIECES) is not False:
                self._capabilities.refused_whole(self._upload.endpoint, self._feed.size)
                self._take_small_pieces()
                error.retryable = True
        elif self._too_large and error.status == _TOO_LARGE:
            error.retryable = self._piece_bytes > self._profile.least_piece_bytes
            self._piece_bytes = self._profile.least_piece_bytes
        elif error.status in _PIECES_REFUSED:
            self._learn(TAKES_PIECES, value=False)
            self._piece_bytes, self._alone, error.retryable = None, False, True

    def _take_small_pieces(self) -> None:
        self._piece_bytes = max(TOO_LARGE_PIECE_BYTES, self._profile.least_piece_bytes)
        self._too_large = True

    def _known(self, fact: str) -> bool | None:
        return self._capabilities.known(self._upload.endpoint, fact)

    def _learn(self, fact: str, *, value: bool) -> None:
        self._capabilities.learn(self._upload.endpoint, fact, value)


def _says_damaged(error: SyncError) -> bool:
    """Whether the registry has got other bytes than were sent, by its own word."""
    return isinstance(error, RegistryError) and not {"DIGEST_INVALID", "SIZE_INVALID"}.isdisjoint(error.codes)


def _says_lost(error: SyncError) -> bool:
    """Whether the session is of no use any more, so that it need not be asked."""
    if isinstance(error, (IntegrityError, ProtocolViolation)):
        return True
    return isinstance(error, RegistryError) and error.status in _CLIENT_ERRORS and error.status not in _PASSING
