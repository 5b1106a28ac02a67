"""The pruning of a run: once every rule has an outcome, what no rule selects any more is deleted.

A dry run writes what would be deleted to a plan, for review and as the bound of a later prune.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import orjson
from msgspec import Struct, field

from image_syncer.config.pruning import Pruning
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.listeners import call_all
from image_syncer.coordinator.run_parts import RunParts
from image_syncer.errors import ConfigurationError, Origin, RegistryError, SyncError
from image_syncer.oci import Digest, Reference, Repository, is_place, registry_names
from image_syncer.pruning.contents import PruneLook
from image_syncer.registry.manifests import build_delete_manifest
from image_syncer.reporting.json_file import read_file
from image_syncer.scheduling.pruning import GoingTag, Keep, is_too_much, most_tags
from image_syncer.telemetry import ImageResult, Outcome, PartialFile, get_logger
from image_syncer.telemetry.report import Deletion, Held, Pruned
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping

    from image_syncer.config import Configuration, Settings
    from image_syncer.coordinator.context import RunContext
    from image_syncer.coordinator.image_delivery import DestinationCheck
    from image_syncer.coordinator.open_image import RequestedImage
    from image_syncer.coordinator.rules import Images
    from image_syncer.oci import Manifest
    from image_syncer.scheduling.pruning import GoingManifest, RepositoryPrune


_KIND, _VERSION = "prune plan", 1
_HINT = "Give the file that `image-syncer prune --save FILE` wrote."


def save_prune_plan(path: str, pruned: Pruned) -> None:
    """Write what would be deleted. Raises SyncError where the file cannot be written."""
    entries = [
        {
            "repository": str(plan.repository),
            "tags_there": plan.tags_there,
            "tags": [{"tag": each.tag, "digest": each.digest} for each in plan.tags],
            "manifests": [{"digest": each.digest, "tags": list(each.tags), "why": each.why} for each in plan.manifests],
        }
        for plan in pruned.plans
        if not plan.is_empty
    ]
    document = {"kind": _KIND, "version": _VERSION, "repositories": entries}
    file = PartialFile(path, noun="the plan", option="--save")
    try:
        file.write(orjson.dumps(document, default=str, option=orjson.OPT_INDENT_2) + b"\n")
        file.commit()
    except BaseException:
        file.abandon()
        raise


def load_prune_plan(path: str) -> Mapping[str, tuple[frozenset[tuple[str, str]], frozenset[str]]]:
    """Return the tags with their digests, and the digests of manifests, that may be deleted, by repository. Raises
    ConfigurationError where the file is not a prune plan.
    """
    try:
        document = orjson.loads(read_file(path, "the plan", _HINT))
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"the plan {path} is not JSON: {error.msg}", hint=_HINT) from None
    try:
        is_ours = (document["kind"], document["version"]) == (_KIND, _VERSION)
        bounds = {_text(entry["repository"]): _bounds(entry) for entry in document["repositories"]}
    except (AttributeError, KeyError, TypeError, ValueError):
        is_ours = False
    if not is_ours:
        raise ConfigurationError(f"{path} is no plan of a prune", hint=_HINT)
    return bounds


def _bounds(entry: Mapping[str, Any]) -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    tags = {(_text(each["tag"]), _digest(each)) for each in entry["tags"]}
    manifests = {_digest(each) for each in entry["manifests"]}
    tags |= {(_text(tag), _digest(each)) for each in entry["manifests"] for tag in each["tags"]}
    return frozenset(tags), frozenset(manifests)


def _digest(entry: Mapping[str, Any]) -> str:
    return str(Digest(_text(entry["digest"])))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


LOOKED_AT_ONCE = 8
"""Repositories at once; each holds its tags and what it knows of their manifests in memory."""
DELETED_BEFORE_A_LOOK = 100
"""Manifests of one repository that are deleted before it is looked at again."""
_DELETED = (202, 200, 204)
_ABSENT = 404
_NOT_ALLOWED = 405
_NO_TAGS = (400, 405)
"""Answers of registries that delete no tag without its manifest."""
_STILL_TAGGED = (400, 409)
"""Answers of Google's registry for a manifest with tags, which are to be deleted first."""
_NO_DELETES = (
    "The registry deletes nothing by this API. distribution does where it was started with "
    "REGISTRY_STORAGE_DELETE_ENABLED=true; registries of clouds have retention rules of their own."
)
_DELETES_NO_TAGS = "the registry deletes no tag without its manifest, which stays"
_PUT_BACK = "the registry deleted the manifest along with the tag; it was put back, with its other tags"
_SELECTS_NOT = "no rule selects it"
_NOT_OWNED = "rules write single tags or digests there, and do not own the rest of it"
_PERCENT = 100

_log = get_logger(__name__)


class Pruner:
    """One prune. It learns from the run what rules select (`select`, `note_image`), and then prunes (`run`).

    First every repository is looked at, then the bound on what may be deleted is checked, and only then is anything
    deleted. Each repository is looked at again just before, and tags that rules select by then stay.
    """

    def __init__(self, configuration: Configuration, pruning: Pruning, *, dry_run: bool) -> None:
        self._pruning = pruning
        self._scope = scope = PruneScope(configuration, empty_sources=pruning.empty_sources)
        self.select, self.note_image = scope.select, scope.note_image
        self.pruned = Pruned(deletes=pruning.delete and not dry_run, settings=pruning.as_data())

    async def run(self, context: RunContext) -> None:
        """Prune; `pruned` has the errors of registries."""
        looks = {repository: PruneLook(repository, context) for repository in self._to_look_at()}
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
            deletion = PruneDeletion(context)
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
        """Return the repositories that rules own and in which nothing has failed; hold the others."""
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
        if self._pruning.plan is None:
            return await self._look_for(look)
        tags, manifests = self._pruning.plan[str(look.repository)]
        return await self._look_for(look, tags, frozenset(Digest(each) for each in manifests))

    async def _look_for(
        self,
        look: PruneLook,
        going: frozenset[tuple[str, str]] | None = None,
        only: frozenset[Digest] | None = None,
    ) -> RepositoryPrune | None:
        """Return what may be deleted, with `going` and `only` no other tags and manifests; hold the repository where
        that cannot be found.
        """
        selected = self._scope.selected(look.repository)

        def why(tag: str, digest: Digest) -> str | None:
            if tag in selected.tags:
                return ""
            reason = self._pruning.why_kept(tag, digest.hex)
            if reason is None and going is not None and (tag, digest) not in going:
                return "it is not in the plan"
            return reason

        keep = Keep(why, selected.digests, only, orphans=self._pruning.orphans)
        try:
            return await look.look(frozenset(selected.tags), keep, only or frozenset())
        except SyncError as error:
            located = error.located(repository=str(look.repository))
            self._hold(look.repository, str(located).splitlines()[0])
            return None

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
        """Delete what is in `first` and may still be deleted."""
        repository = look.repository
        open_tags = {each.tag: each for each in first.tags}
        open_manifests = {each.digest: each for each in first.manifests}
        going = frozenset((tag, str(digest)) for tag, digest in first.going_tags)
        while open_tags or open_manifests:
            rest = frozenset(open_manifests)
            now = await self._look_for(look, going, rest)
            if now is None:
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
        """Enter a deletion during which the run is ended: nothing says whether it was done."""
        try:
            yield
        except asyncio.CancelledError:
            reason = "the run was ended while this was deleted: it may be gone"
            self.pruned.deletions.append(Deletion(str(repository), str(digest), tags, "failed", reason, alone))
            raise


class PruneParts(RunParts):
    """The parts of a run that only prunes: images are selected, and nothing is copied."""

    kind = "prune"

    def __init__(self, configuration: Configuration, settings: Settings, *given: Any, **further: Any) -> None:
        self._pruning = settings.pruning or Pruning()
        super().__init__(configuration, replace(settings, pruning=self._pruning), *given, **further)

    def _new_ledger(self, on_image: Callable[[ImageResult], None] | None) -> Ledger:
        # Without the journal: that an image is selected says nothing of its destination.
        return Ledger(self.files.report, call_all(self.files.on_image, on_image))

    def _new_pruner(self) -> Pruner:
        return Pruner(self._configuration, self._pruning, dry_run=self._settings.dry_run)

    def _new_images(self, context: RunContext, _check: DestinationCheck | None) -> Images:
        return SelectedImages(context.ledger)

    def settings_data(self) -> dict[str, Any]:
        """Return the settings of the report."""
        return {"retries": self._settings.retries}


class PruneDeletion:
    """Deletes one tag or manifest at a time, each checked just before, and removes it from known blobs and the journal.

    DELETE of a digest deletes all tags on it, DELETE of a tag that tag alone, and registries may refuse both with 400
    or 405 (OCI distribution specification 1.1, section "Content Management"). distribution 2.8 takes digests only.
    """

    def __init__(self, context: RunContext) -> None:
        self._client = context.client
        self._endpoints = context.endpoints
        self._discovery = context.discovery
        self._publisher = context.publisher
        self._known_blobs = context.known_blobs
        self._journal = context.journal
        self._deletes_nothing: dict[str, SyncError] = {}
        self._deletes_no_tags: set[str] = set()

    async def delete_manifest(self, look: PruneLook, going: GoingManifest) -> Deletion:
        """Delete a manifest and the tags on it; nothing where one of the tags points elsewhere now."""
        try:
            for tag in going.tags:
                if (now := await look.head(tag)) not in (None, going.digest):
                    return _deletion(look, going, "left", _moved(tag, now))
            if (error := self._deletes_nothing.get(look.repository.registry)) is not None:
                raise error.changed()
            await self._revoke(look.repository, going.digest, going.tags)
            was_there = await self._delete_tagged(look.repository, going)
        except SyncError as error:
            return _deletion(look, going, "failed", error)
        for blob in look.blobs_of(going.digest):
            self._known_blobs.forget(look.repository, blob)
        look.forget(going.digest)
        return _deletion(look, going, "deleted" if was_there else "gone already", going.why)

    async def delete_tag(self, look: PruneLook, going: GoingTag) -> Deletion:
        """Delete a tag alone. Where the registry deletes its manifest or other tags too, put them back, and delete no
        further tag there.
        """
        repository = look.repository
        try:
            now = await look.head(going.tag)
            if now is None:
                return _deletion(look, going, "gone already", _SELECTS_NOT)
            if now != going.digest:
                return _deletion(look, going, "left", _moved(going.tag, now))
            if repository.registry in self._deletes_no_tags:
                return _deletion(look, going, "left", _DELETES_NO_TAGS)
            manifest = await self._discovery.get_destination(Reference(repository, None, going.digest))
            await self._revoke(repository, going.digest, (going.tag,))
            status, error = 0, None
            try:
                status = await self._ask(repository, going.tag, (*_DELETED, _ABSENT, *_NO_TAGS))
            except SyncError as caught:  # it may have been done all the same
                error = caught
            if await self._put_back(look, going, manifest):
                self._deletes_no_tags.add(repository.registry)
                return _deletion(look, going, "failed", _PUT_BACK)
            if error is not None:
                return _deletion(look, going, "failed", error)
            if status not in _DELETED and await look.head(going.tag) is not None:
                self._deletes_no_tags.add(repository.registry)
                return _deletion(look, going, "left", _DELETES_NO_TAGS)
        except SyncError as error:
            return _deletion(look, going, "failed", error)
        return _deletion(look, going, "deleted" if status in _DELETED else "gone already", _SELECTS_NOT)

    async def _put_back(self, look: PruneLook, going: GoingTag, manifest: Manifest) -> bool:
        """Put back the manifest and other tags that were deleted with the tag; return whether there were some."""
        lost = [tag for tag in going.staying if await look.head(tag) is None]
        by_digest = Reference(look.repository, None, going.digest)
        if not lost and await self._discovery.head_destination(by_digest, surely=True) is not None:
            return False
        for tag in lost or [str(going.digest)]:
            await self._publisher.put(look.repository, manifest, tag)
        return True

    async def _delete_tagged(self, repository: Repository, going: GoingManifest) -> bool:
        """Delete a manifest whose registry may want its tags deleted first; return whether it was there."""
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
            if error.status != _NOT_ALLOWED:
                raise
            refused = self._deletes_nothing[repository.registry] = error.changed(hint=_NO_DELETES)
            raise refused from error.__cause__
        return response.status

    async def _revoke(self, repository: Repository, digest: Digest, tags: tuple[str, ...]) -> None:
        """Remove it from the journal before it is deleted, so that a later run copies it again."""
        if self._journal is None:
            return
        for reference in (*(Reference(repository, tag, None) for tag in tags), Reference(repository, None, digest)):
            self._journal.revoke(reference)
        await self._journal.flush()


def _deletion(look: PruneLook, going: GoingManifest | GoingTag, outcome: str, reason: str | SyncError) -> Deletion:
    """Return the result for the report, and log it."""
    alone = isinstance(going, GoingTag)
    tags = (going.tag,) if isinstance(going, GoingTag) else going.tags
    if isinstance(reason, SyncError):
        reason = reason.located(repository=str(look.repository), reference=str(going.digest))
        why, error = str(reason).splitlines()[0], reason.to_data()
    else:
        why, error = reason, None
    deletion = Deletion(str(look.repository), str(going.digest), tags, outcome, why, alone, error)
    _log.info("prune", **deletion.as_data())
    return deletion


def _moved(tag: str, now: Digest | None) -> str:
    return f"the tag {tag} points at {now} by now"


class PruneScope:
    """Learns from a run what its rules select, and where something failed: nothing is deleted there.

    A rule that lets tags keep their names owns the repository that it writes to, with all its tags. A rule that names
    tags of the destination, or copies a digest, owns nothing: others may use the rest of the repository.
    """

    def __init__(self, configuration: Configuration, *, empty_sources: bool) -> None:
        self._empty_sources = empty_sources
        self._places: dict[str, Repository] = {}
        self._templates = {str(place): place.registry for each in configuration.catalogs for place in each.destinations}
        self._templates |= {catalog.written: catalog.registry for catalog in configuration.catalogs}
        self._owned: set[Repository] = set()
        self._only_named: set[Repository] = set()
        self._selected: dict[Repository, SelectedTags] = {}
        self._held: dict[Repository, str] = {}
        self._held_registries: dict[str, str] = {}
        self._held_everywhere: str | None = None
        for rule in configuration.rules:
            self._places[str(rule.source)] = rule.source
            for destination in rule.destinations:
                self._places[str(destination.repository)] = destination.repository
                owns = not destination.tags and destination.digest is None and rule.tags.digest is None
                (self._owned if owns else self._only_named).add(destination.repository)

    def select(self, planned: RequestedImage) -> None:
        """Note an image that a rule selects, at its destinations and at its source, which may be a destination too."""
        for reference in (planned.source, *planned.destinations):
            self._note(reference, str(planned.source))
        for destination in planned.destinations:
            if destination.repository not in self._only_named:
                self._owned.add(destination.repository)

    def _note(self, reference: Reference, source: str) -> None:
        repository = reference.repository
        self._places[str(repository)] = repository
        selected = self._selected.setdefault(repository, SelectedTags())
        if reference.digest is not None:
            selected.planned[source] = reference.digest
        elif reference.tag is not None:
            selected.tags.add(reference.tag)

    def note_image(self, result: ImageResult) -> None:
        """Note the end of an image, or of a rule without images."""
        repository, is_image = self._find(result.destination)
        is_empty = result.outcome is Outcome.SKIPPED and not is_image and not self._empty_sources
        if result.outcome.is_failure or is_empty:
            reason = f"{result.source}: {result.reason or result.outcome}"
            for place in (result.destination, *([result.source] if result.outcome.is_failure else [])):
                self._hold(place, reason)
        elif result.destination_digest is not None and "@" in result.destination and repository is not None:
            copied = self._selected.setdefault(repository, SelectedTags()).copied.setdefault(result.source, set())
            if result.outcome is not Outcome.PLANNED:  # where it is not yet
                copied.add(Digest(result.destination_digest))

    def _hold(self, place: str, reason: str) -> None:
        registry = self._templates.get(place)
        repository, _ = self._find(place)
        if registry is not None:  # of a rule for a whole registry, which may write to any repository there
            self._held_registries.setdefault(registry, reason)
        elif repository is not None:
            self._held.setdefault(repository, reason)
        else:
            self._held_everywhere = self._held_everywhere or reason

    def _find(self, name: str) -> tuple[Repository | None, bool]:
        """Return the repository in the name of an image or rule, and whether a tag or digest follows it."""
        head, at, _ = name.partition("@")
        base, colon, last = head.rpartition(":")
        is_tagged = bool(colon) and "/" not in last
        for text, is_image in ((name, False), (head, bool(at)), (base, True), (f"{base}:", True)):
            if (known := self._places.get(text)) is not None:
                return known, is_image
        registry, slash, path = (base if is_tagged else head).partition("/")
        found = None if is_place(name) or not slash else Repository(registry, path)
        return found, is_tagged or bool(at)

    @property
    def owned(self) -> list[Repository]:
        """The repositories that rules own, in order."""
        return sorted(self._owned)

    @property
    def only_named(self) -> list[Repository]:
        """The repositories to which rules write and that they do not own, in order."""
        return sorted(self._only_named - self._owned)

    def why_held(self, repository: Repository) -> str | None:
        """Return why nothing may be deleted in `repository`; None where it may."""
        held = self._held.get(repository) or self._held_registries.get(repository.registry)
        return held or self._held_everywhere or self._why_named_twice(repository)

    def _why_named_twice(self, repository: Repository) -> str | None:
        """Return why, if rules use two names of the registry: what they select by one is not selected by the other."""
        for registry in registry_names(repository.registry)[1:]:
            other = replace(repository, registry=registry)
            if other != repository and (other in self._owned or other in self._only_named or other in self._selected):
                return f"rules of these files mean the same repository by the name {other}: give it one name"
        return None

    def selected(self, repository: Repository) -> SelectedTags:
        """Return what rules select there. A layout has one index for all its repositories: what rules copy to any of
        them by digest stays.
        """
        found = self._selected.get(repository, SelectedTags())
        if not is_place(repository.registry):
            return found
        there = (each for place, each in self._selected.items() if place.registry == repository.registry)
        digests = frozenset[Digest]().union(*(each.digests for each in there))
        return SelectedTags(found.tags, {str(digest): digest for digest in digests})


class SelectedTags(Struct):
    """What rules select in one repository: tags, and digests by source image. `copied` are the digests under which a
    sync has copied them: with a choice of platforms, others than at the source.
    """

    tags: set[str] = field(default_factory=set)
    planned: dict[str, Digest] = field(default_factory=dict)
    copied: dict[str, set[Digest]] = field(default_factory=dict)

    @property
    def digests(self) -> frozenset[Digest]:
        """Every digest that has to be there."""
        planned = {digest for source, digest in self.planned.items() if source not in self.copied}
        return frozenset(planned.union(*self.copied.values()))


class SelectedImages:
    """Images with which nothing is done: their outcome is that they are selected."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(self, planned: RequestedImage) -> Coroutine[None, None, None]:
        """See `Images`."""
        for destination in planned.destinations:
            self._ledger.enter(ImageResult(str(planned.source), str(destination), Outcome.SELECTED))
        return _nothing()

    def close(self) -> None:
        """See `Images`: each has its outcome before its work begins."""


async def _nothing() -> None:
    """The work of an image that is only selected."""
