"""The book over connections that are made up: what is tried again, and whose error it is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pycurl
import pytest

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.errors import Origin, SyncError
from image_syncer.net import EndpointBook, Timeouts
from image_syncer.net.handles import HandlePool
from image_syncer.planning import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

REFUSED = (pycurl.E_COULDNT_CONNECT, "refused")
OPEN = (0, "")


def book_of(answers: Iterable[tuple[int, str]], *, tries: int = 3) -> EndpointBook:
    """A book whose connections end with `answers`, one after the other: HTTPS, then HTTP."""
    left = iter(answers)

    async def perform(_easy: pycurl.Curl) -> tuple[int, str]:
        return next(left)

    transport = SimpleNamespace(driver=SimpleNamespace(perform=perform), handles=HandlePool(), timeouts=Timeouts())
    registries = RegistryBook([RegistryEntry("127.0.0.1:1", None, insecure=True)])
    return EndpointBook(
        transport,  # type: ignore[arg-type]
        registries,
        retry=RetryPolicy(tries=tries),
        chance=lambda: 0.0,
    )


def test_a_registry_that_does_not_answer_yet_is_tried_again() -> None:
    book = book_of([REFUSED, REFUSED, REFUSED, OPEN])
    endpoint = asyncio.run(book.resolve("127.0.0.1:1", Origin.SOURCE))
    assert endpoint.base_url == "http://127.0.0.1:1"


def test_whoever_waits_gets_an_error_of_its_own() -> None:
    async def scenario() -> None:
        book = book_of([REFUSED] * 4, tries=2)
        sides = (Origin.SOURCE, Origin.DESTINATION)
        errors = await asyncio.gather(*(book.resolve("127.0.0.1:1", side) for side in sides), return_exceptions=True)
        assert all(isinstance(error, SyncError) for error in errors)
        one, other = errors
        assert one is not other
        assert [(error.origin, error.tries) for error in errors] == [(side, 2) for side in sides]  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_an_error_is_not_remembered() -> None:
    async def scenario() -> None:
        book = book_of([REFUSED, REFUSED, OPEN], tries=1)
        assert book.known("127.0.0.1:1") is None
        with pytest.raises(SyncError):
            await book.resolve("127.0.0.1:1", Origin.SOURCE)
        assert book.known("127.0.0.1:1") is None
        assert (await book.resolve("127.0.0.1:1", Origin.SOURCE)).base_url == "https://127.0.0.1:1"
        known = book.known("127.0.0.1:1")
        assert known is not None
        assert known is await book.resolve("127.0.0.1:1", Origin.DESTINATION)

    asyncio.run(scenario())
