"""Deletion for a prune: one tag or one manifest at a time, each looked at once more just before.

OCI distribution specification 1.1, section "Content Management": DELETE of a digest takes all tags on it along, DELETE
of a tag takes that tag alone, and registries may do neither (400, 405). distribution 2.8 knows digests only, and those
where it was started with `REGISTRY_STORAGE_DELETE_ENABLED=true`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.coordinator.publisher import Publisher
from image_syncer.errors import Origin, RegistryError, SyncError
from image_syncer.oci import Reference
from image_syncer.planning import KnownBlobsInMemory
from image_syncer.registry.deletion import build_delete_manifest
from image_syncer.telemetry import get_logger
from image_syncer.telemetry.pruned import Deletion

if TYPE_CHECKING:
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.journal import Journal
    from image_syncer.coordinator.prune_look import PruneLook
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Digest, Manifest, Repository
    from image_syncer.planning import KnownBlobs
    from image_syncer.planning.pruning import GoingManifest, GoingTag

__all__ = ["PruneDeletion"]

_DELETED = (202, 200, 204)
_ABSENT = 404
_NOT_ALLOWED = 405
_NO_TAGS = (400, 405)
"""What registries answer that delete no tag without its manifest."""
_STILL_TAGGED = (400, 409)
"""What Google's registry answers where a manifest still has tags, which it wants to be deleted first."""
_NO_DELETES = (
    "The registry deletes nothing by this API. distribution does where it was started with "
    "REGISTRY_STORAGE_DELETE_ENABLED=true; registries of clouds have retention rules of their own."
)
_DELETES_NO_TAGS = "the registry deletes no tag without its manifest, which stays"
_PUT_BACK = "the registry deleted the manifest along with the tag; it was put back, with its other tags"
_SELECTS_NOT = "no rule selects it"

_log = get_logger(__name__)


class PruneDeletion:
    """Deletes, and takes from `known_blobs` and the journal what is not there any more."""

    def __init__(
        self,
        client: RegistryClient,
        endpoints: EndpointBook,
        discovery: Discovery,
        known_blobs: KnownBlobs,
        journal: Journal | None,
    ) -> None:
        self._client = client
        self._endpoints = endpoints
        self._discovery = discovery
        self._publisher = Publisher(client, endpoints, KnownBlobsInMemory())
        self._known_blobs = known_blobs
        self._journal = journal
        self._deletes_nothing: dict[str, SyncError] = {}
        self._deletes_no_tags: set[str] = set()

    async def delete_manifest(self, look: PruneLook, going: GoingManifest) -> Deletion:
        """A manifest, and with it the tags on it. Where one of these points elsewhere by now, nothing is done."""
        try:
            for tag in going.tags:
                if (now := await look.head(tag)) not in (None, going.digest):
                    return self._left(look, going.digest, going.tags, _moved(tag, now))
            self._check(look.repository)
            await self._revoke(look.repository, going.digest, going.tags)
            was_there = await self._delete_tagged(look.repository, going)
        except SyncError as error:
            return self._failed(look, going.digest, going.tags, error)
        for blob in look.blobs_of(going.digest):
            self._known_blobs.forget(look.repository, blob)
        look.forget(going.digest)
        return self._told(look, going.digest, going.tags, "deleted" if was_there else "gone already", going.why)

    async def delete_tag(self, look: PruneLook, going: GoingTag) -> Deletion:
        """A tag alone. Where a registry has taken the manifest and its other tags along all the same, they are put
        back, and no tag is deleted there any more.
        """
        repository, tags = look.repository, (going.tag,)
        try:
            now = await look.head(going.tag)
            if now is None:
                return self._told(look, going.digest, tags, "gone already", _SELECTS_NOT, alone=True)
            if now != going.digest:
                return self._left(look, going.digest, tags, _moved(going.tag, now), alone=True)
            if repository.registry in self._deletes_no_tags:
                return self._left(look, going.digest, tags, _DELETES_NO_TAGS, alone=True)
            manifest = await self._discovery.get_destination(repository, going.digest)
            await self._revoke(repository, going.digest, tags)
            status, error = 0, None
            try:
                status = await self._ask(repository, going.tag, (*_DELETED, _ABSENT, *_NO_TAGS))
            except SyncError as caught:  # it may have been done all the same
                error = caught
            if await self._put_back(look, going, manifest):
                self._deletes_no_tags.add(repository.registry)
                return self._told(look, going.digest, tags, "failed", _PUT_BACK, alone=True)
            if error is not None:
                return self._failed(look, going.digest, tags, error, alone=True)
            if status not in _DELETED and await look.head(going.tag) is not None:
                self._deletes_no_tags.add(repository.registry)
                return self._left(look, going.digest, tags, _DELETES_NO_TAGS, alone=True)
        except SyncError as error:
            return self._failed(look, going.digest, tags, error, alone=True)
        outcome = "deleted" if status in _DELETED else "gone already"
        return self._told(look, going.digest, tags, outcome, _SELECTS_NOT, alone=True)

    async def _put_back(self, look: PruneLook, going: GoingTag, manifest: Manifest) -> bool:
        """Whether the manifest, or another tag on it, had gone with the tag, and is there again."""
        lost = [tag for tag in going.staying if await look.head(tag) is None]
        by_digest = Reference(look.repository, None, going.digest)
        if not lost and await self._discovery.head_destination(by_digest, surely=True) is not None:
            return False
        for tag in lost or [str(going.digest)]:
            await self._publisher.put(look.repository, manifest, tag)
        return True

    def _check(self, repository: Repository) -> None:
        if (error := self._deletes_nothing.get(repository.registry)) is not None:
            raise error.copy()

    async def _delete_tagged(self, repository: Repository, going: GoingManifest) -> bool:
        """Whether it was still there."""
        accept = (*_DELETED, _ABSENT, *(_STILL_TAGGED if going.tags else ()))
        status = await self._ask(repository, str(going.digest), accept)
        if status in _STILL_TAGGED:
            for tag in going.tags:
                await self._ask(repository, tag, (*_DELETED, _ABSENT))
            status = await self._ask(repository, str(going.digest), (*_DELETED, _ABSENT))
        return status != _ABSENT

    async def _ask(self, repository: Repository, target: str, accept: tuple[int, ...]) -> int:
        endpoint = await self._endpoints.resolve(repository.registry, Origin.DESTINATION)
        request = build_delete_manifest(endpoint, repository, target)
        try:
            response = await self._client.send(request, endpoint, origin=Origin.DESTINATION, accept=accept)
        except RegistryError as error:
            if error.status == _NOT_ALLOWED:
                error.hint = _NO_DELETES
                self._deletes_nothing[repository.registry] = error
            raise
        return response.status

    async def _revoke(self, repository: Repository, digest: Digest, tags: tuple[str, ...]) -> None:
        """Before it is deleted: a journal that says of an image that it is there would keep it from coming back."""
        if self._journal is None:
            return
        for reference in (*(Reference(repository, tag, None) for tag in tags), Reference(repository, None, digest)):
            self._journal.revoke(reference)
        await self._journal.flush()

    def _left(
        self, look: PruneLook, digest: Digest, tags: tuple[str, ...], reason: str, *, alone: bool = False
    ) -> Deletion:
        return self._told(look, digest, tags, "left", reason, alone=alone)

    def _failed(
        self, look: PruneLook, digest: Digest, tags: tuple[str, ...], error: SyncError, *, alone: bool = False
    ) -> Deletion:
        error.located(repository=str(look.repository), reference=str(digest))
        deletion = Deletion(
            str(look.repository), str(digest), tags, "failed", str(error).splitlines()[0], alone, error.to_data()
        )
        _log.info("prune", **deletion.as_data())
        return deletion

    def _told(
        self, look: PruneLook, digest: Digest, tags: tuple[str, ...], outcome: str, reason: str, *, alone: bool = False
    ) -> Deletion:
        deletion = Deletion(str(look.repository), str(digest), tags, outcome, reason, alone)
        _log.info("prune", **deletion.as_data())
        return deletion


def _moved(tag: str, now: Digest | None) -> str:
    return f"the tag {tag} points at {now} by now"
