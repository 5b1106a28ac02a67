from __future__ import annotations

from base64 import b64decode
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest

from image_syncer.errors import ProtocolViolation
from image_syncer.registry import (
    Challenge,
    Credential,
    Endpoint,
    Headers,
    Operation,
    Response,
    Scope,
    Token,
    basic_authorization,
    build_token_request,
    parse_token,
    realm_allowed,
)

PULL = Scope("base/os", ("pull",))
PUSH = Scope("team/app", ("push", "pull"))
CHALLENGE = Challenge("bearer", {"realm": "https://auth.example/token", "service": "the registry"})
CREDENTIAL = Credential("jane", "pass word:ö")


def challenge(realm: str, **params: str) -> Challenge:
    return Challenge("bearer", {"realm": realm, **params})


def answer(body: bytes) -> Response:
    return Response(200, Headers(), body, "https://auth.example/token?scope=x")


def test_no_repr_shows_a_secret() -> None:
    assert repr(Credential("jane", "hunter2", "eyJidentity")) == "Credential(username='jane')"
    token = Token("eyJsecret", 60.0, refresh_token="eyJnext")
    assert repr(token) == "Token(expires_in_s=60.0, missing=())"
    request = build_token_request(CHALLENGE, (PUSH,), Credential("jane", "hunter2", "identity"))
    assert "identity" not in repr(request)


def test_basic_is_user_name_and_password_in_utf8() -> None:
    scheme, data = basic_authorization(CREDENTIAL).split(" ")
    assert scheme == "Basic"
    assert b64decode(data).decode() == "jane:pass word:ö"


def test_a_token_is_asked_for_without_a_credential() -> None:
    request = build_token_request(CHALLENGE, (PULL,), None)
    assert (request.operation, request.method, request.body) == (Operation.GET_TOKEN, "GET", None)
    assert request.url == "https://auth.example/token?service=the%20registry&scope=repository:base/os:pull"
    assert request.headers == ()
    assert request.scopes == (PULL,)


def test_a_token_is_asked_for_with_a_password() -> None:
    request = build_token_request(CHALLENGE, (PULL,), CREDENTIAL)
    assert request.headers == (("Authorization", basic_authorization(CREDENTIAL)),)


def test_scopes_to_push_come_first() -> None:
    request = build_token_request(CHALLENGE, (PULL, PUSH), None)
    scopes = [value for name, value in parse_qsl(urlsplit(request.url).query) if name == "scope"]
    assert scopes == ["repository:team/app:push,pull", "repository:base/os:pull"]


def test_without_scopes_those_of_the_challenge_are_asked_for() -> None:
    request = build_token_request(challenge("https://t/", scope="repository:a:pull repository:b:pull"), (), None)
    assert parse_qs(urlsplit(request.url).query) == {"scope": ["repository:a:pull", "repository:b:pull"]}


@pytest.mark.parametrize(
    ("realm", "url"),
    [
        ("https://t/token?a=%2B", "https://t/token?a=%2B&scope=repository:base/os:pull"),
        ("https://t/to ken", "https://t/to%20ken?scope=repository:base/os:pull"),
        ("http://t:5001", "http://t:5001?scope=repository:base/os:pull"),
    ],
)
def test_a_realm_is_kept_as_it_is(realm: str, url: str) -> None:
    assert build_token_request(challenge(realm), (PULL,), None).url == url


def test_a_challenge_without_service_and_scope_is_asked_plainly() -> None:
    assert build_token_request(challenge("https://t/token"), (), None).url == "https://t/token"


@pytest.mark.parametrize("realm", ["", "token", "ftp://t/", "https://", "https://jane:pw@t/", "https://t/\r\nX: y"])
def test_a_realm_that_is_no_address_is_a_violation(realm: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        build_token_request(challenge(realm), (PULL,), CREDENTIAL)
    assert "pw" not in caught.value.message


def test_an_identity_token_is_exchanged_by_a_form() -> None:
    request = build_token_request(CHALLENGE, (PULL, PUSH), Credential("", "", identity_token="i+d=&"))
    assert (request.operation, request.method) == (Operation.GET_TOKEN, "POST")
    assert request.url == "https://auth.example/token"
    assert request.headers == (("Content-Type", "application/x-www-form-urlencoded"),)
    assert request.body is not None
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["i+d=&"],
        "client_id": ["image-syncer"],
        "service": ["the registry"],
        "scope": ["repository:team/app:push,pull repository:base/os:pull"],
    }


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"token":"abc","expires_in":300}', Token("abc", 300.0)),
        (b'{"access_token":"abc","expires_in":"300"}', Token("abc", 300.0)),
        (b'{"token":"","access_token":"abc","expires_in":1.5}', Token("abc", 1.5)),
        (b'{"token":"abc","access_token":"def","issued_at":"2026-01-01T00:00:00Z"}', Token("abc", 60.0)),
        (b'{"token":"abc","expires_in":0}', Token("abc", 60.0)),
        (b'{"token":"abc","expires_in":-5}', Token("abc", 60.0)),
        (b'{"token":"abc","expires_in":true}', Token("abc", 60.0)),
        (b'{"token":"abc","expires_in":"soon"}', Token("abc", 60.0)),
        (b'{"token":"abc","expires_in":null}', Token("abc", 60.0)),
        (b'{"token":"abc","expires_in":1e300}', Token("abc", 60.0)),
    ],
)
def test_the_token_of_an_answer(body: bytes, token: Token) -> None:
    assert parse_token(answer(body)) == token


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>s3cr3t</html>",
        b"[]",
        b"{}",
        b'{"token":null}',
        b'{"token":5}',
        b'{"token":"s3cr3t\\r\\nX-Evil: 1"}',
        b'{"token":"s3cr3t with spaces"}',
        b'{"token":"s3cr3t\xc3\xb6"}',
        b'{"token":"' + b"a" * 100_000 + b'"}',
    ],
)
def test_an_answer_without_a_usable_token_is_a_violation(body: bytes) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_token(answer(body))
    assert caught.value.message == "the token service at https://auth.example/token answered 200 without a token"


@pytest.mark.parametrize(
    ("realm", "base_url", "allowed"),
    [
        ("https://auth.example/token", "https://h", True),
        ("https://auth.example/token", "http://h", True),
        ("http://h/token", "https://h", False),
        ("http://other/token", "http://h", True),
        ("HTTPS://auth.example/token", "https://h", True),
        ("ftp://h/token", "http://h", False),
        ("https://u:p@auth.example/", "https://h", False),
        ("", "http://h", False),
    ],
)
def test_credentials_go_to_a_realm_only_over_tls_or_where_the_registry_has_none(realm, base_url, allowed) -> None:
    assert realm_allowed(realm, Endpoint("h", base_url)) is allowed
