"""The runner of rules over images that are made up."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Configuration, Destination, Rule, Settings, TagSelection
from image_syncer.control.run_control import Pause
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.rules import OPEN_IMAGES, RuleRunner
from image_syncer.dispatch.watchdog import Watchdog
from image_syncer.oci import Repository
from image_syncer.scheduling import Breakers
from image_syncer.telemetry import Outcome
from support.run_context import made_up_context

if TYPE_CHECKING:
    from image_syncer.coordinator.open_image import RequestedImage

DOG = Watchdog(math.inf, on_hopeless=lambda _stuck: True)


class Images:
    """Images that end at once; the one under the tag `bad` by an internal error."""

    def __init__(self, bad: str) -> None:
        self._bad = bad
        self.closed = False

    async def start(self, planned: RequestedImage) -> None:
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
        context = made_up_context(
            settings=Settings(),
            ledger=Ledger(None, results.append),
            ending=SimpleNamespace(reason=""),
            watchdog=DOG,
        )
        health = SimpleNamespace(breakers=Breakers())
        runner = RuleRunner(context, Configuration((rule,)), images, health, Pause())  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            await runner.run()
        assert images.closed
        assert {result.outcome for result in results} <= {Outcome.NOT_TRIED}
        assert all(
            "an internal error of image-syncer ended the run: ZeroDivisionError" in str(one.reason) for one in results
        )

    asyncio.run(scenario())
