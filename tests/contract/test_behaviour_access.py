"""The embedded registry's token service, its challenges, and what it counts of them."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, TokenService, push_to
from support.client import Client

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry

USERS = {"alice": "correct horse", "reader": "battery staple"}
GUARDED = Behaviour(users=USERS, permissions={"reader": ("pull",)}, bearer=TokenService())


def challenge_of(judge: Client, method: str = "GET", path: str = "/v2/") -> dict[str, str]:
    """The parameters of the Bearer challenge that a request without a token gets."""
    answer = judge.send(method, path)
    assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
    [challenge] = [text for text in answer.challenges if text.startswith("Bearer ")]
    return dict(re.findall(r'(\w+)="([^"]*)"', challenge))


def token_of(realm: str, *scopes: str, user: str | None = None, service: str = "embedded") -> str:
    """A token from the service at `realm`."""
    url, _, path = realm.rpartition("/")
    credential = None if user is None else (user, USERS[user])
    with Client(url, credential=credential) as client:
        query = urlencode([("service", service), *(("scope", scope) for scope in scopes)])
        answer = client.get(f"/{path}?{query}")
    assert answer.status == 200, answer
    assert answer.json()["expires_in"] == 300
    token: str = answer.json()["token"]
    return token


def test_a_challenge_names_realm_service_and_scope(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = GUARDED
    assert challenge_of(judge) == {"realm": f"{embedded.url}/token", "service": "embedded"}
    pull = challenge_of(judge, "GET", "/v2/a/b/manifests/v1")
    assert pull["scope"] == "repository:a/b:pull"
    push = challenge_of(judge, "POST", "/v2/a/b/blobs/uploads/?mount=sha256:" + "0" * 64 + "&from=c/d")
    assert push["scope"] == "repository:a/b:pull,push repository:c/d:pull"
    assert embedded.counters.refused == 3


def test_a_token_opens_what_it_covers_and_nothing_else(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = GUARDED
    realm = challenge_of(judge)["realm"]
    token = token_of(realm, "repository:a/b:pull,push", user="alice")
    with Client(embedded.url, token=token) as client:
        assert client.get("/v2/").status == 200
        assert client.send("POST", "/v2/a/b/blobs/uploads/").status == 202
        answer = client.send("POST", "/v2/other/blobs/uploads/")
    assert answer.status == 401
    assert 'error="insufficient_scope"' in answer.challenges[0]
    assert embedded.counters.tokens == 1


def test_a_token_is_granted_for_what_the_user_may(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = GUARDED
    token = token_of(challenge_of(judge)["realm"], "repository:a/b:pull,push", user="reader")
    with Client(embedded.url, token=token) as client:
        assert client.get("/v2/a/b/manifests/v1").status == 404
        assert client.send("POST", "/v2/a/b/blobs/uploads/").status == 401
        embedded.behaviour = replace(GUARDED, bearer=TokenService(insufficient_status=403))
        answer = client.send("POST", "/v2/a/b/blobs/uploads/")
        assert (answer.status, answer.codes) == (403, ["DENIED"])


@pytest.mark.parametrize("secret", [b"alice:wrong", b"nobody:x", b"alice", b"\xff:\xff"])
def test_a_wrong_password_gets_no_token(embedded: EmbeddedRegistry, judge: Client, secret: bytes) -> None:
    embedded.behaviour = GUARDED
    answer = judge.get("/token", Authorization=f"Basic {base64.b64encode(secret).decode()}")
    assert answer.status == 401
    assert embedded.counters.tokens == 0


def test_anonymous_tokens_pull_only(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = replace(GUARDED, anonymous=("pull",))
    token = token_of(f"{embedded.url}/token", "repository:a/b:pull,push")
    with Client(embedded.url, token=token) as client:
        assert client.get("/v2/a/b/manifests/v1").status == 404
        assert client.send("POST", "/v2/a/b/blobs/uploads/").status == 401
    embedded.behaviour = GUARDED
    assert judge.get("/token?scope=repository:a/b:pull").status == 401


def test_a_service_may_withhold_and_read_one_scope_only(embedded: EmbeddedRegistry) -> None:
    embedded.behaviour = replace(GUARDED, bearer=TokenService(first_scope_only=True, withheld=("delete",)))
    scopes = ("repository:a:pull,push,delete", "repository:b:pull")
    with Client(embedded.url, token=token_of(f"{embedded.url}/token", *scopes, user="alice")) as client:
        assert client.send("POST", "/v2/a/blobs/uploads/").status == 202
        assert client.delete("/v2/a/manifests/v1").status == 401
        assert client.get("/v2/b/tags/list").status == 401


def test_tokens_end_by_time_by_use_and_by_revocation(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = replace(GUARDED, bearer=TokenService(max_uses=2))
    with Client(embedded.url, token=token_of(f"{embedded.url}/token", user="alice")) as client:
        assert [client.get("/v2/").status for _ in range(3)] == [200, 200, 401]
    embedded.behaviour = GUARDED
    with Client(embedded.url, token=token_of(f"{embedded.url}/token", user="alice")) as client:
        assert client.get("/v2/").status == 200
        embedded.revoke_tokens()
        answer = client.get("/v2/")
        assert (answer.status, 'error="invalid_token"' in answer.challenges[0]) == (401, True)
    embedded.behaviour = replace(GUARDED, bearer=TokenService(expires_in_s=0, say_expiry=False))
    with Client(embedded.url, credential=("alice", USERS["alice"])) as client:
        answer = client.get("/token").json()
    assert set(answer) == {"token"}
    with Client(embedded.url, token=answer["token"]) as client:
        assert client.get("/v2/").status == 401


def test_oauth2_with_an_identity_token(embedded: EmbeddedRegistry, judge: Client) -> None:
    service = TokenService(identity_tokens={"refresh-me": "reader"})
    embedded.behaviour = replace(GUARDED, bearer=service)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = "grant_type=refresh_token&service=embedded&client_id=x&scope=repository%3Aa%3Apull&refresh_token="
    answer = judge.send("POST", "/token", (body + "refresh-me").encode(), form)
    assert answer.status == 200
    with Client(embedded.url, token=answer.json()["access_token"]) as client:
        assert client.get("/v2/a/manifests/v1").status == 404
    assert judge.send("POST", "/token", (body + "wrong").encode(), form).status == 401
    password = "grant_type=password&username=alice&password=" + quote(USERS["alice"])
    assert judge.send("POST", "/token", password.encode(), form).status == 200


def test_the_field_of_a_token_has_two_names(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = Behaviour(bearer=TokenService(field_names=("access_token",), service=None))
    assert "service" not in challenge_of(judge)
    answer = judge.get("/token").json()
    assert "access_token" in answer
    assert "token" not in answer


def test_the_realm_may_be_elsewhere(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = replace(GUARDED, bearer=TokenService(on_companion=True))
    realm = challenge_of(judge)["realm"]
    assert realm == f"http://{embedded.companion_address}/token"
    with Client(embedded.url, token=token_of(realm, user="alice")) as client:
        assert client.get("/v2/").status == 200
    assert embedded.counters.authorization_on_companion == 0


def test_several_challenges(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = replace(GUARDED, extra_challenges=("Negotiate", 'Basic realm="a, b"'))
    answer = judge.get("/v2/")
    assert [text.partition(" ")[0] for text in answer.challenges] == ["Negotiate", "Basic", "Bearer"]
    embedded.behaviour = replace(embedded.behaviour, one_challenge_header=True)
    [together] = judge.get("/v2/").challenges
    assert together == ", ".join(answer.challenges)


def test_a_challenge_on_ping_only(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = replace(GUARDED, challenge_on_ping_only=True)
    assert judge.get("/v2/a/manifests/v1").challenges == ()
    assert challenge_of(judge)["realm"]


def test_basic_users_may_be_less_than_everything(embedded: EmbeddedRegistry, content: ContentBuilder) -> None:
    push_to(embedded.storage, "a", content.image(), ["v1"])
    embedded.behaviour = replace(GUARDED, bearer=None, anonymous=("pull",))
    with Client(embedded.url, credential=("reader", USERS["reader"])) as client:
        assert client.get("/v2/a/manifests/v1").status == 200
        assert client.send("POST", "/v2/a/blobs/uploads/").status == 403
    with Client(embedded.url) as client:
        assert client.get("/v2/a/manifests/v1").status == 200
        assert client.send("POST", "/v2/a/blobs/uploads/").status == 401
