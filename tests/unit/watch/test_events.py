"""Notifications of registries: which repositories they are about."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.watch.server import MOST_EVENTS, MalformedEvent, PushedRepository, parse_events

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def event(action: str = "push", repository: object = "team/app", media_type: str = MANIFEST, **target: object):
    return {
        "id": "8d6f",
        "action": action,
        "target": {"mediaType": media_type, "digest": "sha256:00", "repository": repository, **target},
        "request": {"host": "registry.example:5000", "method": "PUT"},
    }


def parsed(document: object) -> list[PushedRepository]:
    return parse_events(json.dumps(document).encode())


APP = PushedRepository("registry.example:5000", "team/app")


def test_pushes_of_distribution_name_host_and_repository() -> None:
    assert parsed({"events": [event(tag="v1"), event(tag="v2"), event(repository="team/web")]}) == [
        APP,
        PushedRepository("registry.example:5000", "team/web"),
    ]


def test_a_manifest_without_a_tag_may_be_a_signature() -> None:
    assert parsed({"events": [event()]}) == [APP]


def test_pulls_blobs_and_deletes_begin_nothing() -> None:
    blob = event(media_type="application/octet-stream")
    assert parsed({"events": [event("pull"), event("mount"), event("delete"), blob]}) == []


def test_harbor_in_its_default_format() -> None:
    document = {
        "type": "PUSH_ARTIFACT",
        "occur_at": 1680501893,
        "operator": "robot",
        "event_data": {
            "resources": [{"digest": "sha256:00", "tag": "v1", "resource_url": "harbor.example/library/app:v1"}],
            "repository": {"name": "app", "namespace": "library", "repo_full_name": "library/app"},
        },
    }
    assert parsed(document) == [PushedRepository("harbor.example", "library/app")]
    assert parsed({**document, "type": "PULL_ARTIFACT"}) == []
    assert parsed({**document, "type": "QUOTA_WARNING", "event_data": {}}) == []


def test_harbor_as_cloud_event() -> None:
    document = {
        "specversion": "1.0",
        "id": "66d8",
        "source": "/projects/1/webhook/policies/15",
        "type": "harbor.artifact.pushed",
        "datacontenttype": "application/json",
        "data": {
            "resources": [{"digest": "sha256:00", "tag": "v1", "resource_url": "harbor.example/library/app:v1"}],
            "repository": {"name": "app", "namespace": "library", "repo_full_name": "library/app"},
        },
    }
    assert parsed(document) == [PushedRepository("harbor.example", "library/app")]
    assert parsed({**document, "type": "harbor.artifact.pulled"}) == []


def test_our_own_form() -> None:
    assert parsed({"repositories": ["registry.example:5000/team/app"]}) == [APP]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"{}",
        b'{"events": {}}',
        b'{"repositories": ["app"]}',
        b'{"repositories": [1]}',
        b'{"type": "PUSH_ARTIFACT"}',
        b'{"type": "PUSH_ARTIFACT", "event_data": {"repository": {"repo_full_name": 1}}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_none_of_them_is_refused(body) -> None:
    with pytest.raises(MalformedEvent):
        parse_events(body)


def test_parts_of_the_wrong_kind_are_passed_over() -> None:
    strange = [None, 1, {}, {"action": "push"}, {"action": "push", "target": 3}, event(repository=["x"]), event()]
    assert parsed({"events": [*strange, {**event(), "request": "none"}]}) == [APP, PushedRepository("", "team/app")]


def test_there_are_bounds() -> None:
    many = [event(repository=f"team/app{number}") for number in range(MOST_EVENTS + 10)]
    assert len(parsed({"events": many})) == MOST_EVENTS
    assert parsed({"events": [event(repository="a" * 1000)]}) == []


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["events", "type", "repositories", "target", "action", "event_data", "data", "repository"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_json)
def test_nothing_else_comes_out_than_names_or_a_refusal(document) -> None:
    found = []
    with contextlib.suppress(MalformedEvent):
        found = parsed(document)
    assert all(isinstance(each, PushedRepository) and each.name for each in found)
