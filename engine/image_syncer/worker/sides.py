"""The two sides of one blob's way: the download, the uploads, and the watch for silence over them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, SyncError
from image_syncer.worker.download import Download, length_differs
from image_syncer.worker.failures import silence
from image_syncer.worker.upload import Upload
from image_syncer.worker.watch import SilenceWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.net import RegistryClient
    from image_syncer.oci import Digest
    from image_syncer.transfer import SmallBlob, Stream
    from image_syncer.worker.context import WorkerContext
    from image_syncer.worker.messages import LeaseJob

__all__ = ["Sides"]


class Sides:
    """Those of one lease. `begin(size)` is called from inside libcurl when the blob's first byte is about to come: it
    gives what takes the bytes. `on_broken(error)` is told each time that the download broke off and will go on; `small`
    says that the blob is taken whole.
    """

    def __init__(
        self,
        client: RegistryClient,
        lease: LeaseJob,
        digest: Digest,
        terms: WorkerContext,
        *,
        begin: Callable[[int], Stream | SmallBlob],
        on_broken: Callable[[SyncError], None],
        small: bool = False,
    ) -> None:
        self._lease = lease
        self._digest = digest
        self._begin = begin
        self._now = asyncio.get_running_loop().time
        self.uploads = [Upload(client, target, digest, terms) for target in lease.targets]
        self.download = Download(
            client,
            lease.sources,
            digest,
            on_asked=self._on_asked,
            begin=self._on_begin,
            resumption=terms.resumption(),
            on_broken=on_broken,
            small=small,
        )
        self.watch = SilenceWatch(len(lease.targets), stall_s=terms.stall_s, answer_s=terms.answer_s)

    def look_at_source(self, now: float, *, waits: bool) -> None:
        """Break the download off where it has been silent for too long, and does not wait for us. `now` in seconds."""
        silent = self.watch.source(self.download.progress, now, waits=waits)
        if silent is not None:
            self.download.break_off(silence(silent, self._lease, Origin.SOURCE))

    def look_at_destinations(self, stream: Stream | SmallBlob, now: float) -> None:
        """The same of the uploads, whose bytes come from `stream`."""
        for index, upload in enumerate(self.uploads):
            if upload.easy is None:
                continue
            silent = self.watch.sink(stream, index, now, waits=upload.held_back)
            if silent is not None:
                upload.break_off(silence(silent, self._lease, Origin.DESTINATION, index))

    def _on_asked(self) -> None:
        self.watch.source_asked(self.download.progress, self._now())

    def _on_begin(self, length: int | None) -> Stream | SmallBlob:
        size = self._lease.size if self._lease.size >= 0 else length
        if size is None:
            raise SyncError(
                "the source does not say how long the blob is, and neither does the manifest",
                origin=Origin.SOURCE,
            )
        if length is not None and length != size:
            raise length_differs(self._digest, size, length)
        return self._begin(size)
