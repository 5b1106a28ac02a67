"""Upload sessions in flight: which destinations have one open for which blob, so that another worker, or another run,
can go on where one has died.

The address of a session is a capability, as a signed URL is: it goes to the workers and the journal, and nowhere else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.registry import UploadSession, build_cancel_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Repository

__all__ = ["UploadSessions"]

CANCEL_TIMEOUT_S = 5.0
"""For the DELETEs of all that are left at the end of a run: a courtesy, since registries forget sessions some day."""


class UploadSessions:
    """The newest address of every session that workers have opened and not closed.

    `remembered` are those of an earlier run; `on_change` is told each that is noted, with its address, and each that is
    dropped, with None.
    """

    def __init__(
        self,
        remembered: Iterable[tuple[Repository, Digest, str]] = (),
        on_change: Callable[[Repository, Digest, str | None], None] = lambda _repository, _digest, _url: None,
    ) -> None:
        self._urls = {(repository, digest): url for repository, digest, url in remembered}
        self._on_change = on_change

    def note(self, repository: Repository, digest: Digest, url: str) -> None:
        """A session for the blob stands open at `url`."""
        self._urls[repository, digest] = url
        self._on_change(repository, digest, url)

    def drop(self, repository: Repository, digest: Digest) -> None:
        """Its session is closed, or cancelled; nothing happens where none was known."""
        if self._urls.pop((repository, digest), None) is not None:
            self._on_change(repository, digest, None)

    def known(self, repository: Repository, digest: Digest) -> str | None:
        """The address of a session that may still be open; None where none is known."""
        return self._urls.get((repository, digest))

    def left(self) -> list[tuple[Repository, Digest, str]]:
        """All that may still be open."""
        return [(repository, digest, url) for (repository, digest), url in self._urls.items()]

    async def cancel_left(self, client: RegistryClient, endpoints: EndpointBook) -> None:
        """Tell the registries of all that are left that nobody will go on with them."""
        work = [self._cancel(client, endpoints, *one) for one in self.left()]
        if work:
            _, late = await asyncio.wait([asyncio.ensure_future(one) for one in work], timeout=CANCEL_TIMEOUT_S)
            for task in late:
                task.cancel()

    async def _cancel(
        self, client: RegistryClient, endpoints: EndpointBook, repository: Repository, digest: Digest, url: str
    ) -> None:
        endpoint = endpoints.known(repository.registry)
        if endpoint is None:
            return  # this run has nothing to do there
        request = build_cancel_upload(endpoint, repository, UploadSession(url))
        try:
            await client.exchange(request, endpoint, origin=Origin.DESTINATION)
        except SyncError:
            return
        self.drop(repository, digest)
