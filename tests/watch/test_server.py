"""The server of a watch: who may tell of pushes, and what becomes of strange requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from image_syncer.errors import ConfigurationError
from image_syncer.telemetry import http_server
from image_syncer.telemetry.http_server import Listen
from image_syncer.watch import server as server_module
from image_syncer.watch.server import MOST_BODY_BYTES, State, WatchServer, WatchStatus
from support.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.watch.server import PushedRepository
    from support.client import Answer

TOKEN = "a-token-of-more-than-16-characters"
HERE = Listen("127.0.0.1", 0)
ELSEWHERE = Listen("127.0.0.2", 0)
"""This machine again, by an address that does not count as loopback."""
BODY = json.dumps({"repositories": ["registry.example/team/app"]}).encode()
JSON = {"Content-Type": "application/json"}


@dataclass
class Watched:
    status: WatchStatus = field(
        default_factory=lambda: WatchStatus(0.0, state=State.WAITING, configuration_error="images.yaml:3: no such key")
    )
    taken: list[PushedRepository] = field(default_factory=list)

    async def take(self, pushed: Sequence[PushedRepository]) -> int:
        self.taken += pushed
        return len(pushed)


@dataclass
class Served:
    watched: Watched
    server: WatchServer

    def notify(self, body: bytes = BODY, **headers: str) -> Answer:
        return self.ask("POST", "/notify", body, {**JSON, **headers})

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        with Client(self.server.address) as client:
            return client.send(method, path, body, headers)


@pytest.fixture
def serve() -> Iterator[object]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers = []

    def serve(listen: Listen = HERE, token: str | None = None) -> Served:
        watched = Watched()
        server = WatchServer(listen, watched.status, watched.take, None, token)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(30)
        servers.append(server)
        return Served(watched, server)

    yield serve

    async def end() -> None:
        for server in servers:
            await server.stop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()  # aiohttp would wait for ten seconds for the rest of a body that nobody sends
        await asyncio.gather(*left, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_on_loopback_nothing_has_to_be_known(serve) -> None:
    served = serve()
    answer = served.notify()
    assert (answer.status, answer.json()) == (202, {"repositories": 1, "meant": 1})
    assert [each.name for each in served.watched.taken] == ["team/app"]


@pytest.mark.parametrize("listen", [HERE, ELSEWHERE])
@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 202),
        (f"bearer  {TOKEN}", 202),
        (TOKEN, 202),
        ("", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        ("Bearer é", 401),
    ],
)
def test_a_token_that_was_given_has_to_be_known(serve, listen, authorization, status) -> None:
    served = serve(listen, TOKEN)
    assert served.notify(Authorization=authorization.encode().decode("latin-1")).status == status
    assert len(served.watched.taken) == (status == 202)
    assert served.server.notifications["refused"] == (status == 401)


def test_beyond_loopback_no_notification_is_taken_without_a_token(serve) -> None:
    served = serve(ELSEWHERE)
    answer = served.notify()
    assert answer.status == 403
    assert b"--events-token-file" in answer.body
    assert served.watched.taken == []


def test_beyond_loopback_errors_are_told_to_those_who_know_the_token(serve) -> None:
    served = serve(ELSEWHERE, TOKEN)
    assert b"images.yaml" not in served.ask("GET", "/healthz").body
    assert b"images.yaml" in served.ask("GET", "/healthz", headers={"Authorization": f"Bearer {TOKEN}"}).body
    assert b"images.yaml" in serve(HERE).ask("GET", "/healthz").body


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
def test_a_page_in_a_browser_cannot_tell_of_pushes(serve, content_type) -> None:
    served = serve()
    assert served.notify(**{"Content-Type": content_type}).status == 415
    assert served.watched.taken == []


@pytest.mark.parametrize("host", ["page.example", "127.0.0.1.page.example", "127.0.0.1@page.example", "", "[::"])
def test_a_name_that_somebody_had_lead_here_is_not_ours(serve, host) -> None:
    served = serve()
    assert served.notify(Host=host).status in (400, 403)
    assert b"images.yaml" not in served.ask("GET", "/healthz", headers={"Host": host}).body
    assert served.watched.taken == []
    assert serve(HERE, TOKEN).notify(Host="sync.example", Authorization=TOKEN).status == 202


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "LOCALHOST:8080", "[::1]:8080"])
def test_names_of_loopback_are_ours(serve, host) -> None:
    assert serve().notify(Host=host).status == 202


def test_the_type_of_distribution_is_json_too(serve) -> None:
    for number in (1, 2):
        content_type = f"application/vnd.docker.distribution.events.v{number}+json"
        assert serve().notify(**{"Content-Type": content_type}).status == 202


def test_bad_bodies(serve, monkeypatch) -> None:
    served = serve()
    answer = served.notify(b"{")
    assert (answer.status, answer.body) == (400, b"the body is no JSON\n")
    assert served.notify(b" " * (MOST_BODY_BYTES + 1)).status == 413
    assert served.notify(b" " * MOST_BODY_BYTES + b"{}").status == 413
    assert served.server.notifications["malformed"] == 1
    assert served.watched.taken == []
    monkeypatch.setattr(server_module, "BODY_TIMEOUT_S", 0.1)
    with Client(served.server.address) as client:
        connection = client.connect()
        connection.putrequest("POST", "/notify")
        for name, value in {**JSON, "Content-Length": "100"}.items():
            connection.putheader(name, value)
        connection.endheaders(b"{")
        assert connection.getresponse().status == 408
    assert served.notify().status == 202


def test_a_body_in_chunks_has_the_same_bound(serve) -> None:
    served = serve()
    with Client(served.server.address) as client:
        pieces = [b" " * 65536] * (MOST_BODY_BYTES // 65536 + 1)
        assert client.send("POST", "/notify", iter(pieces), JSON).status == 413


def test_connections_that_say_nothing_are_bounded_and_keep_nobody_out(serve, monkeypatch) -> None:
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 3)
    served = serve()
    clients = [Client(served.server.address) for _ in range(4)]
    for client in clients:
        client.connect().connect()
    with contextlib.suppress(ConnectionResetError):
        assert clients[0].connect().sock.recv(1) == b"", "the oldest makes room"
    assert clients[3].get("/readyz").status == 200
    for client in clients:
        client.close()
    assert served.ask("GET", "/readyz").status == 200


def test_a_loop_that_does_not_turn_is_told(serve) -> None:
    served = serve()
    served.watched.status.turned_at = time.monotonic()
    assert served.ask("GET", "/healthz").status == 200
    served.watched.status.turned_at -= server_module.LONGEST_STUCK_S + 1
    answer = served.ask("GET", "/healthz")
    assert answer.status == 503
    assert answer.json()["status"] == "its loop has not turned for 2 min 1 s"


def test_other_paths_and_methods(serve) -> None:
    served = serve()
    assert served.ask("GET", "/").status == 404
    assert served.ask("GET", "/notify").status == 405
    assert served.ask("POST", "/healthz").status == 405
    assert served.ask("HEAD", "/healthz").status == 200
    assert served.ask("GET", "/readyz").status == 200
    served.watched.status.state = State.STARTING
    assert served.ask("GET", "/readyz").status == 503


def test_without_prometheus_client_metrics_say_what_to_install(serve) -> None:
    answer = serve().ask("GET", "/metrics")
    assert answer.status == 501
    assert b"pip install 'image-syncer[metrics]'" in answer.body


def test_an_address_that_is_taken_is_told(serve) -> None:
    taken = int(serve().server.address.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=f"cannot listen at 127.0.0.1:{taken}"):
        serve(Listen("127.0.0.1", taken))
