"""Handles that stay set up and sockets that stay watched: what one request was sent with never reaches another one,
and a kept connection costs as little as it can. Counted, never timed.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pycurl
import pytest

from image_syncer.errors import ProtocolViolation, TransportError
from image_syncer.net import CurlDriver, Timeouts, Transport, transport
from image_syncer.oci import Repository
from image_syncer.registry import (
    Endpoint,
    Operation,
    Request,
    build_get_manifest,
    build_head_manifest,
    build_put_manifest,
    build_start_upload,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REPOSITORY = Repository("registry.example", "team/app")
INTERIM = b"HTTP/1.1 100 Continue\r\nX-Interim: 1\r\n\r\n"


class Server:
    """Answers every request with `answers`, or 200 and a body, and keeps what came, byte for byte."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[bytes] = []
        self.connections = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while head := await reader.readuntil(b"\r\n\r\n"):
            line, *fields = head.decode("latin-1").rstrip().split("\r\n")
            headers = dict(field.split(": ", 1) for field in fields)
            body = await reader.readexactly(int(headers.get("Content-Length", "0")))
            self.seen.append((line, headers, body))
            answer = self.answers.pop(0) if self.answers else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
            if line.startswith("HEAD"):
                answer = answer[: answer.index(b"\r\n\r\n") + 4]
            writer.write(answer)

    async def hang_up(self) -> None:
        """Close what is open, from this side."""
        for writer in self.writers:
            writer.close()
            await writer.wait_closed()
        self.writers.clear()


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, Endpoint]]:
    server = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server, Endpoint(address, f"http://{address}")
    finally:
        listening.close()
        await server.hang_up()


class CountingEpoll:
    """A `select.epoll` that counts what is asked of the system."""

    def __init__(self, epoll: Any) -> None:
        self._epoll = epoll
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in ("register", "modify", "unregister"):
            self.calls.append(name)
        return getattr(self._epoll, name)


def own_fields(seen: tuple[str, dict[str, str], bytes]) -> dict[str, str]:
    """What a request had beside what every request has."""
    usual = ("Host", "User-Agent", "Accept-Encoding")
    return {name: value for name, value in seen[1].items() if name not in usual and (name, value) != ("Accept", "*/*")}


def test_no_request_is_sent_with_what_another_one_had() -> None:
    """Each method after each other one, on one connection's handles, with and without authorization and body."""

    async def scenario() -> None:
        async with serving() as (server, endpoint), serving() as (stranger, other):
            transport = Transport(CurlDriver(), Timeouts())
            head = build_head_manifest(endpoint, REPOSITORY, "v1")
            get = build_get_manifest(endpoint, REPOSITORY, "v1")
            post = build_start_upload(endpoint, REPOSITORY)
            put = build_put_manifest(endpoint, REPOSITORY, "v1", "application/json", b"a manifest")
            token = Request(
                Operation.GET_TOKEN,
                "POST",
                f"{endpoint.base_url}/token",
                None,
                headers=(("Content-Type", "application/x-www-form-urlencoded"),),
                body=b"refresh_token=hunter2",
            )
            accept = head.headers[0][1]
            expected = {
                head: ({"Accept": accept}, b""),
                get: ({"Accept": accept}, b""),
                post: ({"Content-Length": "0"}, b""),
                put: ({"Content-Type": "application/json", "Content-Length": "10"}, b"a manifest"),
                token: (
                    {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "21"},
                    b"refresh_token=hunter2",
                ),
            }
            order = [post, get, head, put, get, post, token, head, token, put, post, get, head, head, put, put]
            for number, request in enumerate(order):
                value = f"Bearer t{number}" if number % 2 else None
                await transport.perform(request, endpoint, authorization=value)
                fields, body = expected[request]
                if value is not None:
                    fields = {**fields, "Authorization": value}
                seen = server.seen[-1]
                assert seen[0].startswith(f"{request.method} "), (number, request)
                assert own_fields(seen) == fields, (number, request)
                assert seen[2] == body, (number, request)
            for request in (head, get, post):
                await transport.perform(request, endpoint, authorization="Bearer secret")
                elsewhere = request._replace(url=request.url.replace(endpoint.base_url, other.base_url))
                await transport.perform(elsewhere, other)
                assert "Authorization" not in stranger.seen[-1][1]
            assert server.connections == stranger.connections == 1
            transport.driver.close()

    asyncio.run(scenario())


def test_no_answer_has_anything_of_another_one() -> None:
    async def scenario() -> None:
        async with serving() as (server, endpoint):
            transport = Transport(CurlDriver(), Timeouts())
            request = build_get_manifest(endpoint, REPOSITORY, "v1")
            server.answers = [
                INTERIM + b"HTTP/1.1 404 Gone\r\nX-One: 1\r\nContent-Length: 3\r\n\r\none",
                b"HTTP/1.1 201 Made\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n",
            ]
            one, two, three = [await transport.perform(request, endpoint) for _ in range(3)]
            assert (one.status, one.headers.items(), one.body) == (
                404,
                [("X-One", "1"), ("Content-Length", "3")],
                b"one",
            )
            assert (two.status, two.headers.items(), two.body) == (201, [("X-Two", "2"), ("Content-Length", "0")], b"")
            assert (three.status, three.headers.get("x-trailer"), three.body) == (200, "t", b"abc")
            transport.driver.close()

    asyncio.run(scenario())


def test_a_failed_answer_leaves_the_handle_as_good_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY_BYTES", 4)

    async def scenario() -> None:
        async with serving() as (server, endpoint):
            transport = Transport(CurlDriver(), Timeouts())
            request = build_get_manifest(endpoint, REPOSITORY, "v1")
            server.answers = [
                b"HTTP/1.1 200 OK\r\nX-Old: 1\r\nContent-Length: 5\r\n\r\n12345",
                b"HTTP/1.1 200 OK\r\nX-Old: 1\r\nContent-Length: 4\r\nContent-Length: 7\r\n\r\n1234",
            ]
            with pytest.raises(ProtocolViolation, match="more than"):
                await transport.perform(request, endpoint)
            with pytest.raises(TransportError):
                await transport.perform(request, endpoint)
            last = await transport.perform(request, endpoint)
            assert (last.status, last.headers.items(), last.body) == (200, [("Content-Length", "2")], b"{}")
            transport.driver.close()

    asyncio.run(scenario())


def test_a_cancelled_request_gives_back_its_place_and_its_handle() -> None:
    async def scenario() -> None:
        async with serving() as (server, endpoint):
            transport = Transport(CurlDriver(connections=1), Timeouts())
            request = build_head_manifest(endpoint, REPOSITORY, "v1")
            server.answers = [INTERIM]  # and then nothing
            running = asyncio.ensure_future(transport.perform(request, endpoint))
            while not server.seen:
                await asyncio.sleep(0)
            waiting = asyncio.ensure_future(transport.perform(request, endpoint))
            await asyncio.sleep(0)
            running.cancel()
            assert (await asyncio.wait_for(waiting, 10)).status == 200
            assert running.cancelled()
            transport.driver.close()

    asyncio.run(scenario())


def test_a_request_on_a_kept_handle_and_connection_is_little_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """To libcurl its address, to the system that the socket is watched again; more only where something is new."""
    options: list[int] = []

    class Curl(pycurl.Curl):
        def setopt(self, option: int, value: object, **names: object) -> None:
            options.append(option)
            super().setopt(option, value, **names)

    monkeypatch.setattr(pycurl, "Curl", Curl)

    async def scenario() -> None:
        async with serving() as (server, endpoint):
            driver = CurlDriver()
            transport = Transport(driver, Timeouts())
            requests = [build_head_manifest(endpoint, REPOSITORY, f"v{number}") for number in range(10)]
            await transport.perform(requests[0], endpoint, authorization="Bearer t")
            epoll = driver._epoll = CountingEpoll(driver._epoll)
            options.clear()
            for request in requests:
                await transport.perform(request, endpoint, authorization="Bearer t")
            assert options == [pycurl.URL] * 10
            # One for the connection, and in newer libcurl one for its own wake-up, which rests when nothing runs.
            assert set(epoll.calls) == {"modify"}
            assert len(epoll.calls) <= 20
            await transport.perform(requests[0], endpoint, authorization="Bearer u")
            assert sorted(options[10:]) == sorted([pycurl.URL, pycurl.HTTPHEADER])
            assert server.connections == 1
            driver.close()

    asyncio.run(scenario())


def test_a_kept_connection_that_the_other_side_closes_wakes_us_once() -> None:
    async def scenario() -> None:
        async with serving() as (server, endpoint):
            driver = CurlDriver()
            transport = Transport(driver, Timeouts())
            request = build_head_manifest(endpoint, REPOSITORY, "v1")
            await transport.perform(request, endpoint)
            epoll = driver._epoll = CountingEpoll(driver._epoll)
            await server.hang_up()
            while not epoll.calls:
                await asyncio.sleep(0)
            assert epoll.calls == ["unregister"]
            for _ in range(10):
                await asyncio.sleep(0)
            assert epoll.calls == ["unregister"]
            assert (await transport.perform(request, endpoint)).status == 200
            assert server.connections == 2
            driver.close()

    asyncio.run(scenario())


def test_a_closed_socket_that_another_process_still_has_does_not_wake_us_for_ever() -> None:
    """What a process inherits by fork() stays in our epoll, though we have closed it."""

    async def scenario() -> None:
        driver = CurlDriver()
        ours, theirs = socket.socketpair()
        lasting, far = socket.socketpair()
        driver._on_socket(pycurl.POLL_IN, lasting.fileno(), driver._multi, None)
        number = ours.fileno()
        driver._on_socket(pycurl.POLL_IN, number, driver._multi, None)
        driver._on_socket(pycurl.POLL_REMOVE, number, driver._multi, None)
        inherited = os.dup(number)
        ours.close()
        before = driver._epoll
        theirs.send(b"x")
        assert before.poll(0) != []
        driver._on_readable()
        assert driver._epoll is not before
        assert driver._epoll.poll(0) == []
        far.send(b"x")
        assert [fd for fd, _ in driver._epoll.poll(0)] == [lasting.fileno()]  # what is watched still is
        os.close(inherited)
        driver.close()
        for each in (theirs, lasting, far):
            each.close()

    asyncio.run(scenario())


def test_a_server_that_says_nothing_is_given_up_though_the_timer_is_seldom_set() -> None:
    """libcurl puts its timer off with every request; that of the one that hangs is still kept."""

    async def scenario() -> None:
        async with serving() as (server, endpoint), serving() as (lively, other):
            driver = CurlDriver()
            transport = Transport(driver, Timeouts(request_s=0.3))
            server.answers = [INTERIM]
            hanging = asyncio.ensure_future(
                transport.perform(build_head_manifest(endpoint, REPOSITORY, "v1"), endpoint)
            )
            while not hanging.done():
                await transport.perform(build_head_manifest(other, REPOSITORY, "v1"), other)
            with pytest.raises(TransportError, match=r"(?i)timed out"):
                await hanging
            assert len(lively.seen) > 1
            driver.close()

    asyncio.run(scenario())
