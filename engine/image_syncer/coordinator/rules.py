"""The rules of a run, one after the other: tags are listed, images begun, and none is left without an outcome."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from image_syncer.coordinator.ledger import failed
from image_syncer.errors import SyncError
from image_syncer.net import Gate
from image_syncer.oci import PlatformFilter
from image_syncer.telemetry import ImageResult, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Sequence

    from image_syncer.config import Rule, Settings
    from image_syncer.coordinator.discovery import Discovery
    from image_syncer.coordinator.ending import Ending
    from image_syncer.coordinator.image_sync import ImageSync
    from image_syncer.coordinator.ledger import Ledger
    from image_syncer.oci import Reference

__all__ = ["OPEN_IMAGES", "RuleRunner"]

OPEN_IMAGES = 256
"""Images under way at once: each holds its manifests in memory until it has an outcome."""
OPEN_RULES = 8
"""Rules whose tags are listed, or whose images are being begun, at once: each holds its list of tags in memory."""


class RuleRunner:
    """Brings every image of every rule to an outcome.

    `images_total` counts images and destinations that are known so far.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        discovery: Discovery,
        images: ImageSync,
        ledger: Ledger,
        settings: Settings,
        *,
        ending: Ending,
    ) -> None:
        self._unresolved = dict(enumerate(rules))
        self._discovery = discovery
        self._images = images
        self._ledger = ledger
        self._settings = settings
        self._ending = ending
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
                await asyncio.gather(*self._tasks)
        except BaseException:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for rule in self._unresolved.values():
                self._enter(rule, Outcome.NOT_TRIED, self._ending.reason)
            self._images.close()
            raise

    async def _run_rule(self, number: int, rule: Rule) -> None:
        """Returns when all its images are begun: those of a page of tags before the next page is asked for."""
        begun = listed = 0
        try:
            async with aclosing(self._pages(rule)) as pages:
                async for tags, last in pages:
                    listed += len(tags)
                    references = rule.references(tags)
                    self.images_total += len(references) * len(rule.destinations)
                    if last:
                        del self._unresolved[number]
                    await self._begin_images(rule, references, begun)
                    begun += len(references)
        except SyncError as error:
            del self._unresolved[number]
            error.located(repository=str(rule.source), operation="list tags")
            for destination in rule.destinations:
                self.images_total += 1
                self._ledger.enter(failed(str(rule.source), str(destination.repository), error))
            return
        if not begun:
            what = "no tag of the repository is meant by the rule" if listed else "the repository has no tags"
            self._enter(rule, Outcome.SKIPPED, what)

    async def _pages(self, rule: Rule) -> AsyncGenerator[tuple[list[str], bool], None]:
        if not rule.tags.needs_listing:
            yield [], True
            return
        async with aclosing(self._discovery.list_tags(rule.source)) as pages:
            async for page in pages:
                yield page

    async def _begin_images(self, rule: Rule, references: list[Reference], first: int) -> None:
        """Begin the images of `references`, which stand from position `first` on among the tags of the rule."""
        wanted = PlatformFilter(platforms=rule.platforms) if rule.platforms else self._settings.platform_filter
        begun = 0
        try:
            for number, source in enumerate(references):
                await self._gate.enter()
                begun = number + 1
                destinations = _destinations(rule, source, first + number)
                self._begin(self._gate, self._images.start(source, destinations, wanted))
        except BaseException:
            for number, source in enumerate(references[begun:], begun):
                for destination in _destinations(rule, source, first + number):
                    reason = self._ending.reason
                    self._ledger.enter(ImageResult(str(source), str(destination), Outcome.NOT_TRIED, reason=reason))
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

    def _enter(self, rule: Rule, outcome: Outcome, reason: str) -> None:
        """A rule without images of its own still has an entry for each destination: nothing ends silently."""
        for destination in rule.destinations:
            self.images_total += 1
            self._ledger.enter(ImageResult(str(rule.source), str(destination.repository), outcome, reason=reason))


def _destinations(rule: Rule, source: Reference, position: int) -> list[Reference]:
    return [destination.reference_for(source, position) for destination in rule.destinations]
