"""What was asked for and not granted, of what an answer or a token says."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest

from image_syncer.registry.message import CATALOG_SCOPE, Scope
from image_syncer.registry.tokens import missing_scopes

WANTED = (Scope("team/app", ("push", "pull")), Scope("team/base", ("pull",)))


def jwt(claims):
    payload = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJ9.{payload}.c2ln"


def access(name, *actions, kind="repository"):
    return {"type": kind, "name": name, "actions": list(actions)}


@pytest.mark.parametrize(
    ("answered", "missing"),
    [
        ("repository:team/app:push,pull repository:team/base:pull", []),
        ("repository:team/app:pull repository:team/base:pull", ["repository:team/app:push"]),
        ("repository:team/app:*", ["repository:team/base:pull"]),
        ("repository(plugin):team/app:push,pull  repository:team/base:pull", []),
        ("registry:catalog:*", ["repository:team/app:push,pull", "repository:team/base:pull"]),
        ("openid profile", []),
        ("", []),
        (7, []),
        (None, []),
    ],
)
def test_of_the_field_scope(answered, missing):
    assert [str(scope) for scope in missing_scopes(WANTED, "opaque", answered)] == missing


@pytest.mark.parametrize(
    ("claims", "missing"),
    [
        ({"access": [access("team/app", "pull", "push"), access("team/base", "pull")]}, []),
        ({"access": [access("team/app", "pull")]}, ["repository:team/app:push", "repository:team/base:pull"]),
        ({"access": [access("team/app", "*"), access("team/base", "pull", kind="repository(x)")]}, []),
        ({"access": []}, ["repository:team/app:push,pull", "repository:team/base:pull"]),
        (
            {"access": ["x", {"type": 1}, access("team/app", 7)]},
            ["repository:team/app:push,pull", "repository:team/base:pull"],
        ),
        ({"access": None}, []),
        ({"scope": "x"}, []),
        ([], []),
    ],
)
def test_of_a_jwt(claims, missing):
    assert [str(scope) for scope in missing_scopes(WANTED, jwt(claims), None)] == missing


@pytest.mark.parametrize("token", ["", "opaque", "a.b", "a.b.c", "a.!!.c", "a.eyJ.c", "a..c", "....", "é.é.é"])
def test_of_a_token_that_says_nothing(token):
    assert missing_scopes(WANTED, token, None) == ()


def test_the_field_goes_before_the_token_and_nothing_wanted_is_nothing_missing():
    assert missing_scopes(WANTED[1:], jwt({"access": []}), "repository:team/base:pull") == ()
    assert missing_scopes((), jwt({"access": []}), None) == ()
    assert missing_scopes((CATALOG_SCOPE,), jwt({"access": [access("catalog", "*", kind="registry")]}), None) == ()
