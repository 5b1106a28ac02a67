from __future__ import annotations

import pytest

from image_syncer.errors import IntegrityError, Origin, ProtocolViolation
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import (
    Endpoint,
    Headers,
    Mounted,
    Operation,
    Response,
    UploadSession,
    build_cancel_upload,
    build_get_upload,
    build_put_upload,
    build_start_upload,
    parse_put_upload,
    parse_start_upload,
    parse_upload_status,
)
from image_syncer.registry.blobs import UploadStatus
from support.digests import EMPTY_DIGEST

ENDPOINT = Endpoint("h", "https://h")
APP = Repository("h", "team/app")
DIGEST = digest_of(b"layer")
START = "https://h/v2/team/app/blobs/uploads/"
MOUNT = f"{START}?mount=sha256%3A1&from=other"
PUSH = "repository:team/app:push,pull"


def answer(status: int, *fields: tuple[str, str]) -> Response:
    return Response(status, Headers(fields), b"", START)


def test_a_session_is_opened_with_an_empty_body() -> None:
    request = build_start_upload(ENDPOINT, APP, mount=None, from_name=None, from_scope=False)
    assert (request.operation, request.method, request.url) == (Operation.START_UPLOAD, "POST", START)
    assert (request.headers, request.body) == ((), b"")
    assert list(map(str, request.scopes)) == [PUSH]


@pytest.mark.parametrize(
    ("from_name", "from_scope", "query", "scopes"),
    [
        ("base/os", True, "&from=base%2Fos", [PUSH, "repository:base/os:pull"]),
        ("base/os", False, "&from=base%2Fos", [PUSH]),
        ("team/app", True, "&from=team%2Fapp", [PUSH]),
        (None, True, "", [PUSH]),
    ],
)
def test_a_mount_names_the_blob_and_where_it_is(from_name, from_scope, query, scopes) -> None:
    request = build_start_upload(ENDPOINT, APP, mount=DIGEST, from_name=from_name, from_scope=from_scope)
    assert request.url == f"{START}?mount=sha256%3A{DIGEST.hex}{query}"
    assert list(map(str, request.scopes)) == scopes


def test_without_a_mount_no_other_repository_is_named() -> None:
    request = build_start_upload(ENDPOINT, APP, mount=None, from_name="base/os", from_scope=True)
    assert (request.url, len(request.scopes)) == (START, 1)


def test_a_mount_that_worked_needs_no_upload() -> None:
    response = answer(201, ("Location", "/v2/team/app/blobs/sha256:1"))
    assert parse_start_upload(response, MOUNT) == Mounted("/v2/team/app/blobs/sha256:1")
    assert parse_start_upload(answer(201), MOUNT) == Mounted(None)


@pytest.mark.parametrize("url", [START, MOUNT])
def test_a_session_is_taken_from_the_location(url: str) -> None:
    response = answer(202, ("Location", "/v2/team/app/blobs/uploads/7?_state=a%2Bb"))
    assert parse_start_upload(response, url) == UploadSession(f"{START}7?_state=a%2Bb", 0)


def test_created_without_a_mount_is_a_session() -> None:
    assert parse_start_upload(answer(201, ("Location", f"{START}7")), START) == UploadSession(f"{START}7")


@pytest.mark.parametrize(("value", "expected"), [("5242880", 5242880), ("0", 0), ("-1", 0), ("many", 0), ("9" * 40, 0)])
def test_the_least_length_of_a_chunk(value: str, expected: int) -> None:
    response = answer(202, ("Location", "7"), ("OCI-Chunk-Min-Length", value))
    assert parse_start_upload(response, START) == UploadSession(f"{START}7", expected)


def test_a_session_that_tls_lost_on_the_way_stays_on_tls() -> None:
    session = parse_start_upload(answer(202, ("Location", f"http{START[5:]}7?s=1")), START)
    assert session == UploadSession(f"{START}7?s=1")


@pytest.mark.parametrize(
    "response",
    [
        answer(202),
        answer(202, ("Location", "")),
        answer(202, ("Location", "ftp://h/7")),
        answer(200, ("Location", f"{START}7")),
        answer(404),
    ],
)
def test_an_answer_without_a_session_is_a_violation(response: Response) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_start_upload(response, START)
    assert caught.value.origin is Origin.DESTINATION


@pytest.mark.parametrize(
    ("session_url", "put_url"),
    [
        (f"{START}7", f"{START}7?digest="),
        (f"{START}7?_state=a%2Bb==&x", f"{START}7?_state=a%2Bb==&x&digest="),
        (f"{START}7?", f"{START}7?digest="),
        (f"{START}7?a=1&", f"{START}7?a=1&digest="),
        (f"{START}7?a=1#part", f"{START}7?a=1&digest="),
    ],
)
def test_the_digest_goes_to_the_end_of_an_opaque_query(session_url: str, put_url: str) -> None:
    request = build_put_upload(ENDPOINT, APP, UploadSession(session_url), DIGEST, 5)
    assert request.url == f"{put_url}sha256%3A{DIGEST.hex}"


@pytest.mark.parametrize(("digest", "size"), [(DIGEST, 5), (EMPTY_DIGEST, 0)])
def test_the_put_says_its_length_and_leaves_the_body_to_the_stream(digest, size) -> None:
    request = build_put_upload(ENDPOINT, APP, UploadSession(f"{START}7"), digest, size)
    assert (request.operation, request.method, request.body) == (Operation.PUT_UPLOAD, "PUT", None)
    assert request.headers == (
        ("Content-Type", "application/octet-stream"),
        ("Content-Length", str(size)),
    )
    assert list(map(str, request.scopes)) == [PUSH]


@pytest.mark.parametrize(
    ("build", "operation", "method"),
    [
        (build_get_upload, Operation.GET_UPLOAD, "GET"),
        (build_cancel_upload, Operation.CANCEL_UPLOAD, "DELETE"),
    ],
)
def test_a_session_is_asked_about_and_given_up_at_its_address(build, operation, method) -> None:
    request = build(ENDPOINT, APP, UploadSession(f"{START}7?_state=1"))
    assert (request.operation, request.method, request.url) == (operation, method, f"{START}7?_state=1")
    assert list(map(str, request.scopes)) == [PUSH]


def test_a_session_on_another_host_is_owed_nothing() -> None:
    session = UploadSession("https://storage.example/7?sig=1")
    assert build_put_upload(ENDPOINT, APP, session, DIGEST, 5).scopes == ()
    assert build_get_upload(ENDPOINT, APP, session).scopes == ()
    assert build_cancel_upload(ENDPOINT, APP, session).scopes == ()


def test_a_session_does_not_show_its_query() -> None:
    assert repr(UploadSession("https://h/7?sig=secret")) == "UploadSession('https://h/7', min_chunk_bytes=0)"


@pytest.mark.parametrize("status", [201, 200, 204])
@pytest.mark.parametrize("fields", [(), (("Docker-Content-Digest", DIGEST),), (("Docker-Content-Digest", "x"),)])
def test_an_upload_is_done(status: int, fields) -> None:
    parse_put_upload(answer(status, *fields), DIGEST)


@pytest.mark.parametrize("status", [202, 301, 400])
def test_an_upload_that_is_not_done_is_a_violation(status: int) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_put_upload(answer(status), DIGEST)
    assert (caught.value.status, caught.value.operation) == (status, "put upload")


def test_a_page_for_people_is_no_answer_to_an_upload() -> None:
    with pytest.raises(ProtocolViolation, match="page for people"):
        parse_put_upload(answer(200, ("Content-Type", "text/html")), DIGEST)


def test_a_blob_stored_under_another_digest_is_an_integrity_error() -> None:
    other = digest_of(b"damaged")
    with pytest.raises(IntegrityError) as caught:
        parse_put_upload(answer(201, ("Docker-Content-Digest", other)), DIGEST)
    assert (caught.value.expected, caught.value.actual, caught.value.retryable) == (DIGEST, other, True)


def test_a_digest_by_another_algorithm_is_no_contradiction() -> None:
    parse_put_upload(answer(201, ("Docker-Content-Digest", digest_of(b"layer"))), digest_of(b"layer", "sha512"))


@pytest.mark.parametrize(
    ("range_", "received"),
    [("0-99", 100), ("bytes=0-99", 100), ("0-0", None), ("", None), ("5-99", None), ("0-x", None)],
)
def test_how_far_an_upload_came(range_: str, received: int | None) -> None:
    response = answer(204, ("Location", f"{START}7?_state=2"), ("Range", range_))
    assert parse_upload_status(response, f"{START}7?_state=1") == UploadStatus(
        UploadSession(f"{START}7?_state=2"), received
    )


def test_without_a_location_the_session_stays_where_it_is() -> None:
    status = parse_upload_status(answer(204, ("Range", "0-9")), f"{START}7?_state=1")
    assert status == UploadStatus(UploadSession(f"{START}7?_state=1"), 10)


def test_a_status_that_is_none_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation):
        parse_upload_status(answer(404), START)
