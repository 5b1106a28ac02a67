"""Referrers as plain data: what is asked, what answers mean, and what an index under a fallback tag becomes."""

from __future__ import annotations

import json

import pytest

from image_syncer.errors import ProtocolViolation
from image_syncer.oci import (
    OCI_INDEX,
    OCI_MANIFEST,
    Digest,
    InvalidManifest,
    digest_of,
    parse_manifest,
    parse_repository,
)
from image_syncer.registry import Endpoint, Headers, Response
from image_syncer.registry.referrers import (
    build_list_referrers,
    cosign_tags,
    describe_referrer,
    fallback_tag,
    is_attached_tag,
    is_fallback_tag,
    merge_referrers,
    parse_referrers,
    read_referrers,
    takes_subject,
)

SUBJECT = digest_of(b"an image")
ENDPOINT = Endpoint("registry.example", "https://registry.example")
REPOSITORY = parse_repository("registry.example/team/app")
URL = f"https://registry.example/v2/team/app/referrers/{SUBJECT}"


def entry(text: str, **more: object) -> dict[str, object]:
    return {"mediaType": OCI_MANIFEST, "digest": str(digest_of(text.encode())), "size": len(text), **more}


def index(*entries: object, **more: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **more}).encode()


def answer(body: bytes, *headers: tuple[str, str], status: int = 200) -> Response:
    return Response(status, Headers([("Content-Type", OCI_INDEX), *headers]), body, URL)


def test_all_are_asked_for_or_one_type_or_the_next_page() -> None:
    assert build_list_referrers(ENDPOINT, REPOSITORY, SUBJECT).line == f"GET {URL}"
    one = build_list_referrers(ENDPOINT, REPOSITORY, SUBJECT, artifact_type="application/spdx+json")
    assert one.url == f"{URL}?artifactType=application%2Fspdx%2Bjson"
    following = build_list_referrers(ENDPOINT, REPOSITORY, SUBJECT, artifact_type="a/b", next_url=f"{URL}?last=1")
    assert following.url == f"{URL}?last=1"
    assert [str(scope) for scope in following.scopes] == ["repository:team/app:pull"]


def test_a_page() -> None:
    body = index(entry("a", artifactType="x/y", annotations={"k": "v"}, more=1), entry("b"), entry("a"))
    page = parse_referrers(answer(body, ("Link", f'<{URL}?last=1>; rel="next"')), URL)
    assert page is not None
    first, second = page.entries
    assert (first.digest, first.artifact_type, first.annotations) == (digest_of(b"a"), "x/y", {"k": "v"})
    assert first.described["more"] == 1
    assert (second.artifact_type, second.annotations) == (None, {})
    assert (page.next_url, page.filtered) == (f"{URL}?last=1", False)


@pytest.mark.parametrize(
    ("value", "filtered"), [("artifactType", True), ("annotations, artifacttype", True), ("a", False)]
)
def test_what_the_registry_filtered_it_says(value: str, filtered: bool) -> None:
    page = parse_referrers(answer(index(), ("OCI-Filters-Applied", value)), URL)
    assert page is not None
    assert page.filtered is filtered


@pytest.mark.parametrize("status", [404, 405, 400])
def test_no_api(status: int) -> None:
    assert parse_referrers(answer(b'{"errors":[]}', status=status), URL) is None


def test_a_page_for_people_is_no_api() -> None:
    assert parse_referrers(answer(b"<!doctype html>"), URL) is None


@pytest.mark.parametrize("body", [b"", b"[]", b'{"manifests":{}}', b'{"config":{}}', b'{"manifests":[{"digest":"x"}]}'])
def test_what_is_no_index_is_no_empty_list(body: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="the list of referrers is no index"):
        parse_referrers(answer(body), URL)


def test_the_next_page_is_on_no_other_host() -> None:
    with pytest.raises(ProtocolViolation, match="another host"):
        parse_referrers(answer(index(), ("Link", '<https://evil.example/x?a=1>; rel="next"')), URL)


def test_tags() -> None:
    assert fallback_tag(SUBJECT) == f"sha256-{SUBJECT.hex}"
    long = Digest("sha512:" + "ab" * 64)
    assert fallback_tag(long) == "sha512-" + "ab" * 32
    assert list(cosign_tags(SUBJECT)) == [f"sha256-{SUBJECT.hex}.{ending}" for ending in ("sig", "att", "sbom")]
    assert all(is_attached_tag(tag) for tag in (fallback_tag(SUBJECT), fallback_tag(long), *cosign_tags(SUBJECT)))
    assert is_fallback_tag(fallback_tag(SUBJECT))
    assert is_fallback_tag(fallback_tag(long))
    assert not any(is_fallback_tag(tag) for tag in ("latest", *cosign_tags(SUBJECT), f"sha256-{SUBJECT.hex[1:]}"))
    assert not any(is_attached_tag(tag) for tag in ("sha256-abc.sig", f"sha256-{SUBJECT.hex}.txt", f"v{SUBJECT.hex}"))


def test_a_referrer_is_described_by_its_own_type_or_that_of_its_config() -> None:
    fields = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry("c", mediaType="x/config"), "layers": []}
    by_config = describe_referrer(parse_manifest(json.dumps(fields).encode(), None))
    assert by_config.artifact_type == by_config.described["artifactType"] == "x/config"
    raw = json.dumps({**fields, "artifactType": "x/own", "annotations": {"k": "v"}}).encode()
    assert describe_referrer(parse_manifest(raw, None)).described == {
        "mediaType": OCI_MANIFEST,
        "digest": str(digest_of(raw)),
        "size": len(raw),
        "annotations": {"k": "v"},
        "artifactType": "x/own",
    }
    child = describe_referrer(parse_manifest(index(), None))
    assert child.artifact_type is None
    assert "artifactType" not in child.described


def test_merging_keeps_what_is_there() -> None:
    ours = read_referrers(parse_manifest(index(entry("a", artifactType="x/y"), entry("b")), None))
    new = merge_referrers(None, ours)
    assert new is not None
    assert json.loads(new) == json.loads(index(entry("a", artifactType="x/y"), entry("b")))
    theirs = parse_manifest(index(entry("b", odd=[1]), entry("c"), annotations={"by": "others"}, odd=2**60), None)
    merged = merge_referrers(theirs, ours)
    assert merged is not None
    expected = index(
        entry("b", odd=[1]), entry("c"), entry("a", artifactType="x/y"), annotations={"by": "others"}, odd=2**60
    )
    assert json.loads(merged) == json.loads(expected)
    assert merge_referrers(parse_manifest(merged, None), ours) is None


def test_nothing_but_an_index_is_merged_with() -> None:
    raw = json.dumps({"schemaVersion": 2, "config": entry("c"), "layers": []}).encode()
    with pytest.raises(InvalidManifest, match="no index but an image"):
        merge_referrers(parse_manifest(raw, OCI_MANIFEST), ())


def test_who_takes_a_subject_says_so() -> None:
    assert takes_subject(Response(201, Headers([("oci-subject", str(SUBJECT))]), b"", URL))
    assert not takes_subject(Response(201, Headers(), b"", URL))
