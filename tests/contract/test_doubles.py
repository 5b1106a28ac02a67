"""The doubles: each quirk that their sources tell of, asked for with raw requests."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from image_syncer.embedded import (
    DOUBLES,
    PASSWORD,
    Behaviour,
    ContentBuilder,
    behaviour_to_data,
    parse_behaviour,
    push_to,
)
from support.client import Client, with_digest
from support.doubles import basic
from support.doubles import serve_double as double


@pytest.mark.parametrize("kind", DOUBLES)
def test_a_double_travels_as_json_and_lets_in_whom_it_names(kind: str) -> None:
    made = DOUBLES[kind]
    assert parse_behaviour(json.loads(json.dumps(behaviour_to_data(made.behaviour)))) == made.behaviour
    assert (made.name, made.behaviour.double) == (kind, kind)
    assert made.behaviour != Behaviour(double=kind)
    with double(kind) as (_, client):
        asks = bool(made.behaviour.users)
        assert client.get("/v2/").status == (401 if asks else 200)
        assert (made.credential is None) is not asks
        if made.credential is not None:
            assert made.credential[1] == PASSWORD


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


def test_harbor_keeps_a_robot_in_its_project() -> None:
    with double("harbor", user="robot$library+sync") as (registry, client):
        image = ContentBuilder().image()
        for name in ("team/app", "library/app"):
            push_to(registry.storage, name, image, ["v1"])
        assert client.head("/v2/team/app/manifests/v1").status == 401
        assert client.head("/v2/library/app/manifests/v1").status == 200
        mount = f"/v2/library/new/blobs/uploads/?mount={image.blobs[0].digest}&from="
        assert client.send("POST", f"{mount}team/app").status == 401
        assert client.send("POST", f"{mount}library/app").status == 201
        assert registry.counters.quirks == {"project of others": 1, "mount refused": 1}


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
        token = client.get("/service/token?service=harbor-registry", Authorization=basic("admin")).json()
        assert token["expires_in"] == 1800
        assert client.get("/v2/", Authorization=f"Bearer {token['token']}").status == 200
        assert client.get("/v2/", Authorization=basic("admin")).status == 200
        assert client.get("/v2/", Authorization="Basic bm9ib2R5Ong=").status == 401


def test_hub_counts_pulls_and_not_looks() -> None:
    with double("hub", access=False, pull_limit=2) as (registry, client):
        push_to(registry.storage, "library/app", ContentBuilder().image(), ["v1"])
        path = "/v2/library/app/manifests/v1"
        for left in (2, 2):
            assert client.head(path).headers["ratelimit-remaining"] == f"{left};w=21600"
        assert [client.get(path).headers["ratelimit-remaining"] for _ in range(2)] == ["1;w=21600", "0;w=21600"]
        answer = client.get(path)
        assert answer.status == 429
        assert answer.headers["ratelimit-limit"] == "2;w=21600"
        assert b"pull rate limit" in answer.body
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        assert client.head(path).status == 200
        assert registry.counters.quirks == {"pull limit reached": 1}


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("&from=quay.io/team/app", 400), ("&from=team/other", 202), ("&from=team/app", 201)],
)
def test_hub_wants_to_know_from_where_a_mount_is(query: str, status: int) -> None:
    with double("hub", access=False) as (registry, client):
        image = ContentBuilder().image()
        push_to(registry.storage, "team/app", image)
        answer = client.send("POST", f"/v2/team/new/blobs/uploads/?mount={image.blobs[0].digest}{query}")
        assert answer.status == status


def test_hub_has_no_repositories_without_a_namespace_and_tokens_elsewhere() -> None:
    with double("hub") as (registry, client):
        answer = client.get("/v2/alpine/manifests/v1")
        assert f'realm="http://{registry.companion_address}/token",service="registry.docker.io"' in answer.challenges[0]
    with double("hub", access=False) as (registry, client):
        assert client.head("/v2/alpine/manifests/v1").status == 401
        assert registry.counters.quirks == {"namespace missing": 1}


def test_quay_pages_by_a_word_of_its_own() -> None:
    with double("quay", access=False) as (registry, client):
        tags = [f"v{number:03}" for number in range(70)]
        push_to(registry.storage, "team/app", ContentBuilder().image(1), tags)
        first = client.get("/v2/team/app/tags/list?n=1000")
        assert first.json()["tags"] == tags[:50]
        assert client.get("/v2/team/app/tags/list?n=1000&last=v049").json()["tags"] == tags[:50]
        link = first.headers["link"].partition(">")[0].removeprefix("<")
        assert "next_page=" in link
        assert client.get(link).json()["tags"] == tags[50:]
        assert registry.counters.quirks == {"last ignored": 1}


def test_quay_refuses_what_others_take() -> None:
    with double("quay", access=False) as (registry, client):
        digest = ContentBuilder().layer().digest
        assert client.send("POST", f"/v2/team/app/blobs/uploads/?mount={digest}").status == 400
        assert client.get(f"/v2/team/app/referrers/{digest}").status == 400
        assert registry.counters.quirks == {"mount without from": 1, "no referrers": 1}


def test_ghcr_takes_no_long_piece_and_mounts_inside_one_owner() -> None:
    with double("ghcr", access=False) as (registry, client):
        image = ContentBuilder().image()
        push_to(registry.storage, "octo/app", image)
        for name, status in (("octo/new", 201), ("cat/new", 202)):
            query = f"?mount={image.blobs[0].digest}&from=octo/app"
            assert client.send("POST", f"/v2/{name}/blobs/uploads/{query}").status == status
        blob = ContentBuilder(1).layer(5 * 2**20)
        location = client.start_upload("octo/app")
        answer = client.send("PATCH", location, blob.read(), {"Content-Range": f"0-{blob.size - 1}"})
        assert (answer.status, answer.codes) == (416, ["REQUESTED_RANGE_NOT_SATISFIABLE"])
        assert "limit of 4.00MiB" in answer.body.decode()
        assert client.push_blob("octo/app", blob.read(), blob.digest).status == 201
        assert registry.counters.quirks == {"mount ignored": 1, "piece too long": 1}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("group/project", 202),
        ("group/project/image", 202),
        ("group/project/a/image", 202),
        ("group/project/a/b/image", 403),
        ("group/other", 403),
        ("group", 403),
    ],
)
def test_gitlab_wants_a_project_above_the_repository(name: str, status: int) -> None:
    with double("gitlab", access=False, implicit_projects=False) as (registry, client):
        registry.storage.create_repository("group/project")
        answer = client.send("POST", f"/v2/{name}/blobs/uploads/")
        assert answer.status == status
        assert registry.counters.quirks == ({} if status == 202 else {"project missing": 1})


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("gitlab", "/api/v4/groups/team/registry/repositories?page=two"),
        ("gitlab", "/api/v4/groups/team/registry/repositories?per_page=many"),
        ("gitlab", "/api/v4/groups/team/registry/repositories?per_page=0"),
        ("gitlab", "/api/v4/groups/team/registry/repositories?page=0"),
        ("hub", "/v2/namespaces/team/repositories?page=two"),
        ("harbor", "/api/v2.0/projects/team/repositories?page=two"),
    ],
)
def test_a_list_of_repositories_refuses_a_page_that_does_not_exist(kind: str, path: str) -> None:
    access = kind == "gitlab"  # its own API asks for a token even where the registry asks for none
    with double(kind, access=access) as (registry, _), Client(f"http://{registry.companion_address}") as companion:
        push_to(registry.storage, "team/app", ContentBuilder().image(), tags=("v1",))
        answer = companion.get(path, authorization=f"Bearer {PASSWORD}")
        assert (answer.status, answer.codes) == (400, ["BAD_REQUEST"])


def test_a_page_marker_that_the_registry_did_not_make_is_refused() -> None:
    with double("quay", access=False) as (registry, client):
        push_to(registry.storage, "team/app", ContentBuilder().image(), tags=("v1",))
        answer = client.get("/v2/team/app/tags/list?next_page=xyz")
        assert (answer.status, answer.codes) == (400, ["PAGINATION_NUMBER_INVALID"])


def test_nexus_leads_astray_and_says_in_the_detail_what_it_means() -> None:
    with double("nexus", user="admin", max_page_size=1, immutable_tags=True) as (registry, client):
        first, second = ContentBuilder().image(1), ContentBuilder(1).image(1)
        push_to(registry.storage, "app", first, ["v1", "v2"])
        push_to(registry.storage, "app", second)
        answer = client.get("/v2/app/tags/list?n=1")
        link = answer.headers["link"].partition(">")[0].removeprefix("<")
        assert urlsplit(link).path == "/repository/docker-hosted/v2/app/tags/list"
        assert client.get(link).status == 400
        answer = client.push_manifest("app", "v1", second.raw, second.media_type)
        assert (answer.status, answer.codes) == (400, ["BLOB_UPLOAD_INVALID"])
        assert "does not allow updating assets" in answer.json()["errors"][0]["detail"]
        assert answer.headers["server"].startswith("Nexus/")
        assert registry.counters.quirks == {"broken link followed": 1, "tag immutable": 1}


def test_artifactory_looks_at_accept_and_pages_by_number() -> None:
    with double("artifactory", user="admin") as (registry, client):
        image = ContentBuilder().image(1)
        push_to(registry.storage, "app", image, ["v1", "v2", "v3"])
        assert client.get("/v2/app/tags/list", Accept="application/vnd.oci.image.index.v1+json").status == 406
        page = client.get("/v2/app/tags/list?n=2", Accept="application/json")
        assert page.json()["tags"] == ["v1", "v2", image.digest]
        assert "last=2" in page.headers["link"]
        assert client.get("/v2/app/tags/list?n=2&last=2").json()["tags"] == ["v3", image.digest]
        client.get("/v2/app/tags/list?last=v2")
        assert registry.counters.quirks == {"accept refused": 1, "last is no number": 1}


def test_an_old_artifactory_wants_pieces() -> None:
    with double("artifactory", access=False, single_put=False) as (registry, client):
        blob = ContentBuilder().layer()
        assert client.push_blob("app", blob.read(), blob.digest).status == 400
        location = client.send("PATCH", client.start_upload("app"), blob.read()).headers["location"]
        assert client.send("PUT", with_digest(location, blob.digest), b"").status == 201
        assert registry.counters.quirks == {"put refused": 1}


@pytest.mark.parametrize("kind", ["registry2", "registry3"])
def test_distribution_bounds_a_catalog_and_forgets_what_was_cut(kind: str) -> None:
    with double(kind) as (registry, client):
        assert client.get("/v2/_catalog?n=1000").status == 200
        answer = client.get("/v2/_catalog?n=1001")
        assert (answer.status, answer.codes) == (400, ["PAGINATION_NUMBER_INVALID"])
        blob = ContentBuilder().layer()
        answer = client.send("POST", f"/v2/app/blobs/uploads/?digest={blob.digest}", blob.read())
        assert answer.status == 202
        assert client.delete(answer.headers["location"]).status == 204
        assert client.get(answer.headers["location"]).status == 404
        assert client.delete(f"/v2/app/blobs/{blob.digest}").status == 405
        quirks = registry.counters.quirks
        assert {"page too large", "post body ignored", "session status refused"} <= set(quirks)


def test_zot_tells_the_range_of_a_piece() -> None:
    with double("zot", user="syncer") as (registry, client):
        location = client.start_upload("app")
        for _ in range(2):
            answer = client.send("PATCH", location, b"x" * 100)
            location = answer.headers["location"]
        assert answer.headers["range"] == "0-99"
        assert client.get(location).headers["range"] == "0-199"
        assert registry.counters.quirks == {"range of the piece": 1}
