"""The rules of a run, one after the other: tags are listed, images begun, and none is left without an outcome.

Several sources into one repository: their tags are listed before anything begins, and must not collide.

The tags that a rule means, as the registry lists them.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from image_syncer.coordinator.crash import crash_reason
from image_syncer.coordinator.ending import DRAINED
from image_syncer.coordinator.guard import TaskWatch
from image_syncer.coordinator.parking import Parking, PlannedImage
from image_syncer.coordinator.rule_outcomes import RuleOutcomes, destinations_of
from image_syncer.errors import ConfigurationError, NotFoundError, Origin, Problem, SyncError
from image_syncer.net import InFlightLimit
from image_syncer.oci import PlatformFilter
from image_syncer.planning import BreakerState
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence

    from image_syncer.config import Rule, Settings
    from image_syncer.config.catalogs import CatalogRule
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.listings import Listings
    from image_syncer.coordinator.pause import Pause
    from image_syncer.coordinator.watchdog import Watchdog
    from image_syncer.net import RegistryHealth
    from image_syncer.oci import Reference
    from image_syncer.planning import Breaker

__all__ = ["OPEN_IMAGES", "Images", "MergedSources", "RuleRunner", "pages_of_tags"]


PILE = 1000
"""Tags that are compared with those selected so far at one time; as many as these, where they are more. Page by page, a
selection of the newest thousand would look at a thousand tags again for each page of ten.
"""


async def pages_of_tags(
    rule: Rule, listings: Listings, now: float
) -> AsyncGenerator[tuple[list[str], int, bool], None]:
    """Tags out of which `rule` selects, how many the registry listed for them, and whether they are the last. `now` is
    in Unix time.

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
                raise _too_few(len(kept), listed, least)
            yield kept, listed, last
            kept, listed, least = [], 0, 0  # there were enough, whatever comes


def _too_few(chosen: int, listed: int, least: int) -> SyncError:
    return SyncError(
        f"the rule means {chosen:,} of the {listed:,} tags that the registry lists, and wants {least:,} at least",
        origin=Origin.SOURCE,
        hint="See what is gone at the source, or lower `min_tags`.",
    )


LISTS_AT_ONCE = 16
"""As many as rules whose tags are listed otherwise."""
MOST_PROBLEMS = 20
"""That are told; of more, only the first."""

_Page = tuple[list[str], int, bool]


class MergedSources:
    """Lists the tags of such rules once, and hands out what was listed. `now` is in Unix time."""

    def __init__(self, listings: Listings, now: float) -> None:
        self._listings = listings
        self._now = now
        self._listed: dict[int, list[_Page] | SyncError] = {}

    def find(self, rules: Mapping[int, Rule]) -> dict[int, Rule]:
        """Those of `rules` that come from one list and share a repository, where tags have to be listed to compare."""
        groups: dict[tuple[str, str], list[int]] = {}
        for number, rule in rules.items():
            if rule.group is not None:
                for place in {str(destination.repository) for destination in rule.destinations}:
                    groups.setdefault((rule.group, place), []).append(number)
        merged = [
            number
            for numbers in groups.values()
            if len(numbers) > 1 and any(rules[one].tags.needs_listing for one in numbers)
            for number in numbers
        ]
        return {number: rules[number] for number in dict.fromkeys(merged)}

    async def look(self, rules: Mapping[int, Rule]) -> None:
        """List the tags of `rules`. Raises ConfigurationError where two of them write one place. What cannot be listed
        is told when its pages are asked for.
        """
        gate = asyncio.Semaphore(LISTS_AT_ONCE)
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
                        problems.append(_problem(rule, f"{source} and {other} would both go to {place}"))
        if problems:
            raise ConfigurationError(problems[:MOST_PROBLEMS])

    async def _look(self, number: int, rule: Rule, gate: asyncio.Semaphore) -> None:
        async with gate:
            try:
                async with aclosing(pages_of_tags(rule, self._listings, self._now)) as pages:
                    self._listed[number] = [page async for page in pages]
            except SyncError as error:
                self._listed[number] = error

    async def pages(self, number: int, rule: Rule) -> AsyncGenerator[_Page, None]:
        """As `pages_of_tags`, without asking again."""
        listed = self._listed.pop(number, None)
        if isinstance(listed, SyncError):
            raise listed
        if listed is not None:
            for page in listed:
                yield page
            return
        async with aclosing(pages_of_tags(rule, self._listings, self._now)) as pages:
            async for page in pages:
                yield page


def _problem(rule: Rule, what: str) -> Problem:
    file, _, line = rule.origin.rpartition(":")
    mend = "leave one of them out, or write ** in the destination for the name of each"
    if not line.isdigit():
        return Problem(rule.origin, None, None, what, mend)
    return Problem(file, int(line), None, what, mend)


OPEN_IMAGES = 256
"""Images under way at once: each holds its manifests in memory until it has an outcome."""
OPEN_RULES = 16
"""Rules whose tags are listed, or whose images are being begun, at once: each holds its list of tags in memory."""

GONE = "the registry lists the repository, and says that it is not there: it has no tags, or was deleted meanwhile"
"""Of a repository that a catalog rule found. distribution 2.8 lists those, too, that only blobs were pushed to (an
upload that was given up), and answers 404 to who asks for their tags.
"""

END_S = 10.0
"""What a task that was cancelled may take to end; it awaits nothing that takes so long."""


class Images(Protocol):
    """What is done with each image: it is copied, or verified."""

    def start(self, planned: PlannedImage) -> Coroutine[None, None, None]:
        """The work that brings one image to an outcome at each of its destinations."""

    def close(self) -> None:
        """Nothing runs any more: what has no outcome yet was not tried."""


class _Work(Struct, eq=False):
    """What was let through `gate`, and the registries that it needs. Where one of these is down, the place is `lent`
    to others: what waits for a registry must not keep the work of others waiting.
    """

    gate: InFlightLimit
    registries: frozenset[str]
    lent: bool = False

    def lend(self) -> None:
        if not self.lent:
            self.lent = True
            self.gate.leave()


class RuleRunner:
    """Brings every image of every rule to an outcome.

    What is under way when a registry goes down gives its place to others, so more than `OPEN_IMAGES` may then be under
    way: as many again for each registry that is down. What was not begun then is begun when the registry is back.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        listings: Listings,
        images: Images,
        ledger: Ledger,
        settings: Settings,
        *,
        ending: Ending,
        watchdog: Watchdog,
        health: RegistryHealth,
        pause: Pause,
        catalogs: Sequence[CatalogRule] = (),
    ) -> None:
        self._unresolved = dict(enumerate(rules))
        self._rules = self._written = len(self._unresolved)
        """Rules with a higher number come from the list of a registry."""
        self._catalogs = list(catalogs)
        self._listings = listings
        self._images = images
        self._ledger = ledger
        self._settings = settings
        self._ending = ending
        self._watchdog = watchdog
        self._health = health
        self._pause = pause
        self._breakers = health.breakers
        self._breakers.listen(self._on_breaker)
        self._outcomes = RuleOutcomes(ledger, self._breakers)
        self._parking = Parking(self._breakers, ledger, self._await_registry)
        self._works: set[_Work] = set()
        self._gate = InFlightLimit(OPEN_IMAGES)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._merged = MergedSources(listings, time.time())

    @property
    def rules_left(self) -> int:
        """Rules that are not resolved to images yet."""
        return len(self._unresolved) + len(self._catalogs)

    @property
    def rules_resolved(self) -> int:
        """Rules of which all images are known."""
        return self._rules - len(self._unresolved)

    async def run(self) -> None:
        """Returns when all have ended; where it is cancelled, what has not ended is entered as not tried.

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
                self._begin(_Work(gate, needed), self._run_rule(number, rule))
            while self._tasks:
                ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
                for task in ended:
                    task.result()  # raises what crashed it
        except BaseException as error:
            if isinstance(error, Exception):
                self._ending.reason = crash_reason(error)
            for task in self._tasks:
                task.cancel()
            await self._wait_for_ends()
            for catalog in self._catalogs:
                self._outcomes.leave(catalog, self._ending.reason)
            for rule in self._unresolved.values():
                self._outcomes.leave(rule, self._ending.reason)
            self._parking.close(self._ending.reason)
            self._images.close()
            raise

    async def _expand(self) -> None:
        """Catalog rules become rules for the repositories that are there."""
        from image_syncer.coordinator.catalogs import Expanded, expand_catalogs

        registry = self._catalogs[0].registry
        watch = TaskWatch(self._watchdog, f"catalog of {registry}", "lists repositories")
        watch.watched.excuse = self._watchdog.turn(registry)
        try:
            expanded = await expand_catalogs(self._catalogs, self._unresolved.values(), self._listings)
        except asyncio.CancelledError:
            if watch.error is None:
                raise
            expanded = Expanded(failed=tuple((catalog, watch.error.copy()) for catalog in self._catalogs))
        finally:
            watch.watched.leave()
        self._catalogs = []
        self._outcomes.enter_expanded(expanded)
        self._unresolved.update(enumerate(expanded.rules, len(self._unresolved)))
        self._rules += len(expanded.rules)

    async def _merge(self) -> None:
        """Tags of several sources that go into one repository are listed now, to see whether they collide."""
        rules = self._merged.find(self._unresolved)
        if not rules:
            return
        watch = TaskWatch(self._watchdog, "rules with several sources", "lists their tags")
        watch.watched.excuse = self._watchdog.turn(*{rule.source.registry for rule in rules.values()})
        try:
            await self._merged.look(rules)
        except asyncio.CancelledError:
            if watch.error is None:
                raise
            for number in rules:
                self._outcomes.fail(self._unresolved.pop(number), watch.error.copy())
        finally:
            watch.watched.leave()

    async def _wait_for_ends(self) -> None:
        """All tasks were cancelled; one that does not end all the same holds nobody up."""
        if self._tasks:
            ended, _ = await asyncio.wait(self._tasks, timeout=END_S)
            for task in ended:
                if not task.cancelled():
                    task.exception()  # what became of it, nobody asks

    async def _run_rule(self, number: int, rule: Rule) -> None:
        """Returns when all its images are begun: those of a page of tags before the next page is asked for."""
        begun = listed = 0
        if not await self._pause.may_begin():
            self._outcomes.leave(self._unresolved.pop(number), DRAINED)
            return
        if self._breakers.is_given_up(rule.source.registry):
            self._outcomes.enter_given_up(self._unresolved.pop(number))
            return
        wanted = PlatformFilter(platforms=rule.platforms) if rule.platforms else self._settings.platform_filter
        watch = TaskWatch(self._watchdog, f"rule {rule.source}", "lists tags")
        turn = watch.watched.excuse = self._watchdog.turn(rule.source.registry)
        try:
            async with aclosing(self._merged.pages(number, rule)) as pages:
                async for tags, seen, last in pages:
                    listed += seen
                    images = [
                        PlannedImage(
                            source,
                            destinations_of(rule, source, position),
                            wanted,
                            rule.referrers,
                            rule.only,
                            rule.pin,
                        )
                        for position, source in enumerate(rule.references(tags), begun)
                    ]
                    self._plan(images)
                    if last:
                        del self._unresolved[number]
                    begun += len(images)
                    watch.watched.enter("begins images", lambda _now: True)  # when others have ended
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

    def _plan(self, images: list[PlannedImage]) -> None:
        """From here on each of `images` is owed an outcome at each of its destinations."""
        for image in images:
            name = str(image.source)
            for destination in image.destinations:
                self._ledger.plan(name, str(destination))

    async def _begin_images(self, images: list[PlannedImage]) -> None:
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
                work = self._images.start(ready)
                self._begin(_Work(self._gate, ready.registries), work)
        except BaseException:
            self._parking.enter_not_tried(images[begun:], self._ending.reason)
            raise

    def _begin(self, place: _Work, work: Coroutine[None, None, None]) -> None:
        """Start `work`, which has been let through a gate and gives its place back when it ends."""
        self._works.add(place)
        if not place.registries.isdisjoint(self._breakers.troubled):
            place.lend()
        task = self._start(work)

        def on_done(_done: asyncio.Task[None]) -> None:
            self._works.discard(place)
            place.lend()

        task.add_done_callback(on_done)

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)

        def on_done(done: asyncio.Task[None]) -> None:
            # One that crashed stays, so that `run` raises what crashed it: nothing ends silently.
            if done.cancelled() or done.exception() is None:
                self._tasks.discard(done)

        task.add_done_callback(on_done)
        return task

    def _on_breaker(self, breaker: Breaker) -> None:
        if breaker.state is BreakerState.OPEN:
            for place in self._works:
                if breaker.registry in place.registries:
                    place.lend()

    def _await_registry(self, registry: str) -> None:
        self._start(self._resume(registry))

    async def _resume(self, registry: str) -> None:
        """Begin what waits for `registry` when it is back; where it was given up, that is the outcome."""
        await self._pause.unless_drained(self._health.settled(registry))
        await self._begin_images(self._parking.take(registry))


def _is_gone(error: SyncError) -> bool:
    """Whether a registry said itself, and no proxy before it, that it has no such repository."""
    return isinstance(error, NotFoundError) and not {"NAME_UNKNOWN", "NOT_FOUND"}.isdisjoint(error.codes)
