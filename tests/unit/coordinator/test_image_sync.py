"""One image over registries that are made up: who is waited for, and who is not."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace

from image_syncer.config import Settings
from image_syncer.coordinator.image_sync import ImageSync
from image_syncer.coordinator.ledger import Ledger
from image_syncer.coordinator.open_image import RequestedImage
from image_syncer.dispatch.watchdog import Watchdog
from image_syncer.errors import NotFoundError, UnavailableError
from image_syncer.oci import PlatformFilter, Reference, digest_of, parse_reference
from image_syncer.registry import ManifestHead
from image_syncer.telemetry import ImageResult, Outcome
from support.run_context import made_up_context

SOURCE = parse_reference("source.example/team/app:v1")
FAST, SLOW, BROKEN = (parse_reference(f"{name}.example/team/app:v1") for name in ("fast", "slow", "broken"))
DIGEST = digest_of(b"an image")
DOG = Watchdog(math.inf, on_hopeless=lambda _stuck: True)


class Registries:
    """The source answers when it is told to; one destination at once, one never, one with an error."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[ManifestHead] = asyncio.get_running_loop().create_future()
        self.given_up: list[Reference] = []

    def rewrites(self, _wanted: PlatformFilter, _media_type: str | None) -> bool:
        return False

    async def head_source(self, _reference: Reference) -> ManifestHead:
        return await self.answer

    async def head_destination(self, reference: Reference, *, surely: bool = False) -> object:
        if reference == BROKEN:
            raise UnavailableError("down")
        if reference == SLOW:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                self.given_up.append(reference)
                raise
        return DIGEST


def sync_of(registries: Registries, results: list[ImageResult]) -> ImageSync:
    context = made_up_context(
        settings=Settings(),
        discovery=registries,
        ledger=Ledger(None, results.append),
        journal=None,
        ending=SimpleNamespace(reason="it was over"),
        watchdog=DOG,
    )
    nothing, conflicts = SimpleNamespace(creates=False), SimpleNamespace(overwrites=True)
    return ImageSync(context, nothing, conflicts, nothing, nothing)  # type: ignore[arg-type]


def test_where_the_source_fails_no_destination_is_waited_for() -> None:
    async def scenario() -> None:
        registries, results = Registries(), []
        work = sync_of(registries, results).start(
            RequestedImage(
                SOURCE,
                (
                    FAST,
                    SLOW,
                    BROKEN,
                ),
                PlatformFilter(),
            )
        )
        running = asyncio.ensure_future(work)
        for _ in range(3):
            await asyncio.sleep(0)
        registries.answer.set_exception(NotFoundError("gone"))
        await running
        assert [result.outcome for result in results] == [Outcome.FAILED] * 3
        assert all("gone" in str(result.reason) for result in results)
        await asyncio.sleep(0)
        assert registries.given_up == [SLOW]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())


def test_a_destination_that_fails_leaves_the_others_alone() -> None:
    async def scenario() -> None:
        registries, results = Registries(), []
        registries.answer.set_result(ManifestHead(DIGEST, None, None))
        await sync_of(registries, results).start(
            RequestedImage(
                SOURCE,
                (
                    BROKEN,
                    FAST,
                ),
                PlatformFilter(),
            )
        )
        outcomes = {result.destination: result.outcome for result in results}
        assert outcomes == {str(BROKEN): Outcome.FAILED, str(FAST): Outcome.UNCHANGED}

    asyncio.run(scenario())


def test_a_run_that_is_broken_off_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        registries, results = Registries(), []
        images = sync_of(registries, results)
        running = asyncio.ensure_future(
            images.start(
                RequestedImage(
                    SOURCE,
                    (
                        FAST,
                        SLOW,
                    ),
                    PlatformFilter(),
                )
            )
        )
        for _ in range(3):
            await asyncio.sleep(0)
        registries.answer.set_result(ManifestHead(DIGEST, None, None))
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait((running,))
        images.close()
        assert registries.given_up == [SLOW]
        assert {result.outcome for result in results} == {Outcome.NOT_TRIED}
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
