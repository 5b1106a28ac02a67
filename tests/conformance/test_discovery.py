"""Section "Content Discovery": listing tags, listing referrers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest

from image_syncer.embedded import push_over_http
from image_syncer.oci import OCI_INDEX, OCI_MANIFEST, digest_of

if TYPE_CHECKING:
    from contract.target import Target
    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.client import Answer, Client

TAGS = ["1.0", "1.1", "A", "B-x", "a", "b_y", "latest"]
"""In the order that the specification wants: as ASCII has it."""


@pytest.fixture
def tagged(target: Target, repository: str, content: ContentBuilder) -> str:
    """A repository with TAGS."""
    push_over_http(target.url, repository, content.image(), [*TAGS[3:], *TAGS[:3]])
    return repository


def next_page(client: Client, answer: Answer) -> str | None:
    """RFC 8288: the target of `rel="next"`."""
    if "link" not in answer.headers:
        return None
    reference, _, parameters = answer.headers["link"].partition(">")
    assert parameters.replace(" ", "") == ';rel="next"'
    parts = urlsplit(urljoin(client.url, reference.removeprefix("<")))
    return f"{parts.path}?{parts.query}"


def test_all_tags(client: Client, tagged: str) -> None:
    """end-8a: 200, name and tags, in the order of their characters."""
    answer = client.get(f"/v2/{tagged}/tags/list")
    assert (answer.status, answer.json()) == (200, {"name": tagged, "tags": TAGS})


def test_a_list_of_tags_has_at_most_n(client: Client, tagged: str) -> None:
    """end-8b: not more than `n`."""
    assert client.get(f"/v2/{tagged}/tags/list?n=3").json()["tags"] == TAGS[:3]


def test_n_of_zero_is_an_empty_list(client: Client, tagged: str) -> None:
    """end-8b: no tag and no `Link`."""
    answer = client.get(f"/v2/{tagged}/tags/list?n=0")
    assert answer.json()["tags"] in ([], None)
    assert "link" not in answer.headers


def test_more_than_there_are(client: Client, tagged: str) -> None:
    """end-8b: all of them, and no `Link`."""
    answer = client.get(f"/v2/{tagged}/tags/list?n=100")
    assert answer.json()["tags"] == TAGS
    assert "link" not in answer.headers


@pytest.mark.parametrize(("last", "rest"), [("1.1", TAGS[2:]), ("Ax", TAGS[3:]), ("zzz", [])])
def test_last_is_where_the_list_goes_on(client: Client, tagged: str, last: str, rest: list[str]) -> None:
    """end-8b: what comes after `last`, whether that is there or not, and not `last` itself."""
    assert (client.get(f"/v2/{tagged}/tags/list?n=100&last={last}").json()["tags"] or []) == rest


def test_every_page_but_the_last_has_a_link(client: Client, tagged: str) -> None:
    """end-8b: the pages make up the whole list."""
    found: list[str] = []
    target: str | None = f"/v2/{tagged}/tags/list?n=2"
    pages = 0
    while target is not None:
        answer = client.get(target)
        found += answer.json()["tags"]
        target = next_page(client, answer)
        pages += 1
    assert (found, pages) == (TAGS, 4)


def test_tags_of_what_is_not_there(client: Client, repository: str) -> None:
    """end-8a: 404."""
    assert client.get(f"/v2/{repository}/tags/list").status == 404


def pushed(
    client: Client, repository: str, made: MadeManifest, subject: MadeManifest, **more: Any
) -> tuple[str, bytes]:
    """`made` as a referrer of `subject`, pushed by its digest."""
    for blob in made.all_blobs():
        client.push_blob(repository, blob.read(), blob.digest)
    described = {"mediaType": subject.media_type, "digest": subject.digest, "size": len(subject.raw)}
    raw = json.dumps({**json.loads(made.raw), "subject": described, **more}).encode()
    digest = digest_of(raw)
    assert client.push_manifest(repository, digest, raw, made.media_type).status == 201
    return digest, raw


def referrers(client: Client, repository: str, digest: str, query: str = "") -> Answer:
    """end-12."""
    return client.get(f"/v2/{repository}/referrers/{digest}{query}")


def test_referrers_of_a_manifest(client: Client, repository: str, content: ContentBuilder) -> None:
    """end-12: 200 and an index; each descriptor with artifactType and annotations."""
    subject = content.image()
    first, raw = pushed(
        client, repository, content.artifact(), subject, artifactType="application/x.first", annotations={"a": "b"}
    )
    plain, _ = pushed(client, repository, content.image(), subject)
    answer = referrers(client, repository, subject.digest)
    assert (answer.status, answer.headers["content-type"]) == (200, OCI_INDEX)
    index = answer.json()
    assert (index["schemaVersion"], index["mediaType"]) == (2, OCI_INDEX)
    found = {entry["digest"]: entry for entry in index["manifests"]}
    assert set(found) == {first, plain}
    assert found[first] == {
        "mediaType": OCI_MANIFEST,
        "digest": first,
        "size": len(raw),
        "artifactType": "application/x.first",
        "annotations": {"a": "b"},
    }
    # Without an artifactType it is the media type of the config.
    assert found[plain]["artifactType"] == "application/vnd.oci.image.config.v1+json"


def test_an_index_can_be_a_referrer(target: Target, client: Client, repository: str, content: ContentBuilder) -> None:
    """end-12: with its own artifactType."""
    subject, index = content.image(), content.index()
    push_over_http(target.url, repository, index)
    digest, _ = pushed(client, repository, index, subject, artifactType="application/x.index")
    [entry] = referrers(client, repository, subject.digest).json()["manifests"]
    assert (entry["digest"], entry["mediaType"], entry["artifactType"]) == (digest, OCI_INDEX, "application/x.index")


def test_referrers_of_what_is_not_there(client: Client, repository: str) -> None:
    """end-12: 200 with an empty list, never 404."""
    answer = referrers(client, repository, f"sha256:{'0' * 64}")
    assert (answer.status, answer.json()["manifests"]) == (200, [])
    assert answer.headers["content-type"] == OCI_INDEX


def test_referrers_of_one_type(client: Client, repository: str, content: ContentBuilder) -> None:
    """end-12b: filtered, and `OCI-Filters-Applied` says so; a registry that does not filter says nothing."""
    subject = content.image()
    one, _ = pushed(client, repository, content.artifact(), subject, artifactType="application/x.one")
    two, _ = pushed(client, repository, content.artifact(), subject, artifactType="application/x.two")
    answer = referrers(client, repository, subject.digest, "?artifactType=application/x.one")
    found = [entry["digest"] for entry in answer.json()["manifests"]]
    if "artifactType" in answer.headers.get("oci-filters-applied", ""):
        assert found == [one]
    else:
        assert set(found) == {one, two}


@pytest.mark.parametrize("digest", ["sha256:abc", "latest"])
def test_a_digest_that_is_none(client: Client, repository: str, digest: str) -> None:
    """end-12: 400."""
    assert referrers(client, repository, digest).status == 400


def test_a_referrer_that_is_deleted_is_not_listed(client: Client, repository: str, content: ContentBuilder) -> None:
    """end-12 after end-9."""
    subject = content.image()
    digest, _ = pushed(client, repository, content.artifact(), subject)
    assert client.delete(f"/v2/{repository}/manifests/{digest}").status == 202
    assert referrers(client, repository, subject.digest).json()["manifests"] == []
