"""The doubles of the clouds' registries: each quirk that their sources tell of, asked for with raw requests."""

from __future__ import annotations

import base64
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import pytest

from image_syncer.embedded import PASSWORD, ContentBuilder, push_to
from support.client import Answer, Client, with_digest
from support.doubles import basic
from support.doubles import serve_double as double

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry

MIB = 2**20
SIGNED = "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=host, Signature=…".encode()


def call(client: Client, action: str, data: dict[str, Any], authorization: bytes = SIGNED) -> Answer:
    """One action of ECR's own API."""
    headers = {
        "X-Amz-Target": f"AmazonEC2ContainerRegistry_V20150921.{action}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": authorization.decode("latin-1"),
    }
    return client.send("POST", "/", json.dumps(data).encode(), headers)


@pytest.mark.parametrize("kind", ["ecr", "ecr-public"])
def test_ecr_needs_the_repository(kind: str) -> None:
    with double(kind, access=False) as (registry, client):
        answer = client.send("POST", "/v2/team/app/blobs/uploads/")
        assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])
        assert "'team/app' does not exist in the registry with id '123456789012'" in answer.body.decode()
        with pytest.raises((OSError, http.client.HTTPException)):
            client.send("POST", f"/v2/team/app/blobs/uploads/?digest=sha256:{'0' * 64}", b"x" * 100)
        registry.storage.create_repository("team/app")
        assert client.send("POST", "/v2/team/app/blobs/uploads/").status == 202
        assert registry.counters.quirks == {"repository missing": 2}


def test_ecr_takes_parts_of_five_mebibytes_and_tells_an_old_range() -> None:
    with double("ecr", user="AWS") as (registry, client):
        registry.storage.create_repository("app")
        blob = ContentBuilder().layer(12 * MIB)
        data = blob.read()
        location = client.start_upload("app")
        ranges = []
        for begin in (0, 6 * MIB):
            answer = client.send("PATCH", location, data[begin : begin + 6 * MIB])
            assert answer.status == 201
            ranges.append(answer.headers["range"])
            location = answer.headers["location"]
        assert ranges == [f"0-{6 * MIB - 1}"] * 2
        assert client.send("PUT", with_digest(location, blob.digest), b"").status == 201
        location = client.send("PATCH", client.start_upload("app"), b"x").headers["location"]
        answer = client.send("PATCH", location, b"y")
        assert (answer.status, answer.codes) == (400, ["BLOB_UPLOAD_INVALID"])
        assert client.delete(location).status == 405
        assert registry.counters.quirks == {"stale range": 1, "part too small": 1, "cancel refused": 1}


def test_ecr_sends_blobs_from_storage_that_takes_no_authorization() -> None:
    with double("ecr", user="AWS") as (registry, client):
        image = ContentBuilder().image(1)
        push_to(registry.storage, "app", image)
        answer = client.get(f"/v2/app/blobs/{image.blobs[0].digest}")
        assert answer.status == 307
        where = urlsplit(answer.headers["location"])
        with Client(f"{where.scheme}://{where.netloc}") as storage:
            path = f"{where.path}?{where.query}"
            assert storage.get(path).body == image.blobs[0].read()
            assert storage.get(path, Authorization=basic("AWS")).status == 400


def test_ecr_ignores_mounts_and_limits_manifests() -> None:
    with double("ecr", user="AWS", immutable_tags=True) as (registry, client):
        image, other = ContentBuilder().image(1), ContentBuilder(1).image(1)
        push_to(registry.storage, "app", image, ["v1"])
        push_to(registry.storage, "app", other)
        mount = f"/v2/app/blobs/uploads/?mount={image.blobs[0].digest}&from=app"
        assert client.send("POST", mount).status == 202
        answer = client.push_manifest("app", "v1", other.raw, other.media_type)
        assert (answer.status, answer.codes) == (400, ["TAG_INVALID"])
        answers = [client.push_manifest("app", f"t{n}", image.raw, image.media_type) for n in range(40)]
        [refused, *_] = [answer for answer in answers if answer.status == 429]
        assert (refused.codes, "retry-after" in refused.headers) == (["TOOMANYREQUESTS"], False)
        assert {"mount ignored", "tag immutable", "too many requests"} == set(registry.counters.quirks)


def test_ecr_mounts_for_an_account_that_was_set_to_what_a_manifest_names() -> None:
    with double("ecr", user="AWS", mounts=True) as (registry, client):
        image, loose = ContentBuilder().image(1), ContentBuilder(1).layer()
        push_to(registry.storage, "app", image)
        assert client.push_blob("app", loose.read(), loose.digest).status == 201
        registry.storage.create_repository("new")
        for digest, status in ((image.blobs[0].digest, 201), (loose.digest, 202)):
            assert client.send("POST", f"/v2/new/blobs/uploads/?mount={digest}&from=app").status == status


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"{"])
def test_the_api_of_ecr_takes_objects_only(body: bytes) -> None:
    with double("ecr") as (_, client):
        action = "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"
        answer = client.send("POST", "/", body, {"X-Amz-Target": action, "Authorization": SIGNED.decode("latin-1")})
        assert (answer.status, answer.json()["__type"]) == (400, "SerializationException")


def test_the_api_of_ecr() -> None:
    with double("ecr") as (registry, client):
        made = call(client, "CreateRepository", {"repositoryName": "team/app"})
        assert (made.status, made.json()["repository"]["repositoryName"]) == (200, "team/app")
        assert registry.storage.has_repository("team/app")
        again = call(client, "CreateRepository", {"repositoryName": "team/app"})
        assert (again.status, again.json()["__type"]) == (400, "RepositoryAlreadyExistsException")
        found = call(client, "DescribeRepositories", {}).json()["repositories"]
        assert [one["repositoryName"] for one in found] == ["team/app"]
        token = call(client, "GetAuthorizationToken", {}).json()["authorizationData"][0]
        assert base64.b64decode(token["authorizationToken"]).decode() == f"AWS:{PASSWORD}"
        assert token["proxyEndpoint"] == registry.url


def test_ecr_tells_of_many_layers_at_once() -> None:
    with double("ecr") as (registry, client):
        image = ContentBuilder().image(1)
        push_to(registry.storage, "app", image)
        there, missing = image.blobs[0], ContentBuilder(1).layer()
        data = {"repositoryName": "app", "layerDigests": [there.digest, missing.digest, "nonsense"]}
        answer = call(client, "BatchCheckLayerAvailability", data).json()
        assert answer["layers"] == [
            {"layerDigest": there.digest, "layerAvailability": "AVAILABLE", "layerSize": there.size},
            {"layerDigest": missing.digest, "layerAvailability": "UNAVAILABLE"},
        ]
        assert [one["failureCode"] for one in answer["failures"]] == ["InvalidLayerDigest"]
        unknown = call(client, "BatchCheckLayerAvailability", {**data, "repositoryName": "other"})
        assert unknown.json()["__type"] == "RepositoryNotFoundException"
        too_many = call(client, "BatchCheckLayerAvailability", {**data, "layerDigests": [there.digest] * 101})
        assert too_many.json()["__type"] == "InvalidParameterException"


@pytest.mark.parametrize(
    ("action", "authorization", "kind"),
    [
        ("CreateRepository", b"Basic x", "MissingAuthenticationTokenException"),
        ("Nonsense", SIGNED, "UnknownOperationException"),
        ("CreateRepository", SIGNED, "InvalidParameterException"),
    ],
)
def test_what_the_api_of_ecr_refuses(action: str, authorization: bytes, kind: str) -> None:
    with double("ecr") as (_, client):
        answer = call(client, action, {}, authorization)
        assert (answer.status, answer.json()["__type"]) == (400, kind)


def test_ecr_public_asks_for_one_scope_and_lists_nothing() -> None:
    with double("ecr-public") as (registry, client):
        registry.storage.create_repository("team/app")
        answer = client.send("POST", "/v2/team/app/blobs/uploads/")
        assert answer.challenges[0].endswith('/token/",service="public.ecr.aws",scope="aws"')
        token = client.get("/token/?service=public.ecr.aws&scope=aws", Authorization=basic("AWS")).json()["token"]
        with Client(registry.url, token=token) as bearer:
            assert bearer.send("POST", "/v2/team/app/blobs/uploads/").status == 202
            assert bearer.get("/v2/_catalog").status in (401, 404)
        nobody = client.get("/token/?service=public.ecr.aws&scope=aws").json()["token"]
        with Client(registry.url, token=nobody) as bearer:
            assert bearer.get("/v2/team/app/tags/list").status == 200
            assert bearer.send("POST", "/v2/team/app/blobs/uploads/").status == 401


def test_gar_takes_no_pieces_has_sessions_elsewhere_and_tells_more_of_tags() -> None:
    with double("gar", user="_json_key") as (registry, client):
        image = ContentBuilder().image(1)
        push_to(registry.storage, "project/repo/app", image, ["v1", "v2"])
        location = client.start_upload("project/repo/app")
        assert location.startswith(f"{registry.url}/artifacts-uploads/project/repo/app/uploads/")
        blob = ContentBuilder(1).layer()
        assert client.send("PATCH", location, blob.read()).status == 405
        assert client.send("PUT", with_digest(location, blob.digest), blob.read()).status == 201
        listed = client.get("/v2/project/repo/app/tags/list").json()
        assert listed["tags"] == ["v1", "v2"]
        assert listed["manifest"][image.digest]["tag"] == ["v1", "v2"]
        assert registry.counters.quirks == {"patch refused": 1}


def test_aliyun_tells_of_blobs_only_who_may_push() -> None:
    with double("acr-aliyun", permissions={"syncer@1234567890": ("pull",)}) as (registry, client):
        image = ContentBuilder().image(1)
        push_to(registry.storage, "team/app", image)
        path = f"/v2/team/app/blobs/{image.blobs[0].digest}"
        with Client(registry.url, token=_aliyun_token(registry, basic("syncer@1234567890"))) as reader:
            assert (reader.head(path).status, reader.get(path).status) == (403, 307)
            assert reader.get("/v2/team/app/tags/list").status == 200
        with Client(registry.url, token=_aliyun_token(registry)) as nobody:
            assert nobody.get("/v2/team/app/tags/list").status == 401
        assert registry.counters.quirks == {"head of a blob denied": 1, "list of tags denied": 1}
        assert client.get("/v2/").status == 401


def _aliyun_token(registry: EmbeddedRegistry, authorization: str | None = None) -> str:
    with Client(f"http://{registry.companion_address}") as client:
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = client.get("/auth?scope=repository:team/app:pull", **headers)
    token: str = answer.json()["token"]
    return token


def test_aliyun_needs_the_namespace() -> None:
    with double("acr-aliyun", access=False) as (registry, client):
        answer = client.send("POST", "/v2/team/app/blobs/uploads/")
        assert (answer.status, answer.codes) == (403, ["DENIED"])
        registry.storage.create_repository("team/other")
        assert client.send("POST", "/v2/team/app/blobs/uploads/").status == 202
        assert registry.counters.quirks == {"namespace missing": 1}


def test_azure_exchanges_tokens() -> None:
    with double("acr-azure") as (registry, client):

        def post(path: str, **form: str) -> Answer:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return client.send("POST", path, urlencode(form).encode(), headers)

        service = "example.azurecr.io"
        assert post("/oauth2/exchange", grant_type="access_token", service=service, access_token="x").status == 401
        assert post("/oauth2/exchange", grant_type="password").status == 400
        answer = post("/oauth2/exchange", grant_type="access_token", service=service, access_token=PASSWORD)
        refresh = answer.json()["refresh_token"]
        scope = "repository:app:metadata_read"
        found = post("/oauth2/token", grant_type="refresh_token", service=service, scope=scope, refresh_token=refresh)
        assert set(found.json()) == {"access_token", "scope"}
        push_to(registry.storage, "app", ContentBuilder().image(1), ["v1"])
        with Client(registry.url, token=found.json()["access_token"]) as bearer:
            assert bearer.get("/v2/app/tags/list").json()["tags"] == ["v1"]
            assert bearer.get("/v2/app/manifests/v1").status == 401
        assert post("/oauth2/token", grant_type="refresh_token", service=service, refresh_token="x").status == 401


def test_azure_takes_no_long_body_and_tells_no_status() -> None:
    with double("acr-azure", access=False) as (registry, client):
        blob = ContentBuilder().layer(21 * MIB)
        data = blob.read()
        answer = client.push_blob("app", data, blob.digest)
        assert (answer.status, answer.headers["content-type"]) == (413, "text/html")
        assert b"AzureContainerRegistry" in answer.body
        location = client.start_upload("app")
        for begin in range(0, blob.size, 4 * MIB):
            location = client.send("PATCH", location, data[begin : begin + 4 * MIB]).headers["location"]
        assert client.get(location).status == 404
        assert client.send("PUT", with_digest(location, blob.digest), b"").status == 201
        assert registry.counters.quirks == {"body too long": 1, "session status refused": 1}
