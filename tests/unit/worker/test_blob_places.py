"""Mirrors are asked in their order, then the registry itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, UnavailableError
from image_syncer.net.client import Mirrors
from image_syncer.oci import Repository
from image_syncer.registry import Endpoint
from image_syncer.worker.download import BlobPlaces
from image_syncer.worker.protocol import Place

if TYPE_CHECKING:
    from collections.abc import Callable


def place(name: str) -> Place:
    return Place.of(Endpoint(name, f"https://{name}"), Repository(name, "app"))


FIRST, SECOND, ITSELF = place("first.example"), place("second.example"), place("registry.example")


def run(scenario: Callable[[BlobPlaces, Mirrors], None]) -> None:
    async def inside() -> None:
        mirrors = Mirrors()
        scenario(BlobPlaces((FIRST, SECOND, ITSELF), mirrors), mirrors)

    asyncio.run(inside())


def test_whatever_goes_wrong_with_a_mirror_the_next_is_asked() -> None:
    def scenario(places: BlobPlaces, mirrors: Mirrors) -> None:
        places.came(7)
        error = UnavailableError("no")
        assert [places.leave(error, wrong_bytes=False) for _ in range(3)] == [None, None, error]
        assert (places.here, places.others) == (ITSELF, [])
        assert mirrors.take_counts() == {"first.example": [7, 1], "second.example": [0, 1]}

    run(scenario)


def test_wrong_bytes_are_not_begun_again_and_say_whose_they_were() -> None:
    def scenario(places: BlobPlaces, mirrors: Mirrors) -> None:
        error = places.leave(IntegrityError("wrong"), wrong_bytes=True)
        assert error is not None
        assert "first.example" in str(error.hint)
        assert mirrors.take_counts() == {"first.example": [0, 1]}

    run(scenario)


def test_a_mirror_that_failed_lately_is_passed_over() -> None:
    def scenario(places: BlobPlaces, mirrors: Mirrors) -> None:
        places.pass_over()
        assert places.here is FIRST
        now = asyncio.get_running_loop().time()
        mirrors.failed("first.example", UnavailableError("no"), now)
        mirrors.failed("second.example", UnavailableError("no"), now)
        places.pass_over()
        assert (places.here, places.others) == (ITSELF, [])

    run(scenario)


def test_the_registry_itself_is_never_passed_over() -> None:
    async def inside() -> None:
        mirrors = Mirrors()
        mirrors.failed("registry.example", UnavailableError("no"), asyncio.get_running_loop().time())
        places = BlobPlaces((ITSELF,), mirrors)
        places.pass_over()
        assert places.here is ITSELF

    asyncio.run(inside())
