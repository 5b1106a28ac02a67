"""The mover, whose uploads are asked for by doubles: what comes in the same moment in which nobody wants the blob."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from image_syncer.errors import SyncError
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import Endpoint
from image_syncer.transfer import Signals
from image_syncer.worker.context import WorkerContext
from image_syncer.worker.messages import LeaseJob, Place, TargetPlace
from image_syncer.worker.mover import Mover
from image_syncer.worker.upload import Upload

DIGEST = digest_of(b"blob")
ENDPOINT = Endpoint("r.example", "http://r.example")
APP = Repository("r.example", "app")
TARGET = TargetPlace(Place.of(ENDPOINT, APP), APP.name)
LEASE = LeaseJob(1, DIGEST, 4, Place.of(ENDPOINT, APP), (TARGET, TARGET))
SIGNALS = Signals(pause_receive=-2, pause_send=-3, abort_send=-4)
TERMS = WorkerContext(SIGNALS, stall_s=60.0, answer_s=60.0, chance=lambda: 0.0, clock=lambda: 0.0)


@pytest.mark.parametrize("answer", [True, False, SyncError("no")], ids=["present", "session", "refused"])
def test_a_destination_that_answers_when_the_blob_is_abandoned(
    monkeypatch: pytest.MonkeyPatch, answer: bool | SyncError
) -> None:
    async def scenario() -> None:
        answered: list[asyncio.Future[bool]] = []

        async def opens(_self: Upload, _size: int) -> bool:
            answered.append(asyncio.get_running_loop().create_future())
            return await answered[-1]

        monkeypatch.setattr(Upload, "open", opens)
        client: Any = SimpleNamespace(mirrors=None)
        windows: Any = SimpleNamespace()
        mover = Mover(client, LEASE, DIGEST, windows, TERMS)
        running = asyncio.ensure_future(mover.run())
        while len(answered) < 2:
            await asyncio.sleep(0)
        if isinstance(answer, SyncError):
            answered[0].set_exception(answer)
        else:
            answered[0].set_result(answer)
        mover.abandon(SyncError("no longer needed"))
        results = await running
        assert [str(result.error) for result in results] == ["no longer needed"] * 2

    asyncio.run(scenario())
