"""Profiles: any text can be a host or a header, and what was set otherwise arrives as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from image_syncer.errors import Origin
from image_syncer.oci import Repository
from image_syncer.registry import (
    PROFILES,
    Headers,
    Mounts,
    Operation,
    Profile,
    Request,
    Response,
    parse_failure,
    recognise_answer,
    recognise_host,
)
from image_syncer.registry.profiles.recognition import profile_from_text, profile_to_text

PROFILE = st.sampled_from(list(PROFILES.values()))
FIELD = st.sampled_from(["Server", "WWW-Authenticate", "X-JFrog-Version", "Link"])
FLAG = st.none() | st.booleans()
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "heads_manifests": FLAG,
        "mounts_from_itself": FLAG,
        "takes_pieces": FLAG,
        "keeps_partial": FLAG,
        "cancels_uploads": st.booleans(),
        "mounts": st.sampled_from(Mounts),
        "page_size": st.integers(0, 1000),
        "piece_bytes": st.integers(1, 2**40),
        "least_piece_bytes": st.integers(1, 2**40),
    },
)
NAMES = st.lists(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), min_size=1, max_size=4).map("/".join)


@given(st.text(max_size=80))
def test_any_host_has_one_profile(host: str) -> None:
    found = recognise_host(host)
    assert PROFILES[found.name] is found
    assert recognise_host(f"{host}:443") is found or ":" in host
    assert recognise_host(host.upper()) is recognise_host(host.upper().lower())


@given(
    st.lists(
        st.tuples(st.sampled_from(["Server", "WWW-Authenticate", "X-JFrog-Version", "Link"]), st.text(max_size=60))
    )
)
def test_any_answer_has_one_profile(fields: list[tuple[str, str]]) -> None:
    found = recognise_answer(Headers(fields))
    assert PROFILES[found.name] is found


@given(PROFILE, OVERRIDES)
def test_what_was_set_otherwise_arrives(base: Profile, overrides: dict[str, Any]) -> None:
    profile = replace(base, **overrides)
    assert profile_from_text(profile_to_text(profile)) == profile


@given(st.sampled_from(Mounts), NAMES, NAMES)
def test_realms_are_the_same_for_those_that_mount_from_each_other(mounts: Mounts, one: str, other: str) -> None:
    realm = mounts.realm(one)
    assert one.startswith(realm)
    if mounts is Mounts.ANYWHERE:
        assert realm == mounts.realm(other)
    elif mounts is Mounts.NOWHERE:
        assert realm == one
    elif realm != one and other.startswith(realm):
        assert mounts.realm(other) == realm


@given(PROFILE, st.integers(400, 599), st.binary(max_size=200), st.sampled_from(Operation))
def test_any_failure_can_be_explained(profile: Profile, status: int, body: bytes, operation: Operation) -> None:
    request = Request(operation, "PUT", "https://r.example/v2/a/b/x", Repository("r.example", "a/b"))
    response = Response(status, Headers(), body, request.url)
    error = parse_failure(response, request=request, origin=Origin.DESTINATION, profile=profile)
    assert "{" not in (error.hint or "")
