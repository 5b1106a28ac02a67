"""The book over connections that are made up: what is tried again, and whose error it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pycurl
import pytest

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.errors import Origin, SyncError
from image_syncer.net import EndpointBook, Timeouts
from image_syncer.net.endpoints import ANSWERS_LOOKED_AT
from image_syncer.registry import GENERIC, PROFILES, Headers, Response, build_ping
from image_syncer.scheduling import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.registry import Endpoint, Profile, Request

REFUSED = (pycurl.E_COULDNT_CONNECT, "refused")
OPEN = (0, "")


class Made(NamedTuple):
    book: EndpointBook
    transport: Any


HERE = "127.0.0.1:1"


def book_of(
    answers: Iterable[tuple[int, str]], *, tries: int = 3, profile: Profile | None = None, registry: str = HERE
) -> Made:
    """A book whose connections end with `answers`, one after the other: HTTPS, then HTTP."""
    left = iter(answers)

    async def perform(_easy: pycurl.Curl) -> tuple[int, str]:
        return next(left)

    transport = SimpleNamespace(driver=SimpleNamespace(perform=perform), timeouts=Timeouts())
    registries = RegistryBook([RegistryEntry(registry, None, insecure=True, profile=profile)])
    book = EndpointBook(
        transport,  # type: ignore[arg-type]
        registries,
        retry=RetryPolicy(tries=tries),
        chance=lambda: 0.0,
    )
    return Made(book, transport)


def test_a_registry_that_does_not_answer_yet_is_tried_again() -> None:
    book = book_of([REFUSED, REFUSED, REFUSED, OPEN]).book
    endpoint = asyncio.run(book.resolve("127.0.0.1:1", Origin.SOURCE))
    assert endpoint.base_url == "http://127.0.0.1:1"


def test_whoever_waits_gets_an_error_of_its_own() -> None:
    async def scenario() -> None:
        book = book_of([REFUSED] * 4, tries=2).book
        sides = (Origin.SOURCE, Origin.DESTINATION)
        errors = await asyncio.gather(*(book.resolve("127.0.0.1:1", side) for side in sides), return_exceptions=True)
        assert all(isinstance(error, SyncError) for error in errors)
        one, other = errors
        assert one is not other
        assert [(error.origin, error.tries) for error in errors] == [(side, 2) for side in sides]  # type: ignore[union-attr]

    asyncio.run(scenario())


def test_an_error_is_not_remembered() -> None:
    async def scenario() -> None:
        book = book_of([REFUSED, REFUSED, OPEN], tries=1).book
        assert book.known("127.0.0.1:1") is None
        with pytest.raises(SyncError):
            await book.resolve("127.0.0.1:1", Origin.SOURCE)
        assert book.known("127.0.0.1:1") is None
        assert (await book.resolve("127.0.0.1:1", Origin.SOURCE)).base_url == "https://127.0.0.1:1"
        known = book.known("127.0.0.1:1")
        assert known is not None
        assert known is await book.resolve("127.0.0.1:1", Origin.DESTINATION)

    asyncio.run(scenario())


def answer_of(
    endpoint: Endpoint, *fields: tuple[str, str], url: str = "", status: int = 401
) -> tuple[Request, Endpoint, Response]:
    request = build_ping(endpoint)
    return request, endpoint, Response(status, Headers(fields), b"", url or request.url)


def test_a_registry_is_recognised_by_its_answers() -> None:
    async def scenario() -> None:
        book = book_of([OPEN, OPEN])
        look_at = book.transport.on_answer
        endpoint = await book.book.resolve("127.0.0.1:1", Origin.SOURCE)
        assert endpoint.profile is GENERIC
        look_at(*answer_of(endpoint, ("Server", "nginx")))
        look_at(*answer_of(endpoint, ("Server", "Nexus/3.52.0-01 (OSS)"), url="https://elsewhere.example/v2/"))
        assert book.book.known("127.0.0.1:1") is endpoint
        look_at(*answer_of(endpoint, ("WWW-Authenticate", 'Basic realm="harbor"')))
        found = book.book.known("127.0.0.1:1")
        assert found == replace(endpoint, profile=PROFILES["harbor"])
        look_at(*answer_of(endpoint, ("Server", "Nexus/3.52.0-01 (OSS)")))
        assert await book.book.resolve("127.0.0.1:1", Origin.SOURCE) is found

    asyncio.run(scenario())


def test_a_profile_that_the_user_names_stays() -> None:
    async def scenario() -> None:
        book = book_of([OPEN], profile=GENERIC)
        endpoint = await book.book.resolve("127.0.0.1:1", Origin.SOURCE)
        book.transport.on_answer(*answer_of(endpoint, ("Server", "Nexus/3.52.0-01 (OSS)")))
        assert book.book.known("127.0.0.1:1") is endpoint

    asyncio.run(scenario())


def test_a_registry_that_does_not_show_what_it_is_is_looked_at_no_more() -> None:
    async def scenario() -> None:
        book = book_of([OPEN])
        endpoint = await book.book.resolve("127.0.0.1:1", Origin.SOURCE)
        for _ in range(ANSWERS_LOOKED_AT):
            book.transport.on_answer(*answer_of(endpoint))
        book.transport.on_answer(*answer_of(endpoint, ("Server", "Nexus/3.52.0-01 (OSS)")))
        assert book.book.known("127.0.0.1:1") is endpoint

    asyncio.run(scenario())


def test_a_name_that_tells_is_believed_rather_than_an_answer() -> None:
    async def scenario() -> None:
        book = book_of([OPEN], registry="ghcr.io")
        endpoint = await book.book.resolve("ghcr.io", Origin.SOURCE)
        assert endpoint.profile is PROFILES["ghcr"]
        book.transport.on_answer(*answer_of(endpoint, ("X-JFrog-Version", "Artifactory/7.1")))
        assert book.book.known("ghcr.io") is endpoint

    asyncio.run(scenario())


def test_a_proxy_in_front_that_says_it_is_down_does_not_use_up_the_looks() -> None:
    async def scenario() -> None:
        book = book_of([OPEN])
        endpoint = await book.book.resolve(HERE, Origin.SOURCE)
        for _ in range(ANSWERS_LOOKED_AT):
            book.transport.on_answer(*answer_of(endpoint, ("Server", "nginx"), status=502))
        book.transport.on_answer(*answer_of(endpoint, ("WWW-Authenticate", 'Basic realm="harbor"')))
        found = book.book.known(HERE)
        assert found is not None
        assert found.profile is PROFILES["harbor"]

    asyncio.run(scenario())
