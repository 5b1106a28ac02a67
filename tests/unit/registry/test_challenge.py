from __future__ import annotations

import pytest

from image_syncer.registry import (
    Challenge,
    Endpoint,
    Operation,
    build_ping,
    parse_challenges,
    rank_challenges,
)

HUB = {
    "realm": "https://auth.docker.io/token",
    "service": "registry.docker.io",
    "scope": "repository:library/nginx:pull,push",
}


SCOPE = 'scope="repository:library/nginx:pull,push"'


@pytest.mark.parametrize(
    "value",
    [
        f'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",{SCOPE}',
        f'bearer REALM = "https://auth.docker.io/token" , Service="registry.docker.io", {SCOPE}',
        f'Bearer realm="https://auth.docker.io/token" service="registry.docker.io" {SCOPE}',
        f"Bearer realm=https://auth.docker.io/token,service=registry.docker.io,{SCOPE[:-1]}",
    ],
)
def test_a_bearer_challenge(value: str) -> None:
    assert parse_challenges([value]) == (Challenge("bearer", HUB),)


BASIC = Challenge("basic", {"realm": "a, b"})
BEARER = Challenge("bearer", {"realm": "https://t/", "service": "s"})
NOWHERE = Challenge("bearer", {"realm": "token"})


@pytest.mark.parametrize(
    "values",
    [
        ['Basic realm="a, b"', 'Bearer realm="https://t/",service="s"'],
        ['Basic realm="a, b", Bearer realm="https://t/",service="s"'],
        [', ,Basic realm="a, b",,Bearer realm="https://t/", service="s",'],
    ],
)
def test_several_challenges_in_one_field_or_in_many(values: list[str]) -> None:
    assert parse_challenges(values) == (BASIC, BEARER)


def test_a_scheme_alone_and_bare_data() -> None:
    assert parse_challenges(["Negotiate, NTLM TlRMTVNTUAAB==, Basic realm=x"]) == (
        Challenge("negotiate", {}),
        Challenge("ntlm", {"token68": "TlRMTVNTUAAB=="}),
        Challenge("basic", {"realm": "x"}),
    )


def test_quoted_pairs_are_undone() -> None:
    assert parse_challenges([r'Basic realm="a \"b\" \\ c"']) == (Challenge("basic", {"realm": r'a "b" \ c'}),)


def test_the_first_of_a_repeated_parameter_counts() -> None:
    assert parse_challenges(["Basic realm=a, realm=b"]) == (Challenge("basic", {"realm": "a"}),)


@pytest.mark.parametrize("values", [[], [""], [", ,"], ['realm="https://evil/"'], ["\x00\xff"]])
def test_what_is_no_challenge_is_passed_over(values: list[str]) -> None:
    assert parse_challenges(values) == ()


def test_a_field_without_end_is_cut() -> None:
    [challenge] = parse_challenges(['Bearer realm="' + "a" * 100_000])
    assert len(challenge.params["realm"]) < 20_000


@pytest.mark.parametrize(
    ("challenges", "ranked"),
    [
        ((BASIC, BEARER), (BEARER, BASIC)),
        ((BEARER, BASIC), (BEARER, BASIC)),
        ((BASIC,), (BASIC,)),
        ((Challenge("bearer", {}), BASIC), (BASIC,)),
        ((NOWHERE, BASIC, BEARER), (BEARER, BASIC, NOWHERE)),
        ((Challenge("negotiate", {}),), ()),
        ((), ()),
    ],
)
def test_a_token_is_preferred_to_the_password_where_its_service_has_an_address(challenges, ranked) -> None:
    assert rank_challenges(challenges) == ranked


def test_the_ping() -> None:
    request = build_ping(Endpoint("h", "https://h"))
    assert (request.operation, request.method, request.url) == (Operation.PING, "GET", "https://h/v2/")
    assert (request.headers, request.scopes, request.repository) == ((), (), None)
