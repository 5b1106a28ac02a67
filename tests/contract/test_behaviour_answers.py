"""What the embedded registry answers on request: errors, limits, headers, listings, refusals."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import (
    Behaviour,
    ContentBuilder,
    DigestHeader,
    Fault,
    FaultKind,
    LinkForm,
    MadeManifest,
    RateLimit,
    RetryAfter,
    push_to,
)
from image_syncer.oci import MANIFEST_MEDIA_TYPES
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry
    from support.client import Client

V1 = "/v2/a/manifests/v1"


@pytest.fixture
def image(embedded: EmbeddedRegistry, content: ContentBuilder) -> MadeManifest:
    """An image in the repository `a` with the tags v1 … v5."""
    made = content.image()
    push_to(embedded.storage, "a", made, ["v1", "v2", "v3", "v4", "v5"])
    return made


def test_a_fault_strikes_its_operation_and_wears_out(
    embedded: EmbeddedRegistry, judge: Client, image: MadeManifest
) -> None:
    fault = Fault(Operation.GET_MANIFEST, times=2, skip=1, status=503, headers=(("Retry-After", "7"),))
    embedded.behaviour = Behaviour(faults=(fault,))
    assert judge.head(V1).status == 200
    answers = [judge.get(V1) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert answers[1].codes == ["UNKNOWN"]


def test_a_fault_for_one_path_with_a_page_of_a_proxy(
    embedded: EmbeddedRegistry, judge: Client, image: MadeManifest
) -> None:
    page = Fault("*", times=None, match="v2/a/manifests/v2", status=502, body="<html>", content_type="text/html")
    embedded.behaviour = Behaviour(faults=(page,))
    answer = judge.get("/v2/a/manifests/v2")
    assert (answer.status, answer.body, answer.headers["content-type"][:9]) == (502, b"<html>", "text/html")
    assert judge.get(V1).status == 200
    assert judge.head("/v2/a/manifests/v2").status == 502


@pytest.mark.parametrize("status", [401, 403, 405])
def test_heads_that_are_not_allowed(
    embedded: EmbeddedRegistry, judge: Client, image: MadeManifest, status: int
) -> None:
    embedded.behaviour = Behaviour(faults=(Fault(Operation.HEAD_MANIFEST, times=None, status=status),))
    assert judge.head(V1).status == status
    assert judge.get(V1).status == 200


def test_a_limit_after_so_many_requests(embedded: EmbeddedRegistry, judge: Client, image: MadeManifest) -> None:
    limit = RateLimit(("get manifest",), burst=2, times=2, retry_after_s=3)
    embedded.behaviour = Behaviour(rate_limits=(limit,))
    answers = [judge.get(V1) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429, 200]
    assert answers[2].headers["retry-after"] == "3"
    assert answers[2].codes == ["TOOMANYREQUESTS"]
    assert judge.head(V1).status == 200
    assert embedded.counters.refused == 2


def test_forms_of_retry_after(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.behaviour = Behaviour(rate_limits=(RateLimit(retry_after=RetryAfter.DATE, retry_after_s=60),))
    answer = judge.get("/v2/")
    assert answer.status == 429
    wait = parsedate_to_datetime(answer.headers["retry-after"]) - parsedate_to_datetime(answer.headers["date"])
    assert 59 <= wait.total_seconds() <= 61
    embedded.behaviour = Behaviour(rate_limits=(RateLimit(retry_after=RetryAfter.NONE, body="slow down"),))
    answer = judge.get("/v2/")
    assert ("retry-after" in answer.headers, answer.body) == (False, b"slow down")


def test_a_digest_header_that_is_missing_or_wrong(
    embedded: EmbeddedRegistry, judge: Client, image: MadeManifest
) -> None:
    embedded.behaviour = Behaviour(digest_header_on_get=DigestHeader.MISSING)
    assert "docker-content-digest" not in judge.head(V1).headers
    embedded.behaviour = Behaviour(digest_header_on_get=DigestHeader.WRONG)
    answer = judge.get(V1)
    assert answer.body == image.raw
    assert answer.headers["docker-content-digest"] not in ("", image.digest)


def test_a_manifest_that_is_not_what_its_digest_names(
    embedded: EmbeddedRegistry, judge: Client, image: MadeManifest
) -> None:
    embedded.behaviour = Behaviour(faults=(Fault("get manifest", FaultKind.WRONG_BYTES),))
    answer = judge.get(f"/v2/a/manifests/{image.digest}")
    assert (answer.body, answer.headers["docker-content-digest"]) == (image.raw + b" ", image.digest)
    assert judge.get(V1).body == image.raw


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        (LinkForm.RELATIVE, "</v2/a/tags/list?"),
        (LinkForm.ABSOLUTE, "<http://{address}/v2/a/tags/list?"),
        (LinkForm.OTHER_HOST, "<http://{companion}/v2/a/tags/list?"),
        (LinkForm.MISSING, None),
    ],
)
def test_forms_of_a_link(
    embedded: EmbeddedRegistry, judge: Client, image: MadeManifest, form: LinkForm, begins: str | None
) -> None:
    embedded.behaviour = Behaviour(link_form=form, default_page_size=2)
    answer = judge.get("/v2/a/tags/list")
    assert answer.json()["tags"] == ["v1", "v2"]
    link = answer.headers.get("link")
    if begins is None:
        assert link is None
    else:
        begins = begins.format(address=embedded.address, companion=embedded.companion_address)
        assert link is not None
        assert link.startswith(begins)


def test_limits_of_a_page(embedded: EmbeddedRegistry, judge: Client, image: MadeManifest) -> None:
    embedded.behaviour = Behaviour(max_page_size=3)
    assert judge.get("/v2/a/tags/list?n=1000").json()["tags"] == ["v1", "v2", "v3"]
    embedded.behaviour = Behaviour(max_page_size=3, page_limit_status=400)
    answer = judge.get("/v2/a/tags/list?n=4")
    assert (answer.status, answer.codes) == (400, ["PAGINATION_NUMBER_INVALID"])
    assert judge.get("/v2/a/tags/list?n=-1").status == 400
    assert judge.get("/v2/a/tags/list?n=0").json()["tags"] == []


def test_a_list_that_is_null(embedded: EmbeddedRegistry, judge: Client) -> None:
    embedded.storage.create_repository("empty")
    assert judge.get("/v2/empty/tags/list").json()["tags"] == []
    embedded.behaviour = Behaviour(null_tag_list=True)
    assert judge.get("/v2/empty/tags/list").json()["tags"] is None


def test_tags_that_do_not_move(
    embedded: EmbeddedRegistry, judge: Client, image: MadeManifest, content: ContentBuilder
) -> None:
    other = content.image()
    push_to(embedded.storage, "a", other)
    embedded.behaviour = Behaviour(immutable_tags=True)
    assert judge.push_manifest("a", "v1", image.raw, image.media_type).status == 201
    assert judge.push_manifest("a", "v1", other.raw, other.media_type).status == 412
    assert judge.push_manifest("a", "new", other.raw, other.media_type).status == 201


def test_repositories_that_must_exist(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(implicit_repositories=False)
    answer = judge.send("POST", "/v2/new/blobs/uploads/")
    assert (answer.status, answer.codes) == (404, ["NAME_UNKNOWN"])
    assert judge.push_manifest("new", "v1", b"{}", "x").status == 404
    embedded.storage.create_repository("new")
    assert judge.send("POST", "/v2/new/blobs/uploads/").status == 202


def test_manifests_without_their_blobs(embedded: EmbeddedRegistry, judge: Client, content: ContentBuilder) -> None:
    embedded.behaviour = Behaviour(check_references=False)
    index = content.index()
    assert judge.push_manifest("a", "v1", index.raw, index.media_type).status == 201


def test_what_is_switched_off(embedded: EmbeddedRegistry, judge: Client, image: MadeManifest) -> None:
    embedded.behaviour = Behaviour(
        deletes=False, referrers=False, accepts_schema1=False, max_manifest_bytes=100, strict_accept=True
    )
    for path in (V1, f"/v2/a/manifests/{image.digest}", f"/v2/a/blobs/{image.blobs[0].digest}"):
        answer = judge.delete(path)
        assert (answer.status, answer.codes) == (405, ["UNSUPPORTED"])
    assert judge.get(f"/v2/a/referrers/{image.digest}").status == 404
    assert judge.push_manifest("a", "v1", image.raw, image.media_type).status == 413
    assert judge.get(V1, Accept="application/json").status == 404
    assert judge.get(V1, Accept=", ".join(MANIFEST_MEDIA_TYPES)).status == 200


@pytest.mark.parametrize("path", ["/", "/v2/a", "/v2/a/b/c/d", "/v2/UPPER/manifests/v1", "/v2/../manifests/x"])
def test_paths_that_ask_for_nothing(judge: Client, path: str) -> None:
    assert judge.get(path).status in (400, 404)


@pytest.mark.parametrize("tag", ["-bad", "a" * 129, "a%20b"])
def test_names_that_are_no_tags(judge: Client, image: MadeManifest, tag: str) -> None:
    answer = judge.push_manifest("a", tag, image.raw, image.media_type)
    assert (answer.status, answer.codes) == (400, ["TAG_INVALID"])


def test_counters_tell_what_was_asked(embedded: EmbeddedRegistry, judge: Client, image: MadeManifest) -> None:
    before = embedded.counters.values()
    judge.head(V1)
    judge.get("/v2/a/tags/list")
    judge.get("/v2/a/manifests/none")
    counted = embedded.counters.values().minus(before)
    assert counted.requests == {"head manifest": 1, "list tags": 1, "get manifest": 1}
    assert counted.statuses == {"head manifest 200": 1, "list tags 200": 1, "get manifest 404": 1}
    assert [(seen.kind, seen.reference) for seen in embedded.counters.history()] == [
        ("head manifest", "v1"),
        ("list tags", ""),
        ("get manifest", "none"),
    ]
