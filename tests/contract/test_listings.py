"""Tags, catalog and referrers: OCI distribution specification 1.1, "Content Discovery"."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from contract.target import Capability, Target
from image_syncer.embedded import push_over_http

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder
    from support.client import Client

TAGS = ["a", "b1", "b2", "c", "latest"]


@pytest.fixture
def tagged(target: Target, repository: str, content: ContentBuilder) -> str:
    """A repository with TAGS, pushed in another order."""
    push_over_http(target.url, repository, content.image(), reversed(TAGS))
    return repository


def next_page(link: str) -> str:
    """The target of a Link header, which is path and query."""
    reference, _, relation = link.partition(">")
    assert relation.strip() == '; rel="next"'.strip()
    parts = urlsplit(reference.removeprefix("<"))
    return f"{parts.path}?{parts.query}"


def test_all_tags(client: Client, tagged: str) -> None:
    answer = client.get(f"/v2/{tagged}/tags/list")
    assert answer.status == 200
    assert answer.json()["name"] == tagged
    assert sorted(answer.json()["tags"]) == TAGS


def test_pages_of_tags(target: Target, client: Client, tagged: str) -> None:
    answer = client.get(f"/v2/{tagged}/tags/list?n=2")
    if Capability.TAG_PAGES not in target.can:
        assert sorted(answer.json()["tags"]) == TAGS
        assert "link" not in answer.headers
        return
    pages = [answer.json()["tags"]]
    while "link" in answer.headers:
        answer = client.get(next_page(answer.headers["link"]))
        pages.append(answer.json()["tags"])
    assert pages == [["a", "b1"], ["b2", "c"], ["latest"]]


@pytest.mark.parametrize(("last", "left"), [("b1", ["b2", "c", "latest"]), ("bb", ["c", "latest"]), ("x", [])])
def test_tags_after_another(target: Target, client: Client, tagged: str, last: str, left: list[str]) -> None:
    answer = client.get(f"/v2/{tagged}/tags/list?n=10&last={last}")
    assert sorted(answer.json()["tags"]) == (left if Capability.TAG_PAGES in target.can else TAGS)


def test_tags_of_an_unknown_repository(client: Client, repository: str) -> None:
    answer = client.get(f"/v2/{repository}/tags/list")
    assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])


def test_the_catalog_in_pages(target: Target, client: Client, tagged: str) -> None:
    names: list[str] = []
    answer = client.get("/v2/_catalog?n=2")
    while True:
        assert answer.status == 200
        names += answer.json()["repositories"]
        if "link" not in answer.headers:
            break
        answer = client.get(next_page(answer.headers["link"]))
    assert tagged in names
    assert len(set(names)) == len(names)


def test_referrers(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    image = content.image()
    sbom = content.artifact("application/vnd.example.sbom", subject=image)
    signature = content.artifact("application/vnd.example.signature", subject=image)
    for made in (image, sbom, signature):
        push_over_http(target.url, repository, made)
    answer = client.get(f"/v2/{repository}/referrers/{image.digest}")
    if Capability.REFERRERS not in target.can:
        assert answer.status == 404
        return
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.oci.image.index.v1+json"
    entries = {entry["digest"]: entry for entry in answer.json()["manifests"]}
    assert set(entries) == {sbom.digest, signature.digest}
    assert entries[sbom.digest]["artifactType"] == "application/vnd.example.sbom"
    assert entries[sbom.digest]["size"] == len(sbom.raw)
    assert "org.opencontainers.image.created" in entries[sbom.digest]["annotations"]


def test_referrers_of_one_type(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    image = content.image()
    sbom = content.artifact("application/vnd.example.sbom", subject=image)
    for made in (image, sbom, content.artifact("application/vnd.example.signature", subject=image)):
        push_over_http(target.url, repository, made)
    query = "artifactType=application/vnd.example.sbom"
    answer = client.get(f"/v2/{repository}/referrers/{image.digest}?{query}")
    if Capability.REFERRERS not in target.can:
        assert answer.status == 404
        return
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [sbom.digest]
    assert answer.headers["oci-filters-applied"] == "artifactType"


def test_no_referrers(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    answer = client.get(f"/v2/{repository}/referrers/{content.layer().digest}")
    if Capability.REFERRERS not in target.can:
        assert answer.status == 404
        return
    assert (answer.status, answer.json()["manifests"]) == (200, [])


def test_a_subject_is_confirmed(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    image = content.image()
    referrer = content.image(subject=image)
    push_over_http(target.url, repository, referrer)
    answer = client.push_manifest(repository, "ref", referrer.raw, referrer.media_type)
    assert answer.status == 201
    assert answer.headers.get("oci-subject") == (image.digest if Capability.REFERRERS in target.can else None)


def test_ping(client: Client) -> None:
    assert client.get("/v2/").status == 200
