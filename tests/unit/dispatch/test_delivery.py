from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from image_syncer.dispatch.transfers import Delivery, Transfers
from image_syncer.errors import RefusedError, WorkerError
from image_syncer.oci import digest_of
from image_syncer.scheduling import Arrival, BlobLanded

if TYPE_CHECKING:
    from image_syncer.oci import Digest

A, B, C, OTHER = (digest_of(name) for name in (b"a", b"b", b"c", b"other"))


def landed(digest: Digest, arrival: Arrival = Arrival.MOVED, moved: int = 0, tries: int = 1) -> BlobLanded:
    return BlobLanded(7, digest, arrival, moved, tries)


def test_it_is_settled_when_the_last_blob_is_there() -> None:
    async def scenario() -> None:
        delivery = Delivery(7, {A, B, C})
        waiting = asyncio.ensure_future(delivery.settled())
        delivery.on_landed(landed(A, moved=10, tries=3))
        delivery.on_landed(landed(B, Arrival.MOUNTED))
        delivery.on_landed(landed(A, moved=10))  # told twice, counted once
        delivery.on_landed(landed(OTHER, moved=99))  # not ours
        await asyncio.sleep(0)
        assert not waiting.done()
        delivery.on_landed(landed(C, Arrival.PRESENT, tries=2))
        await waiting
        assert delivery.facts() == {
            "bytes_moved": 10,
            "blobs_moved": 1,
            "blobs_mounted": 1,
            "blobs_present": 1,
        }
        assert delivery.tries == 3

    asyncio.run(scenario())


def test_an_image_without_blobs_is_settled_at_once() -> None:
    asyncio.run(_settle_nothing())


async def _settle_nothing() -> None:
    await Delivery(7, set()).settled()


def test_the_first_failure_is_the_one_that_is_told() -> None:
    async def scenario() -> None:
        delivery = Delivery(7, {A, B})
        first = RefusedError("first")
        delivery.on_failed(first)
        delivery.on_failed(RefusedError("second"))
        delivery.on_landed(landed(A))
        delivery.on_landed(landed(B))
        with pytest.raises(RefusedError) as caught:
            await delivery.settled()
        assert caught.value is first

    asyncio.run(scenario())


def test_deliveries_that_fail_together_raise_errors_of_their_own() -> None:
    async def scenario() -> None:
        error = WorkerError("no worker is left")
        transfers = Transfers.__new__(Transfers)
        transfers._deliveries = {number: Delivery(number, {A}) for number in range(3)}
        transfers.on_pool_exhausted(error)
        later = Delivery(3, {A})
        transfers.deliver(later, [])
        for delivery in (*transfers._deliveries.values(), later):
            with pytest.raises(WorkerError, match="no worker is left") as caught:
                await delivery.settled()
            assert caught.value is not error
        assert error.__traceback__ is None

    asyncio.run(scenario())
