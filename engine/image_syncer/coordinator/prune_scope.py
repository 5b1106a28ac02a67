"""The scope of a prune: which destination repositories rules own, what they select there, and where something failed,
so that nothing there may be taken for unselected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from image_syncer.oci import Digest, Repository, is_place, registry_names
from image_syncer.telemetry import ImageResult, Outcome
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from image_syncer.config import Configuration
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.parking import PlannedImage
    from image_syncer.coordinator.rules import Images
    from image_syncer.oci import Reference

__all__ = ["PruneScope", "ScopedImages", "Selected", "SelectedImages", "listening"]


class Selected(Struct):
    """What rules select in one repository: tags, and digests, by the image that is brought so. `brought` are those
    under which a sync has brought them: with a choice of platforms, others than at the source.
    """

    tags: set[str] = field(default_factory=set)
    planned: dict[str, Digest] = field(default_factory=dict)
    brought: dict[str, set[Digest]] = field(default_factory=dict)

    @property
    def digests(self) -> frozenset[Digest]:
        """Every digest that has to be there."""
        planned = {digest for source, digest in self.planned.items() if source not in self.brought}
        return frozenset(planned.union(*self.brought.values()))


class PruneScope:
    """Learns from a run what its rules select, and what became of it.

    A rule that lets tags keep their names owns the repository that it writes to, with all its tags. One that names
    tags of the destination, or brings a digest, owns nothing: others may have the rest of the repository.
    """

    def __init__(self, configuration: Configuration, *, empty_sources: bool) -> None:
        self._empty_sources = empty_sources
        self._places: dict[str, Repository] = {}
        self._templates = {str(place): place.registry for each in configuration.catalogs for place in each.destinations}
        self._templates |= {catalog.written: catalog.registry for catalog in configuration.catalogs}
        self._owned: set[Repository] = set()
        self._only_named: set[Repository] = set()
        self._selected: dict[Repository, Selected] = {}
        self._held: dict[Repository, str] = {}
        self._held_registries: dict[str, str] = {}
        self._held_everywhere: str | None = None
        for rule in configuration.rules:
            self._places[str(rule.source)] = rule.source
            for destination in rule.destinations:
                self._places[str(destination.repository)] = destination.repository
                owns = not destination.tags and destination.digest is None and rule.tags.digest is None
                (self._owned if owns else self._only_named).add(destination.repository)

    def select(self, planned: PlannedImage) -> None:
        """An image has come up. What is a source of another rule is needed, too, wherever it is."""
        for reference in (planned.source, *planned.destinations):
            self._note(reference, str(planned.source))
        for destination in planned.destinations:
            if destination.repository not in self._only_named:
                self._owned.add(destination.repository)

    def _note(self, reference: Reference, source: str) -> None:
        repository = reference.repository
        self._places[str(repository)] = repository
        selected = self._selected.setdefault(repository, Selected())
        if reference.digest is not None:
            selected.planned[source] = reference.digest
        elif reference.tag is not None:
            selected.tags.add(reference.tag)

    def on_result(self, result: ImageResult) -> None:
        """An image has ended, or a rule that has none."""
        repository, is_image = self._find(result.destination)
        is_empty = result.outcome is Outcome.SKIPPED and not is_image and not self._empty_sources
        if result.outcome.is_failure or is_empty:
            reason = f"{result.source}: {result.reason or result.outcome}"
            for place in (result.destination, *([result.source] if result.outcome.is_failure else [])):
                self._hold(place, reason)
        elif result.destination_digest is not None and "@" in result.destination and repository is not None:
            brought = self._selected.setdefault(repository, Selected()).brought.setdefault(result.source, set())
            if result.outcome is not Outcome.PLANNED:  # where it is not yet
                brought.add(Digest(result.destination_digest))

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
        """The repository in the name of an image, or of a rule, and whether a tag or digest follows it."""
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
        """Those to which rules write, and that they do not own."""
        return sorted(self._only_named - self._owned)

    def why_held(self, repository: Repository) -> str | None:
        """Why nothing may be pruned in `repository`, or None."""
        held = self._held.get(repository) or self._held_registries.get(repository.registry)
        return held or self._held_everywhere or self._why_named_twice(repository)

    def _why_named_twice(self, repository: Repository) -> str | None:
        """What rules bring under one of its names is not selected under the other."""
        for registry in registry_names(repository.registry)[1:]:
            other = replace(repository, registry=registry)
            if other != repository and (other in self._owned or other in self._only_named or other in self._selected):
                return f"rules of these files mean the same repository by the name {other}: give it one name"
        return None

    def selected(self, repository: Repository) -> Selected:
        """What rules select there. A place has one index for all its repositories: what rules bring by digest to any of
        them has to stay in it.
        """
        found = self._selected.get(repository, Selected())
        if not is_place(repository.registry):
            return found
        there = (each for place, each in self._selected.items() if place.registry == repository.registry)
        digests = frozenset[Digest]().union(*(each.digests for each in there))
        return Selected(found.tags, {str(digest): digest for digest in digests})


class ScopedImages:
    """Images of a run that are told to a scope as they come up."""

    def __init__(self, images: Images, scope: PruneScope) -> None:
        self._images = images
        self._scope = scope

    def start(self, planned: PlannedImage) -> Coroutine[None, None, None]:
        """See `Images`."""
        self._scope.select(planned)
        return self._images.start(planned)

    def close(self) -> None:
        """See `Images`."""
        self._images.close()


class SelectedImages:
    """Images with which nothing is done: that they are selected is all there is to know."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(self, planned: PlannedImage) -> Coroutine[None, None, None]:
        """See `Images`."""
        for destination in planned.destinations:
            self._ledger.enter(ImageResult(str(planned.source), str(destination), Outcome.SELECTED))
        return _nothing()

    def close(self) -> None:
        """See `Images`: each has its outcome as soon as it is begun, so none is left."""


async def _nothing() -> None:
    """What is left to do for an image that is only to be known."""


def listening(scope: PruneScope, on_image: Callable[[ImageResult], Any] | None) -> Callable[[ImageResult], None]:
    """What a run tells of each image that ends, told to `scope` first."""

    def tell(result: ImageResult) -> None:
        scope.on_result(result)
        if on_image is not None:
            on_image(result)

    return tell
