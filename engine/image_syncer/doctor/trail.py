"""The trail of the probes that write: what they made in the registry, and how it is taken away again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from image_syncer.doctor.check import Check, fine, skipped, warned
from image_syncer.errors import NotFoundError, SyncError
from image_syncer.registry import build_cancel_upload
from image_syncer.registry.deletion import build_delete_blob, build_delete_manifest

if TYPE_CHECKING:
    from image_syncer.doctor.examined import Subject
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry import Request, UploadSession

__all__ = ["Trail"]

CLEAN_UP_S, DELETION_S = 28.0, 8.0
"""For taking away all of it, and for one thing of it: what hangs must not keep the rest from being told."""
_DELETE_STATUSES = (202, 200, 204)
_SESSION, _BLOB = "open upload session", "blob"
_MANY = (_SESSION, _BLOB)
_LEFT = "Take it away by hand, where the registry allows that, and have the registry collect its garbage."


class Trail:
    """What was made in `repository`, and has to be taken away: upload sessions, blobs, manifests with their tags."""

    def __init__(self, examined: Subject, repository: Repository) -> None:
        self._examined = examined
        self._repository = repository
        self.sessions: list[UploadSession] = []
        self.blobs: list[Digest] = []
        self.manifests: list[tuple[str, Digest]] = []

    async def clean_up(self) -> Check:
        """Take away whatever was made; what stays is told."""
        endpoint, repository = self._examined.endpoint, self._repository
        sessions = self.sessions if self._examined.profile.cancels_uploads else []
        deletions = [
            *((f"the tag {tag}", build_delete_manifest(endpoint, repository, each)) for tag, each in self.manifests),
            *((_SESSION, self.cancellation(each)) for each in sessions),
            *((_BLOB, build_delete_blob(endpoint, repository, each)) for each in self.blobs),
        ]
        left: Counter[str] = Counter()
        reason = ""
        ends_at = time.monotonic() + CLEAN_UP_S
        for what, request in deletions:
            longest_s = min(DELETION_S, ends_at - time.monotonic())
            if why := await self._why_it_stays(request, longest_s):
                left[what] += 1
                reason = reason or why
        self._examined.learnt.facts["delete"] = not left
        if not deletions:
            return skipped("nothing was made")
        if not left:
            return fine("everything that was made is gone again")
        named = [
            f"{count} {what}{'' if count == 1 else 's'}" if what in _MANY else what for what, count in left.items()
        ]
        return warned(f"what stays in {repository}: {', '.join(named)} ({reason})", _LEFT, left=named)

    def cancellation(self, session: UploadSession) -> Request:
        """The request that gives up `session`."""
        return build_cancel_upload(self._examined.endpoint, self._repository, session)

    async def delete(self, request: Request) -> None:
        """Send `request`; raises SyncError where what it deletes stays."""
        response = await self._examined.exchange(request)
        if response.status not in _DELETE_STATUSES:
            raise self._examined.failure(response, request)

    async def _why_it_stays(self, request: Request, longest_s: float) -> str:
        """Why it could not be taken away in that time, "" where it is gone."""
        try:
            await asyncio.wait_for(self.delete(request), longest_s)
        except asyncio.TimeoutError:
            return "the registry did not answer in time"
        except NotFoundError:
            return ""
        except SyncError as error:
            _, answered, said = error.message.partition(" answered ")
            return f"the registry answered {said}" if answered else error.message
        return ""
