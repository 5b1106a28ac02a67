from __future__ import annotations

import pytest

from image_syncer.errors import IntegrityError, Origin, ProtocolViolation
from image_syncer.oci import (
    DOCKER_SCHEMA1_SIGNED,
    MANIFEST_MEDIA_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Repository,
    digest_of,
)
from image_syncer.oci.descriptor import DOCKER_SCHEMA1
from image_syncer.registry import (
    Endpoint,
    Headers,
    ManifestHead,
    Operation,
    Response,
    build_get_manifest,
    build_head_manifest,
    build_put_manifest,
    parse_manifest_head,
    parse_put_manifest,
)

ENDPOINT = Endpoint("h:5000", "https://h:5000")
APP = Repository("h:5000", "team/app")
DIGEST = digest_of(b"{}")


def answer(status: int, *fields: tuple[str, str]) -> Response:
    return Response(status, Headers(fields), b"", "https://h:5000/v2/team/app/manifests/v1")


@pytest.mark.parametrize(
    ("build", "operation", "method"),
    [
        (build_head_manifest, Operation.HEAD_MANIFEST, "HEAD"),
        (build_get_manifest, Operation.GET_MANIFEST, "GET"),
    ],
)
@pytest.mark.parametrize("target", ["v1", DIGEST])
def test_a_manifest_is_asked_for_in_every_type(build, operation, method, target) -> None:
    request = build(ENDPOINT, APP, target)
    assert (request.operation, request.method) == (operation, method)
    assert request.url == f"https://h:5000/v2/team/app/manifests/{target}"
    assert request.repository == APP
    assert request.body is None
    assert list(map(str, request.scopes)) == ["repository:team/app:pull"]
    [(name, value)] = request.headers
    assert name == "Accept"
    assert value.split(", ") == list(MANIFEST_MEDIA_TYPES)
    assert {OCI_INDEX, DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED} <= set(value.split(", "))


def test_a_manifest_is_pushed_as_it_is() -> None:
    request = build_put_manifest(ENDPOINT, APP, "v1", OCI_MANIFEST, b"{}")
    assert (request.operation, request.method) == (Operation.PUT_MANIFEST, "PUT")
    assert request.url == "https://h:5000/v2/team/app/manifests/v1"
    assert request.headers == (("Content-Type", OCI_MANIFEST),)
    assert request.body == b"{}"
    assert list(map(str, request.scopes)) == ["repository:team/app:push,pull"]


def test_the_head_says_digest_type_and_size() -> None:
    response = answer(
        200,
        ("docker-content-digest", DIGEST),
        ("content-type", f"{OCI_INDEX}; charset=utf-8"),
        ("content-length", "1234"),
    )
    assert parse_manifest_head(response) == ManifestHead(DIGEST, OCI_INDEX, 1234)


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("Docker-Content-Digest", ""), ("Content-Type", ""), ("Content-Length", "")),
        (("Docker-Content-Digest", "md5:1"), ("Content-Length", "0")),
        (("Docker-Content-Digest", "sha256:XYZ"), ("Content-Length", "-5")),
        (("Content-Length", "9" * 5000),),
    ],
)
def test_headers_that_say_nothing_usable_count_as_missing(fields) -> None:
    assert parse_manifest_head(answer(200, *fields)) == ManifestHead(None, None, None)


@pytest.mark.parametrize("fields", [(), (("Docker-Content-Digest", DIGEST),), (("Docker-Content-Digest", "?"),)])
@pytest.mark.parametrize("status", [201, 200, 202])
def test_a_pushed_manifest_is_accepted(status: int, fields) -> None:
    parse_put_manifest(answer(status, *fields), DIGEST)


def test_a_manifest_stored_under_another_digest_is_an_integrity_error() -> None:
    other = digest_of(b"changed")
    with pytest.raises(IntegrityError) as caught:
        parse_put_manifest(answer(201, ("Docker-Content-Digest", other)), DIGEST)
    assert (caught.value.expected, caught.value.actual) == (DIGEST, other)
    assert caught.value.origin is Origin.DESTINATION


def test_a_digest_by_another_algorithm_is_no_contradiction() -> None:
    parse_put_manifest(answer(201, ("Docker-Content-Digest", digest_of(b"{}", "sha512"))), DIGEST)


def test_another_status_than_success_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_put_manifest(answer(302), DIGEST)
    assert caught.value.status == 302


def test_a_page_for_people_is_no_answer_to_a_pushed_manifest() -> None:
    with pytest.raises(ProtocolViolation, match="page for people"):
        parse_put_manifest(answer(200, ("Content-Type", "text/html; charset=utf-8")), DIGEST)
