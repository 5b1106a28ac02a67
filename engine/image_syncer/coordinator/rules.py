"""The rules of a run: tags are listed, images begun, and every rule gets an outcome."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct

from image_syncer.config import Rule
from image_syncer.config.model import CatalogRule
from image_syncer.coordinator.ledger import failed
from image_syncer.coordinator.open_image import RequestedImage, image_facts
from image_syncer.dispatch.ending import DRAINED, crash_reason
from image_syncer.dispatch.watchdog import TaskWatch
from image_syncer.errors import ConfigurationError, NotFoundError, Origin, Problem, ProtocolViolation, SyncError
from image_syncer.net import InFlightLimit
from image_syncer.oci import PlatformFilter
from image_syncer.scheduling import BreakerState
from image_syncer.telemetry import ImageResult, Outcome
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping

    from image_syncer.config import Configuration
    from image_syncer.control.run_control import Pause
    from image_syncer.coordinator.context import RunContext
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.discovery.catalogs import Expanded
    from image_syncer.discovery.listings import Listings
    from image_syncer.net import RegistryHealth
    from image_syncer.oci import Reference
    from image_syncer.scheduling import Breaker, Breakers


OPEN_IMAGES = 256
"""Images under way at once: each holds its manifests in memory until it has an outcome."""
OPEN_RULES = 16
"""Rules at once whose tags are listed, or whose images are begun: each holds its list of tags in memory."""
END_S = 10.0
"""Time for a cancelled task to end; none of them awaits anything that takes so long."""
PILE = 1000
"""Tags that are compared with those selected so far at one time; as many as these, where they are more. Page by page, a
selection of the newest thousand would compare a thousand tags again for each page of ten.
"""
MOST_PROBLEMS = 20
"""Collisions that are reported; of more, only the first."""
GONE = "the registry lists the repository, and says that it is not there: it has no tags, or was deleted meanwhile"
"""The reason of a repository that a catalog rule found. distribution 2.8 also lists repositories with blobs only (of an
upload that was given up), and answers 404 to requests for their tags.
"""

_Result = TypeVar("_Result")
_Page = tuple[list[str], int, bool]
"""Tags out of which a rule selects, the number that the registry listed for them, and whether they are the last."""


class Images(Protocol):
    """What a run does with each image: it copies or verifies it."""

    def start(self, planned: RequestedImage) -> Coroutine[None, None, None]:
        """Return the work that gives one image an outcome at each of its destinations."""

    def close(self) -> None:
        """Enter what has no outcome as not tried; nothing runs any more."""


class RuleOutcomes:
    """Plans and enters in the ledger what has no images: an entry for each destination of a rule."""

    def __init__(self, ledger: Ledger, breakers: Breakers) -> None:
        self._ledger = ledger
        self._breakers = breakers

    def enter_expanded(self, expanded: Expanded) -> None:
        """Enter the catalog rules, and the repositories, that did not become rules."""
        for catalog, error in expanded.failed:
            located = error.located(repository=catalog.registry, operation="list catalog")
            self._enter_error(catalog, catalog.written, located, rule_facts(catalog))
        for catalog, name in expanded.unusable:
            unusable = ProtocolViolation(
                f"the registry lists a repository whose name is not valid: {name}",
                origin=Origin.SOURCE,
                repository=catalog.registry,
                operation="list catalog",
            )
            self._enter_error(catalog, f"{catalog.registry}/{name}", unusable, {"unusable": True})
        for catalog in expanded.empty:
            self.enter(catalog, Outcome.SKIPPED, "no repository of the registry matches the rule")

    def fail(self, rule: Rule, error: SyncError) -> None:
        """Enter a rule whose tags cannot be listed."""
        located = error.located(repository=str(rule.source), operation="list tags")
        self._enter_error(rule, str(rule.source), located, rule_facts(rule))

    def enter_given_up(self, rule: Rule) -> None:
        """Enter a rule whose source registry was given up before its tags were listed."""
        down = self._breakers.of(rule.source.registry).down_error(Origin.SOURCE)
        error = down.located(repository=str(rule.source), operation="list tags")
        self._enter_error(rule, str(rule.source), error, rule_facts(rule), Outcome.NOT_TRIED)

    def leave(self, rule: Rule | CatalogRule, reason: str) -> None:
        """Enter as not tried the images of a rule that were not begun, or the rule where they are not known."""
        if isinstance(rule, CatalogRule) or rule.tags.needs_listing:
            self.enter(rule, Outcome.NOT_TRIED, reason, rule_facts(rule))
            return
        facts = image_facts(rule.platforms, rule.referrers, rule.only)
        for position, source in enumerate(rule.references()):
            for destination in destinations_of(rule, source, position):
                names = str(source), str(destination)
                self._ledger.plan(*names)
                self._ledger.enter(ImageResult(*names, Outcome.NOT_TRIED, reason=reason, rule=facts))

    def enter(
        self, rule: Rule | CatalogRule, outcome: Outcome, reason: str, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Enter a rule without images of its own."""
        source = str(rule.source) if isinstance(rule, Rule) else rule.written
        for destination in _repositories(rule):
            self._ledger.plan(source, destination)
            self._ledger.enter(ImageResult(source, destination, outcome, reason=reason, rule=facts))

    def _enter_error(
        self,
        rule: Rule | CatalogRule,
        source: str,
        error: SyncError,
        facts: Mapping[str, Any],
        outcome: Outcome = Outcome.FAILED,
    ) -> None:
        for destination in _repositories(rule):
            self._ledger.plan(source, destination)
            self._ledger.enter(failed(source, destination, error, outcome, rule=facts))


def destinations_of(rule: Rule, source: Reference, position: int) -> tuple[Reference, ...]:
    """Return the destinations of an image, each once."""
    return tuple(dict.fromkeys(destination.reference_for(source, position) for destination in rule.destinations))


def _repositories(rule: Rule | CatalogRule) -> list[str]:
    if isinstance(rule, CatalogRule):
        return [str(template) for template in rule.destinations]
    return list(dict.fromkeys(str(destination.repository) for destination in rule.destinations))


async def pages_of_tags(rule: Rule, listings: Listings, now: float) -> AsyncGenerator[_Page, None]:
    """Yield the pages of tags that `rule` selects, at the Unix time `now`.

    Raises SyncError where they cannot be listed, or are fewer than the rule wants at least.
    """
    if not rule.tags.needs_listing:
        yield [], 0, True
        return
    kept: list[str] = []
    pile: list[str] = []
    listed, least, created = 0, rule.tags.min_tags, rule.tags.created
    async with aclosing(listings.tags(rule.source)) as pages:
        async for tags, last in pages:
            if not rule.tags.compares:
                kept += rule.tags.select(tags)
            else:
                pile += tags
                if last or len(pile) >= max(PILE, len(kept)):
                    kept, pile = rule.tags.select([*kept, *pile]), []
            listed += len(tags)
            if not last and (rule.tags.compares or created is not None or len(kept) < least):
                continue
            if created is not None:
                kept = created.select(kept, await listings.times.find(rule.source, kept), now)
            if len(kept) < least:
                raise SyncError(
                    f"the rule means {len(kept):,} of the {listed:,} tags that the registry lists, and wants "
                    f"{least:,} at least",
                    origin=Origin.SOURCE,
                    hint="See what is gone at the source, or lower `min_tags`.",
                )
            yield kept, listed, last
            kept, listed, least = [], 0, 0  # there were enough: later pages may have any number


class MergedSources:
    """Rules with several sources for one repository: their tags are listed before anything begins, and must not
    collide. `pages` hands out what was listed.
    """

    def __init__(self, listings: Listings, now: float) -> None:
        self._listings = listings
        self._now = now
        self._listed: dict[int, list[_Page] | SyncError] = {}

    def find(self, rules: Mapping[int, Rule]) -> dict[int, Rule]:
        """Return the rules of one list that share a repository, where tags have to be listed to compare them."""
        groups: dict[tuple[str, str], list[int]] = {}
        for number, rule in rules.items():
            if rule.group is not None:
                for repository in {str(destination.repository) for destination in rule.destinations}:
                    groups.setdefault((rule.group, repository), []).append(number)
        merged = [
            number
            for numbers in groups.values()
            if len(numbers) > 1 and any(rules[one].tags.needs_listing for one in numbers)
            for number in numbers
        ]
        return {number: rules[number] for number in dict.fromkeys(merged)}

    async def look(self, rules: Mapping[int, Rule]) -> None:
        """List the tags of `rules`. Raises ConfigurationError where two of them write one reference. A rule whose tags
        cannot be listed fails when its pages are asked for.
        """
        gate = asyncio.Semaphore(OPEN_RULES)
        await asyncio.gather(*(self._look(number, rule, gate) for number, rule in rules.items()))
        written: dict[Reference, tuple[Reference, Rule]] = {}
        problems: list[Problem] = []
        for number, rule in rules.items():
            listed = self._listed[number]
            tags = [] if isinstance(listed, SyncError) else [tag for page in listed for tag in page[0]]
            for position, source in enumerate(rule.references(tags)):
                for place in destinations_of(rule, source, position):
                    other, its_rule = written.setdefault(place, (source, rule))
                    if its_rule.group == rule.group and other != source and place.digest is None:
                        problems.append(_collision(rule, f"{source} and {other} would both go to {place}"))
        if problems:
            raise ConfigurationError(problems[:MOST_PROBLEMS])

    def pages(self, number: int, rule: Rule) -> AsyncGenerator[_Page, None]:
        """Return the pages that were listed, or list them now; as `pages_of_tags`."""
        listed = self._listed.pop(number, None)
        return pages_of_tags(rule, self._listings, self._now) if listed is None else _pages_again(listed)

    async def _look(self, number: int, rule: Rule, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                async with aclosing(pages_of_tags(rule, self._listings, self._now)) as pages:
                    self._listed[number] = [page async for page in pages]
            except SyncError as error:
                self._listed[number] = error


async def _pages_again(listed: list[_Page] | SyncError) -> AsyncGenerator[_Page, None]:
    if isinstance(listed, SyncError):
        raise listed
    for page in listed:
        yield page


def _collision(rule: Rule, what: str) -> Problem:
    file, _, line = rule.origin.rpartition(":")
    place, number = (file, int(line)) if line.isdigit() else (rule.origin, None)
    return Problem(
        place, number, None, what, "leave one of them out, or write ** in the destination for the name of each"
    )


class _Work(Struct, eq=False):
    """Work that has passed `gate`, and the registries that it needs. Where one of these is down, its place is `lent` to
    others, so that work that waits for a registry does not hold up the rest.
    """

    gate: InFlightLimit
    registries: frozenset[str]
    lent: bool = False

    def lend(self) -> None:
        if not self.lent:
            self.lent = True
            self.gate.leave()


class RuleRunner:
    """Gives every image of every rule an outcome. `on_begin` is called with each image before it begins.

    Images under way whose registry goes down lend their places, so more than `OPEN_IMAGES` may then be under way: as
    many again for each registry that is down. Images that are not begun then are begun when the registry is back.
    """

    def __init__(
        self,
        context: RunContext,
        configuration: Configuration,
        images: Images,
        health: RegistryHealth,
        pause: Pause,
        on_begin: Callable[[RequestedImage], None] | None = None,
    ) -> None:
        self._unresolved = dict(enumerate(configuration.rules))
        self._rules = self._written = len(self._unresolved)
        """Rules with a higher number come from the list of a registry."""
        self._catalogs = list(configuration.catalogs)
        self._listings = context.listings
        self._ledger = context.ledger
        self._platforms = context.settings.platform_filter
        self._ending = context.ending
        self._watchdog = context.watchdog
        self._images = images
        self._on_begin = on_begin
        self._health = health
        self._pause = pause
        self._breakers = health.breakers
        self._breakers.listen(self._on_breaker)
        self._outcomes = RuleOutcomes(self._ledger, self._breakers)
        self._parking = Parking(self._breakers, self._ledger, self._await_registry)
        self._works: set[_Work] = set()
        self._gate = InFlightLimit(OPEN_IMAGES)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._merged = MergedSources(self._listings, time.time())

    @property
    def counts(self) -> tuple[int, int]:
        """The number of rules whose images are all known, and of the others."""
        unresolved = len(self._unresolved)
        return self._rules - unresolved, unresolved + len(self._catalogs)

    async def run(self) -> None:
        """Return once all images have ended. Where it is cancelled, what has not ended is entered as not tried.

        Raises ConfigurationError, before anything is begun, where repositories of catalog rules collide, or tags of
        several sources of one rule.
        """
        gate = InFlightLimit(OPEN_RULES)
        try:
            if self._catalogs:
                await self._expand()
            await self._merge()
            for number, rule in list(self._unresolved.items()):
                await gate.enter()
                needed = frozenset((rule.source.registry,)) if rule.tags.needs_listing else frozenset()
                self._begin(self._run_rule(number, rule), _Work(gate, needed))
            while self._tasks:
                ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
                for task in ended:
                    task.result()  # raises what crashed it
        except BaseException as error:
            if isinstance(error, Exception):
                self._ending.reason = crash_reason(error)
            await self._cancel_tasks()
            unfinished: list[Rule | CatalogRule] = [*self._catalogs, *self._unresolved.values()]
            for each in unfinished:
                self._outcomes.leave(each, self._ending.reason)
            self._parking.close(self._ending.reason)
            self._images.close()
            raise

    async def _cancel_tasks(self) -> None:
        """Cancel all tasks, and wait for their ends up to a bound."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            ended, _ = await asyncio.wait(self._tasks, timeout=END_S)
            for task in ended:
                if not task.cancelled():
                    task.exception()  # takes the error, which asyncio would log

    async def _expand(self) -> None:
        """Replace catalog rules by rules for the repositories that the registries list."""
        from image_syncer.discovery.catalogs import Expanded, expand_catalogs

        registry = self._catalogs[0].registry
        work = expand_catalogs(self._catalogs, self._unresolved.values(), self._listings)
        expanded = await self._watch(f"catalog of {registry}", "lists repositories", {registry}, work)
        if isinstance(expanded, SyncError):
            expanded = Expanded(failed=tuple((catalog, expanded) for catalog in self._catalogs))
        self._catalogs = []
        self._outcomes.enter_expanded(expanded)
        self._unresolved.update(enumerate(expanded.rules, len(self._unresolved)))
        self._rules += len(expanded.rules)

    async def _merge(self) -> None:
        """List the tags of several sources for one repository, and check that they do not collide."""
        rules = self._merged.find(self._unresolved)
        if not rules:
            return
        registries = {rule.source.registry for rule in rules.values()}
        work = self._merged.look(rules)
        error = await self._watch("rules with several sources", "lists their tags", registries, work)
        if error is not None:
            for number in rules:
                self._outcomes.fail(self._unresolved.pop(number), error)

    async def _watch(
        self, what: str, stage: str, registries: Iterable[str], work: Coroutine[None, None, _Result]
    ) -> _Result | SyncError:
        """Await `work`; return the error of the watchdog where it makes no progress."""
        watch = TaskWatch(self._watchdog, what, stage)
        watch.watched.excuse = self._watchdog.turn(*registries)
        try:
            return await work
        except asyncio.CancelledError:
            if watch.error is None:
                raise
            return watch.error
        finally:
            watch.watched.leave()

    async def _run_rule(self, number: int, rule: Rule) -> None:
        """Return once all images of the rule are begun: those of a page of tags before the next page is asked for."""
        if not await self._pause.may_begin():
            self._outcomes.leave(self._unresolved.pop(number), DRAINED)
            return
        if self._breakers.is_given_up(rule.source.registry):
            self._outcomes.enter_given_up(self._unresolved.pop(number))
            return
        begun = listed = 0
        watch = TaskWatch(self._watchdog, f"rule {rule.source}", "lists tags")
        turn = watch.watched.excuse = self._watchdog.turn(rule.source.registry)
        try:
            async with aclosing(self._merged.pages(number, rule)) as pages:
                async for tags, seen, last in pages:
                    listed += seen
                    images = self._plan(rule, tags, begun)
                    if last:
                        del self._unresolved[number]
                    begun += len(images)
                    watch.watched.enter("begins images", lambda _now: True)  # as others end
                    await self._begin_images(images)
                    if not last and not await self._pause.may_begin():
                        self._outcomes.leave(self._unresolved.pop(number), DRAINED)
                        return
                    watch.watched.enter("lists tags", turn)
        except SyncError as error:
            rule = self._unresolved.pop(number)
            if number >= self._written and not begun and not rule.tags.min_tags and _is_gone(error):
                self._outcomes.enter(rule, Outcome.SKIPPED, GONE)
            else:
                self._outcomes.fail(rule, error)
            return
        except asyncio.CancelledError:
            if watch.error is None or number not in self._unresolved:
                raise
            self._outcomes.fail(self._unresolved.pop(number), watch.error)
            return
        finally:
            watch.watched.leave()
        if not begun:
            what = "no tag of the repository matches the rule" if listed else "the repository has no tags"
            self._outcomes.enter(rule, Outcome.SKIPPED, what)

    def _plan(self, rule: Rule, tags: list[str], begun: int) -> list[RequestedImage]:
        """Return the images of a page of tags; from here on each is owed an outcome at each of its destinations."""
        wanted = PlatformFilter(platforms=rule.platforms) if rule.platforms else self._platforms
        images = [
            RequestedImage(source, destinations_of(rule, source, position), wanted, rule.referrers, rule.only, rule.pin)
            for position, source in enumerate(rule.references(tags), begun)
        ]
        for image in images:
            name = str(image.source)
            for destination in image.destinations:
                self._ledger.plan(name, str(destination))
        return images

    async def _begin_images(self, images: list[RequestedImage]) -> None:
        begun = 0
        try:
            for image in images:
                await self._gate.enter()
                if not await self._pause.may_begin():
                    self._gate.leave()
                    rest, begun = images[begun:], len(images)
                    self._parking.enter_not_tried(rest, DRAINED)
                    return
                begun += 1
                ready = self._parking.sort_out(image)
                if ready is None:
                    self._gate.leave()
                    continue
                if self._on_begin is not None:
                    self._on_begin(ready)
                self._begin(self._images.start(ready), _Work(self._gate, ready.registries))
        except BaseException:
            self._parking.enter_not_tried(images[begun:], self._ending.reason)
            raise

    def _begin(self, work: Coroutine[None, None, None], place: _Work | None = None) -> None:
        """Start `work`. It has passed a gate if it has a `place`, which it gives back when it ends."""
        if place is not None:
            self._works.add(place)
            if not place.registries.isdisjoint(self._breakers.troubled):
                place.lend()
        task = self._loop.create_task(work)
        self._tasks.add(task)

        def on_done(done: asyncio.Task[None]) -> None:
            # A task that crashed stays, so that `run` raises its error.
            if done.cancelled() or done.exception() is None:
                self._tasks.discard(done)
            if place is not None:
                self._works.discard(place)
                place.lend()

        task.add_done_callback(on_done)

    def _on_breaker(self, breaker: Breaker) -> None:
        if breaker.state is BreakerState.OPEN:
            for place in self._works:
                if breaker.registry in place.registries:
                    place.lend()

    def _await_registry(self, registry: str) -> None:
        self._begin(self._resume(registry))

    async def _resume(self, registry: str) -> None:
        """Begin the images that wait for `registry` when it is back; where it was given up, they end so."""
        await self._pause.unless_drained(self._health.settled(registry))
        await self._begin_images(self._parking.take(registry))


def _is_gone(error: SyncError) -> bool:
    """Return whether a registry itself, and no proxy before it, answers that it has no such repository."""
    return isinstance(error, NotFoundError) and not {"NAME_UNKNOWN", "NOT_FOUND"}.isdisjoint(error.codes)


def rule_facts(rule: Rule | CatalogRule) -> dict[str, Any]:
    """Return what `retry` needs to know of a rule whose tags, or repositories, are not known; empty for all of them."""
    facts: dict[str, Any] = image_facts(rule.platforms, rule.referrers, rule.only) or {}
    if isinstance(rule, CatalogRule):
        facts["catalog"] = {"pattern": rule.pattern, "exclude": list(rule.exclude)}
        if rule.exclude_regex is not None:
            facts["catalog"]["exclude_regex"] = rule.exclude_regex
        if rule.min_repositories:
            facts["catalog"]["min_repositories"] = rule.min_repositories
        if (flatten := rule.destinations[0].flatten) is not None:
            facts["catalog"]["flatten"] = flatten
    tags = rule.tags
    regexes = {"regex": tags.regex, "exclude_regex": tags.exclude_regex}
    facts |= {name: regex for name, regex in regexes.items() if regex is not None}
    if (versions := tags.versions) is not None:
        facts["versions"] = {name: getattr(versions, name) for name in ("within", "prereleases", "newest", "suffix")}
    if (created := tags.created) is not None:
        facts["created"] = {name: getattr(created, name) for name in ("newest", "after", "within_s")}
    if tags.min_tags:
        facts["min_tags"] = tags.min_tags
    facts |= {name: list(globs) for name, globs in (("include", tags.include), ("exclude", tags.exclude)) if globs}
    return facts


class Parking:
    """Holds images that wait for a registry, in little memory. `on_first(registry)` is called when the first waits."""

    def __init__(self, breakers: Breakers, ledger: Ledger, on_first: Callable[[str], None]) -> None:
        self._breakers = breakers
        self._ledger = ledger
        self._on_first = on_first
        self._parked: dict[str, list[RequestedImage]] = {}

    def sort_out(self, image: RequestedImage) -> RequestedImage | None:
        """Return what of `image` can begin now. Park what needs a registry that is down, and end what needs one that
        was given up.
        """
        troubled = self._breakers.troubled
        if not troubled:
            return image  # nearly always
        at_source = image.source.repository.registry
        held: dict[str, list[Reference]] = {}
        for destination in image.destinations:
            registry = destination.repository.registry
            if at_source in troubled or registry in troubled:
                held.setdefault(at_source if at_source in troubled else registry, []).append(destination)
        for registry, destinations in held.items():
            rest = replace(image, destinations=tuple(destinations))
            if self._breakers.is_given_up(registry):
                self._enter_given_up(rest, registry)
            else:
                if registry not in self._parked:
                    self._parked[registry] = []
                    self._on_first(registry)
                self._parked[registry].append(rest)
        ready = tuple(one for one in image.destinations if not any(one in some for some in held.values()))
        return replace(image, destinations=ready) if ready else None

    def take(self, registry: str) -> list[RequestedImage]:
        """Return the images that waited for `registry`; they wait no more."""
        return self._parked.pop(registry, [])

    def close(self, reason: str) -> None:
        """Enter the images that wait as not tried: the run ends."""
        for registry in list(self._parked):
            self.enter_not_tried(self.take(registry), reason)

    def enter_not_tried(self, images: Iterable[RequestedImage], reason: str) -> None:
        """Enter images that will not begin."""
        for image in images:
            for destination in image.destinations:
                result = ImageResult(
                    str(image.source), str(destination), Outcome.NOT_TRIED, reason=reason, rule=image.facts
                )
                self._ledger.enter(result)

    def _enter_given_up(self, image: RequestedImage, registry: str) -> None:
        is_source = image.source.repository.registry == registry
        for destination in image.destinations:
            where = image.source if is_source else destination
            down = self._breakers.of(registry).down_error(Origin.SOURCE if is_source else Origin.DESTINATION)
            error = down.located(repository=str(where.repository), reference=where.target)
            self._ledger.enter(failed(image.source, destination, error, Outcome.NOT_TRIED, rule=image.facts))
