"""The client over a transport that is made up: what happens to those who wait for the first answer."""

from __future__ import annotations

import asyncio

import pytest

from image_syncer.credentials import Found
from image_syncer.errors import Origin, SyncError, TransportError
from image_syncer.net import OneCredential, RegistryClient, RetryRules, Throttle, TokenBroker
from image_syncer.oci import Repository
from image_syncer.registry import Endpoint, Headers, Operation, Request, Response, build_head_manifest
from image_syncer.scheduling import RetryPolicy

ENDPOINT = Endpoint("registry.example", "https://registry.example")
REPOSITORY = Repository("registry.example", "team/app")
BEARER = 'Bearer realm="https://auth.example/token",service="registry.example"'


class Registry:
    """Says how to authenticate to a ping only, and the first ping is cut."""

    def __init__(self) -> None:
        self.pings = 0

    async def perform(
        self, request: Request, _endpoint: Endpoint, *, authorization: str | None = None, **_: object
    ) -> Response:
        await asyncio.sleep(0)
        if request.operation is Operation.PING:
            self.pings += 1
            if self.pings == 1:
                raise TransportError("cut", phase="receive")
            return Response(401, Headers([("WWW-Authenticate", BEARER)]), b"", request.url)
        if request.operation is Operation.GET_TOKEN:
            return Response(200, Headers(), b'{"token": "t"}', request.url)
        return Response(200 if authorization else 401, Headers(), b"", request.url)


def test_a_challenge_that_cannot_be_had_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        registry = Registry()
        broker = TokenBroker(registry, OneCredential(Found(None, "anonymous")))  # type: ignore[arg-type]
        retry = RetryPolicy(tries=1)
        client = RegistryClient(registry, broker, Throttle(), RetryRules(retry, lambda: 0.0))  # type: ignore[arg-type]
        request = build_head_manifest(ENDPOINT, REPOSITORY, "v1")
        first, *others = [asyncio.ensure_future(client.send(request, ENDPOINT, origin=Origin.SOURCE)) for _ in range(3)]
        with pytest.raises(SyncError, match="cut"):
            await asyncio.wait_for(first, 5)
        assert [(await asyncio.wait_for(other, 5)).status for other in others] == [200, 200]
        assert registry.pings == 2

    asyncio.run(scenario())
