"""The doubles: each quirk that their sources tell of, asked for with raw requests."""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from image_syncer.embedded import DOUBLES, PASSWORD, ContentBuilder, push_to, serve_in_thread
from support.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.embedded import EmbeddedRegistry


@contextmanager
def double(
    kind: str, *, user: str | None = None, access: bool = True, **changes: object
) -> Iterator[tuple[EmbeddedRegistry, Client]]:
    """A running double and a client of it; without `access` it asks for no password."""
    behaviour = replace(DOUBLES[kind].behaviour, **changes)
    if not access:
        behaviour = replace(behaviour, users={}, bearer=None, anonymous=())
    with serve_in_thread(behaviour=behaviour) as registry:
        credential = None if user is None else (user, PASSWORD)
        with Client(registry.url, credential=credential) as client:
            yield registry, client


def test_harbor_needs_the_project_and_makes_one_over_its_own_api() -> None:
    with double("harbor", user="admin") as (registry, client):
        for method, path in (("POST", "/v2/team/app/blobs/uploads/"), ("GET", "/v2/team/app/manifests/v1")):
            answer = client.send(method, path)
            assert (answer.status, answer.json()["errors"][0]) == (
                404,
                {"code": "NOT_FOUND", "message": "project team not found"},
            )
        assert registry.counters.quirks == {"project missing": 2}
        assert client.head("/api/v2.0/projects?project_name=team").status == 404
        body = json.dumps({"project_name": "team", "metadata": {"public": "false"}}).encode()
        assert client.send("POST", "/api/v2.0/projects", body).status == 201
        answer = client.send("POST", "/api/v2.0/projects", body)
        assert (answer.status, answer.codes) == (409, ["CONFLICT"])
        assert client.head("/api/v2.0/projects?project_name=team").status == 200
        assert client.get("/api/v2.0/projects/team").json()["name"] == "team"
        assert client.start_upload("team/app")


def test_harbor_tells_a_robot_less_and_lets_it_make_no_project() -> None:
    with double("harbor", user="robot$sync") as (_, client):
        answer = client.send("POST", "/v2/team/app/blobs/uploads/")
        assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
        assert "unauthorized to access repository: team/app, action: push" in answer.body.decode()
        assert client.send("POST", "/api/v2.0/projects", b'{"project_name": "team"}').status == 403
    with double("harbor") as (_, client):
        assert client.send("POST", "/api/v2.0/projects", b'{"project_name": "team"}').status == 401


def test_harbor_refuses_mounts_from_where_one_may_not_read() -> None:
    with double("harbor", user="admin") as (registry, client):
        image = ContentBuilder().image()
        push_to(registry.storage, "team/app", image)
        digest = image.blobs[0].digest
        query = f"?mount={digest}&from="
        answer = client.send("POST", f"/v2/library/app/blobs/uploads/{query}elsewhere/app")
        assert (answer.status, registry.counters.quirks) == (401, {"mount refused": 1})
        assert client.send("POST", f"/v2/library/app/blobs/uploads/{query}team/app").status == 201


def test_harbor_says_no_in_its_own_words() -> None:
    with double("harbor", user="admin", immutable_tags=True, capacity_bytes=2**20) as (registry, client):
        first, second = ContentBuilder().image(), ContentBuilder(1).image()
        for image in (first, second):
            push_to(registry.storage, "team/app", image, ["v1"] if image is first else [])
        answer = client.push_manifest("team/app", "v1", second.raw, second.media_type)
        assert (answer.status, answer.codes) == (412, ["PRECONDITION"])
        assert "'app:v1' configured as immutable" in answer.body.decode()
        large = ContentBuilder(2).layer(2 * 2**20)
        answer = client.push_blob("team/app", large.read(), large.digest)
        assert (answer.status, answer.codes) == (403, ["DENIED"])
        assert "will exceed the configured upper limit of 1.0 MiB" in answer.body.decode()
        registry.behaviour = replace(registry.behaviour, max_content_length=1000)
        answer = client.push_blob("team/app", large.read(), large.digest)
        assert (answer.status, answer.headers["content-type"]) == (413, "text/html")
        assert b"nginx" in answer.body


def test_harbor_takes_a_password_or_a_token_for_it() -> None:
    with double("harbor") as (registry, client):
        answer = client.get("/v2/")
        assert f'realm="{registry.url}/service/token",service="harbor-registry"' in answer.challenges[0]
        secret = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        token = client.get("/service/token?service=harbor-registry", Authorization=f"Basic {secret}").json()
        assert token["expires_in"] == 1800
        assert client.get("/v2/", Authorization=f"Bearer {token['token']}").status == 200
        assert client.get("/v2/", Authorization=f"Basic {secret}").status == 200
        assert client.get("/v2/", Authorization="Basic bm9ib2R5Ong=").status == 401
