"""The rules of a run, one after the other: tags are listed, images begun, and none is left without an outcome."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from image_syncer.coordinator.crash import crash_reason
from image_syncer.coordinator.guard import TaskWatch
from image_syncer.coordinator.ledger import failed
from image_syncer.coordinator.retry_facts import image_facts, rule_facts
from image_syncer.errors import SyncError
from image_syncer.net import Gate
from image_syncer.oci import PlatformFilter, Reference
from image_syncer.telemetry import ImageResult, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence

    from image_syncer.config import Rule, Settings
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.coordinator.watchdog import Watchdog

    _Image = tuple[Reference, list[Reference]]

__all__ = ["OPEN_IMAGES", "Images", "RuleRunner"]

OPEN_IMAGES = 256
"""Images under way at once: each holds its manifests in memory until it has an outcome."""
OPEN_RULES = 8
"""Rules whose tags are listed, or whose images are being begun, at once: each holds its list of tags in memory."""

END_S = 10.0
"""What a task that was cancelled may take to end; it awaits nothing that takes so long."""


class Images(Protocol):
    """What is done with each image: it is copied, or verified."""

    def start(
        self, source: Reference, destinations: list[Reference], wanted: PlatformFilter
    ) -> Coroutine[None, None, None]:
        """The work that brings one image to an outcome at each of its destinations."""

    def close(self) -> None:
        """Nothing runs any more: what has no outcome yet was not tried."""


class RuleRunner:
    """Brings every image of every rule to an outcome.

    `images_total` counts images and destinations that are known so far.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        discovery: Discovery,
        images: Images,
        ledger: Ledger,
        settings: Settings,
        *,
        ending: Ending,
        dog: Watchdog,
    ) -> None:
        self._unresolved = dict(enumerate(rules))
        self._discovery = discovery
        self._images = images
        self._ledger = ledger
        self._settings = settings
        self._ending = ending
        self._dog = dog
        self._gate = Gate(OPEN_IMAGES)
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.images_total = 0

    @property
    def rules_left(self) -> int:
        """Rules that are not resolved to images yet."""
        return len(self._unresolved)

    async def run(self) -> None:
        """Returns when all have ended; where it is cancelled, what has not ended is entered as not tried."""
        gate = Gate(OPEN_RULES)
        try:
            for number, rule in list(self._unresolved.items()):
                await gate.enter()
                self._begin(gate, self._run_rule(number, rule))
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
            for rule in self._unresolved.values():
                self._leave(rule)
            self._images.close()
            raise

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
        watch = TaskWatch(self._dog, f"rule {rule.source}", "lists tags")
        turn = watch.watched.excuse = self._dog.turn(rule.source.registry)
        try:
            async with aclosing(self._pages(rule)) as pages:
                async for tags, last in pages:
                    listed += len(tags)
                    images = [
                        (source, _destinations(rule, source, position))
                        for position, source in enumerate(rule.references(tags), begun)
                    ]
                    self._plan(images)
                    if last:
                        del self._unresolved[number]
                    begun += len(images)
                    watch.watched.enter("begins images", lambda _now: True)  # when others have ended
                    await self._begin_images(rule, images)
                    watch.watched.enter("lists tags", turn)
        except SyncError as error:
            self._fail(number, rule, error)
            return
        except asyncio.CancelledError:
            if watch.error is None or number not in self._unresolved:
                raise
            self._fail(number, rule, watch.error)
            return
        finally:
            watch.watched.leave()
        if not begun:
            what = "no tag of the repository is meant by the rule" if listed else "the repository has no tags"
            self._enter(rule, Outcome.SKIPPED, what)

    def _fail(self, number: int, rule: Rule, error: SyncError) -> None:
        """The tags of a rule cannot be listed."""
        del self._unresolved[number]
        error.located(repository=str(rule.source), operation="list tags")
        for destination in _repositories(rule):
            self._plan_one(str(rule.source), destination)
            self._ledger.enter(failed(str(rule.source), destination, error, rule=rule_facts(rule)))

    async def _pages(self, rule: Rule) -> AsyncGenerator[tuple[list[str], bool], None]:
        if not rule.tags.needs_listing:
            yield [], True
            return
        async with aclosing(self._discovery.list_tags(rule.source)) as pages:
            async for page in pages:
                yield page

    def _plan(self, images: list[_Image]) -> None:
        """From here on each of `images` is owed an outcome at each of its destinations."""
        for source, destinations in images:
            name = str(source)
            for destination in destinations:
                self._plan_one(name, str(destination))

    def _plan_one(self, source: str, destination: str) -> None:
        self.images_total += 1
        self._ledger.plan(source, destination)

    async def _begin_images(self, rule: Rule, images: list[_Image]) -> None:
        wanted = PlatformFilter(platforms=rule.platforms) if rule.platforms else self._settings.platform_filter
        begun = 0
        try:
            for source, destinations in images:
                await self._gate.enter()
                begun += 1
                self._begin(self._gate, self._images.start(source, destinations, wanted))
        except BaseException:
            reason = self._ending.reason
            for source, destinations in images[begun:]:
                for destination in destinations:
                    result = ImageResult(str(source), str(destination), Outcome.NOT_TRIED, reason=reason)
                    self._ledger.enter(replace(result, rule=image_facts(rule.platforms)))
            raise

    def _begin(self, gate: Gate, work: Coroutine[None, None, None]) -> None:
        """Start `work`, which has been let through `gate` and gives its place back when it ends."""
        task = self._loop.create_task(work)
        self._tasks.add(task)

        def on_done(done: asyncio.Task[None]) -> None:
            gate.leave()
            # One that crashed stays, so that `run` raises what crashed it: nothing ends silently.
            if done.cancelled() or done.exception() is None:
                self._tasks.discard(done)

        task.add_done_callback(on_done)

    def _leave(self, rule: Rule) -> None:
        """Not all of the rule was tried: its images are entered, or the rule where they are not known.

        Of one whose tags are listed, those that were begun have entries of their own.
        """
        if rule.tags.needs_listing:
            self._enter(rule, Outcome.NOT_TRIED, self._ending.reason, rule_facts(rule))
            return
        facts = image_facts(rule.platforms)
        for position, source in enumerate(rule.references()):
            for destination in _destinations(rule, source, position):
                self._plan_one(str(source), str(destination))
                result = ImageResult(str(source), str(destination), Outcome.NOT_TRIED, reason=self._ending.reason)
                self._ledger.enter(replace(result, rule=facts))

    def _enter(self, rule: Rule, outcome: Outcome, reason: str, facts: Mapping[str, Any] | None = None) -> None:
        """A rule without images of its own still has an entry for each destination: nothing ends silently."""
        source = str(rule.source)
        for destination in _repositories(rule):
            self._plan_one(source, destination)
            self._ledger.enter(ImageResult(source, destination, outcome, reason=reason, rule=facts))


def _destinations(rule: Rule, source: Reference, position: int) -> list[Reference]:
    """Where an image goes, each place once, whatever was written twice."""
    return list(dict.fromkeys(destination.reference_for(source, position) for destination in rule.destinations))


def _repositories(rule: Rule) -> list[str]:
    return list(dict.fromkeys(str(destination.repository) for destination in rule.destinations))
