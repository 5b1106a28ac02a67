"""What a token says of itself."""

from __future__ import annotations

import base64
import json

import pytest

from image_syncer.doctor.access import read_claims
from image_syncer.oci import Repository
from image_syncer.registry import pull_scope

NOW = 1_000_000.0
PULL = pull_scope(Repository("registry.example", "team/app"))


def bearer(payload: object) -> str:
    text = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"Bearer e30.{text}.c2lnbmF0dXJl"


def test_what_it_grants() -> None:
    access = [
        {"type": "repository", "name": "team/app", "actions": ["pull"]},
        {"type": "repository", "name": "team/app", "actions": ["push"]},
        {"type": "repository", "name": "other", "actions": ["delete"]},
    ]
    claims = read_claims(bearer({"access": access}))
    assert claims is not None
    assert claims.actions_on(PULL) == {"pull", "push"}
    assert claims.trouble(NOW) is None


@pytest.mark.parametrize("payload", [{}, {"access": None}, {"access": "all"}])
def test_one_that_does_not_say_what_it_grants(payload: object) -> None:
    claims = read_claims(bearer(payload))
    assert claims is not None
    assert claims.actions_on(PULL) is None


def test_one_that_grants_nothing() -> None:
    claims = read_claims(bearer({"access": [{"type": "repository"}, 7]}))
    assert claims is not None
    assert claims.actions_on(PULL) == frozenset()


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"nbf": NOW + 300}, "not good for another 5 min 0 s"),
        ({"exp": NOW - 7200}, "it ended 2 h 0 min ago"),
        ({"nbf": NOW - 1, "exp": NOW - 1}, "it ended"),
    ],
)
def test_times_that_are_wrong(payload: object, words: str) -> None:
    claims = read_claims(bearer(payload))
    assert claims is not None
    assert words in (claims.trouble(NOW) or "")


@pytest.mark.parametrize("value", [1e300, -1, "soon", True, None])
def test_times_that_are_none(value: object) -> None:
    claims = read_claims(bearer({"nbf": value, "exp": value}))
    assert claims is not None
    assert (claims.begins, claims.ends) == (None, None)


@pytest.mark.parametrize(
    "value", [None, "", "Basic YTpi", "Bearer opaque", "Bearer a.b", "Bearer a.%%%.c", "Bearer a.bm8.c", bearer([1])]
)
def test_what_is_no_json_web_token(value: str | None) -> None:
    assert read_claims(value) is None
