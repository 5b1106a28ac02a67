"""The runner of rules over images that are made up."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Destination, Rule, Settings, TagSelection
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.pause import Pause
from image_syncer.coordinator.rules import OPEN_IMAGES, RuleRunner
from image_syncer.coordinator.watchdog import Watchdog
from image_syncer.oci import Repository
from image_syncer.planning import Breakers
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from image_syncer.coordinator.parking import PlannedImage

DOG = Watchdog(math.inf, on_hopeless=lambda _stuck: True)


class Images:
    """Images that end at once; the one under the tag `bad` by an internal error."""

    def __init__(self, bad: str) -> None:
        self._bad = bad
        self.closed = False

    async def start(self, planned: PlannedImage) -> None:
        if planned.source.tag == self._bad:
            raise ZeroDivisionError

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("bad", [0, OPEN_IMAGES, 3 * OPEN_IMAGES - 1])
def test_a_mistake_of_ours_ends_the_run_whenever_it_happens(bad: int) -> None:
    tags = tuple(f"t{number}" for number in range(3 * OPEN_IMAGES))
    rule = Rule(Repository("a.example", "x"), TagSelection(names=tags), (Destination(Repository("b.example", "x")),))

    async def scenario() -> None:
        images, results = Images(f"t{bad}"), []
        ending, ledger = SimpleNamespace(reason=""), Ledger(None, results.append)
        health = SimpleNamespace(breakers=Breakers())
        runner = RuleRunner(
            [rule],
            None,
            images,
            ledger,
            Settings(),
            ending=ending,
            watchdog=DOG,
            health=health,  # type: ignore[arg-type]
            pause=Pause(),
        )
        with pytest.raises(ZeroDivisionError):
            await runner.run()
        assert images.closed
        assert {result.outcome for result in results} <= {Outcome.NOT_TRIED}
        assert all(
            "an internal error of image-syncer ended the run: ZeroDivisionError" in str(one.reason) for one in results
        )

    asyncio.run(scenario())
