"""The pruning of a run: after every rule has come to its end, what none of them selects any more goes.

First every repository is looked at, then it is decided whether that is too much, and only then is anything deleted;
each repository is looked at again just before, and whatever has come up since stays.

Deletion for a prune: one tag or one manifest at a time, each looked at once more just before.

OCI distribution specification 1.1, section "Content Management": DELETE of a digest takes all tags on it along, DELETE
of a tag takes that tag alone, and registries may do neither (400, 405). distribution 2.8 knows digests only, and those
where it was started with `REGISTRY_STORAGE_DELETE_ENABLED=true`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from image_syncer.coordinator.prune_look import PruneLook
from image_syncer.coordinator.prune_plan import save_prune_plan
from image_syncer.coordinator.prune_scope import PruneScope, ScopedImages, listening
from image_syncer.coordinator.publisher import Publisher
from image_syncer.errors import Origin, RegistryError, SyncError
from image_syncer.oci import Digest, Reference
from image_syncer.planning import KnownBlobsInMemory
from image_syncer.planning.pruning import Keep, is_too_much, most_tags
from image_syncer.registry.deletion import build_delete_manifest
from image_syncer.telemetry import get_logger
from image_syncer.telemetry.pruned import Deletion, Held, Pruned

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from image_syncer.config import Configuration
    from image_syncer.config.pruning import Pruning
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.listings import Listings
    from image_syncer.coordinator.rules import Images
    from image_syncer.journal.journal import Journal
    from image_syncer.net import EndpointBook, RegistryClient
    from image_syncer.oci import Manifest, Repository
    from image_syncer.planning import KnownBlobs
    from image_syncer.planning.pruning import GoingManifest, GoingTag, RepositoryPrune
    from image_syncer.telemetry import ImageResult

__all__ = ["PruneDeletion", "Pruner"]


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


LOOKED_AT_ONCE = 8
"""Repositories; each holds its tags and what it knows of their manifests in memory."""
DELETED_BEFORE_A_LOOK = 100
"""Manifests of one repository that are deleted before it is looked at again."""
_NOT_OWNED = "rules write single tags or digests there, and do not own the rest of it"
_PERCENT = 100

_log = get_logger(__name__)


class Pruner:
    """One prune. It learns from the run what rules select (`around`, `listening`), and then does its work (`run`)."""

    def __init__(self, configuration: Configuration, pruning: Pruning, *, dry_run: bool) -> None:
        self._pruning = pruning
        self._scope = PruneScope(configuration, empty_sources=pruning.empty_sources)
        self.pruned = Pruned(deletes=pruning.delete and not dry_run, settings=pruning.as_data())

    def listening(self, on_image: Callable[[ImageResult], None] | None) -> Callable[[ImageResult], None]:
        """`on_image`, and what the prune has to know of each image that ends."""
        return listening(self._scope, on_image)

    def around(self, images: Images) -> Images:
        """`images`, of which the prune is told."""
        return ScopedImages(images, self._scope)

    async def run(
        self,
        client: RegistryClient,
        endpoints: EndpointBook,
        discovery: Discovery,
        listings: Listings,
        *,
        known_blobs: KnownBlobs,
        journal: Journal | None,
    ) -> None:
        """All of it. What registries have against something is told in `pruned`."""
        looks = {
            repository: PruneLook(repository, client, endpoints, discovery, listings)
            for repository in self._to_look_at()
        }
        gate = asyncio.Semaphore(LOOKED_AT_ONCE)

        async def look(one: PruneLook) -> RepositoryPrune | None:
            async with gate:
                plan = await self._look(one)
            if plan is None or plan.is_empty:
                one.clear()
            return plan

        plans = await asyncio.gather(*(look(one) for one in looks.values()))
        self.pruned.plans = [plan for plan in plans if plan is not None]
        self._check_share()
        if self._pruning.save_path is not None:
            self._save(self._pruning.save_path)
        if self.pruned.deletes and self.pruned.excess is None:
            deletion = PruneDeletion(client, endpoints, discovery, known_blobs, journal)
            for plan in self.pruned.plans:
                if not plan.is_empty:
                    await self._delete(looks[plan.repository], plan, deletion)
        self.pruned.not_over = False

    def _save(self, path: str) -> None:
        if self.pruned.excess is not None:
            self.pruned.unsaved = f"no plan is written to {path}: too much would go"
            return
        try:
            save_prune_plan(path, self.pruned)
        except SyncError as error:
            self.pruned.unsaved = str(error)

    def _to_look_at(self) -> list[Repository]:
        """The repositories that rules own, and in which nothing has failed. The others are held."""
        found: list[Repository] = []
        planned = None if self._pruning.plan is None else set(self._pruning.plan)
        for repository in self._scope.owned:
            if planned is not None and str(repository) not in planned:
                continue
            if planned is not None:
                planned.discard(str(repository))
            reason = self._scope.why_held(repository)
            if reason is None:
                found.append(repository)
            else:
                self._hold(repository, reason)
        for repository in self._scope.only_named if planned is None else ():
            self._hold(repository, _NOT_OWNED, is_failure=False)
        for name in sorted(planned or ()):
            self.pruned.held.append(Held(name, "it is in the plan, and no rule of these files owns it"))
        return found

    def _hold(self, repository: Repository, reason: str, *, is_failure: bool = True) -> None:
        self.pruned.held.append(Held(str(repository), reason, is_failure))
        _log.info("prune held", repository=str(repository), reason=reason)

    async def _look(self, look: PruneLook) -> RepositoryPrune | None:
        repository = look.repository
        try:
            bounds = None if self._pruning.plan is None else self._pruning.plan[str(repository)]
            if bounds is None:
                return await look.look(self._tags(repository), self._keep(repository))
            tags, manifests = bounds
            only = frozenset(Digest(each) for each in manifests)
            return await look.look(self._tags(repository), self._keep(repository, tags, only), only)
        except SyncError as error:
            error.located(repository=str(repository))
            self._hold(repository, str(error).splitlines()[0])
            return None

    def _tags(self, repository: Repository) -> frozenset[str]:
        return frozenset(self._scope.selected(repository).tags)

    def _keep(
        self,
        repository: Repository,
        going: frozenset[tuple[str, str]] | None = None,
        only: frozenset[Digest] | None = None,
    ) -> Keep:
        """What stays there; with `going`, everything but those tags, and with `only`, but those manifests."""
        selected = self._scope.selected(repository)

        def why(tag: str, digest: Digest) -> str | None:
            if tag in selected.tags:
                return ""
            reason = self._pruning.why_kept(tag, digest.hex)
            if reason is None and going is not None and (tag, digest) not in going:
                return "it is not in the plan"
            return reason

        return Keep(why, selected.digests, only, orphans=self._pruning.orphans)

    def _check_share(self) -> None:
        most, plans = self._pruning.most, self.pruned.plans
        if most is None or self._pruning.plan is not None:
            return
        there = sum(plan.tags_there for plan in plans)
        beyond = [(str(plan.repository), plan.tag_count, plan.tags_there) for plan in is_too_much(plans, most)]
        if not beyond and self.pruned.tag_count > most_tags(there, most):
            beyond = [("all repositories", self.pruned.tag_count, there)]
        if beyond:
            name, count, of = beyond[0]
            more = f", and too many of {len(beyond) - 1:,} more" if len(beyond) > 1 else ""
            self.pruned.excess = (
                f"{count:,} of the {of:,} tags of {name} would go{more}, and at most {most * _PERCENT:g} % may: "
                "nothing is deleted. See whether that is meant; then give --prune-most with a larger share."
            )

    async def _delete(self, look: PruneLook, first: RepositoryPrune, deletion: PruneDeletion) -> None:
        """What is in `first`, and still may go; see `PruneLook` for what a look costs."""
        repository = look.repository
        open_tags = {each.tag: each for each in first.tags}
        open_manifests = {each.digest: each for each in first.manifests}
        going = frozenset((tag, str(digest)) for tag, digest in first.going_tags)
        while open_tags or open_manifests:
            rest = frozenset(open_manifests)
            try:
                now = await look.look(self._tags(repository), self._keep(repository, going, rest), rest)
            except SyncError as error:
                error.located(repository=str(repository))
                self._hold(repository, str(error).splitlines()[0])
                break
            tags = [each for each in now.tags if each.tag in open_tags]
            manifests = now.manifests[:DELETED_BEFORE_A_LOOK]
            if not tags and not manifests:
                break
            for tag in tags:
                del open_tags[tag.tag]
                with self._noting(repository, tag.digest, (tag.tag,), alone=True):
                    self.pruned.deletions.append(await deletion.delete_tag(look, tag))
            for manifest in manifests:
                del open_manifests[manifest.digest]
                with self._noting(repository, manifest.digest, manifest.tags):
                    self.pruned.deletions.append(await deletion.delete_manifest(look, manifest))
        reason = "it has changed since it was looked at: something that stays has it now"
        for digest, tag_names, alone in (
            *((each.digest, (each.tag,), True) for each in open_tags.values()),
            *((each.digest, each.tags, False) for each in open_manifests.values()),
        ):
            self.pruned.deletions.append(Deletion(str(repository), str(digest), tag_names, "left", reason, alone))

    @contextlib.contextmanager
    def _noting(
        self, repository: Repository, digest: Digest, tags: tuple[str, ...], *, alone: bool = False
    ) -> Iterator[None]:
        """A run that ends while it deletes something does not know whether it is gone."""
        try:
            yield
        except asyncio.CancelledError:
            reason = "the run was ended while this was deleted: it may be gone"
            self.pruned.deletions.append(Deletion(str(repository), str(digest), tags, "failed", reason, alone))
            raise
