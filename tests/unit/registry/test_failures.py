from __future__ import annotations

import pytest

from image_syncer.errors import (
    AuthenticationError,
    NotFoundError,
    Origin,
    ProtocolViolation,
    RateLimitedError,
    RefusedError,
    RegistryError,
    SyncError,
    UnavailableError,
)
from image_syncer.oci import OCI_MANIFEST, Repository, digest_of
from image_syncer.registry import (
    Challenge,
    Credential,
    Endpoint,
    Headers,
    Request,
    Response,
    UploadSession,
    build_get_blob,
    build_get_manifest,
    build_get_upload,
    build_head_manifest,
    build_ping,
    build_put_manifest,
    build_put_upload,
    build_start_upload,
    build_token_request,
    follow_redirect,
    parse_failure,
)
from image_syncer.registry.failures import is_retryable_status
from image_syncer.registry.listings import build_list_tags

ENDPOINT = Endpoint("h:5000", "https://h:5000")
APP = Repository("h:5000", "team/app")
DIGEST = digest_of(b"layer")
SESSION = UploadSession("https://h:5000/v2/team/app/blobs/uploads/7?_state=s3cr3t")
BEARER = Challenge("bearer", {"realm": "https://auth.example/token"})

GET_MANIFEST = build_get_manifest(ENDPOINT, APP, "v1")
HEAD_MANIFEST = build_head_manifest(ENDPOINT, APP, "v1")
PUT_MANIFEST = build_put_manifest(ENDPOINT, APP, "v1", OCI_MANIFEST, b"{}")
GET_BLOB = build_get_blob(ENDPOINT, APP, DIGEST)
START_UPLOAD = build_start_upload(ENDPOINT, APP)
PUT_UPLOAD = build_put_upload(ENDPOINT, APP, SESSION, DIGEST, 5)
GET_UPLOAD = build_get_upload(ENDPOINT, APP, SESSION)
LIST_TAGS = build_list_tags(ENDPOINT, APP, page_size=0)
GET_TOKEN = build_token_request(BEARER, (), None)
GET_TOKEN_WITH_PASSWORD = build_token_request(BEARER, (), Credential("jane", "hunter2"), repository=APP)
GET_TOKEN_BY_FORM = build_token_request(BEARER, (), Credential("jane", "", "identity"))


def errors(code: str, message: str = "", detail: str = "null") -> bytes:
    return f'{{"errors":[{{"code":"{code}","message":"{message}","detail":{detail}}}]}}'.encode()


def fail(
    request: Request,
    status: int,
    body: bytes = b"",
    *fields: tuple[str, str],
    url: str = "",
    origin: Origin = Origin.SOURCE,
) -> RegistryError:
    response = Response(status, Headers(fields), body, url or request.url)
    return parse_failure(response, request=request, origin=origin)


def test_a_failure_says_what_was_asked_and_what_was_answered() -> None:
    error = fail(GET_MANIFEST, 404, errors("MANIFEST_UNKNOWN", "manifest unknown"))
    assert isinstance(error, NotFoundError)
    assert error.message == (
        "GET https://h:5000/v2/team/app/manifests/v1 answered 404 MANIFEST_UNKNOWN: manifest unknown"
    )
    assert error.request == "GET https://h:5000/v2/team/app/manifests/v1"
    assert (error.status, error.codes) == (404, ("MANIFEST_UNKNOWN",))
    assert (error.origin, error.operation, error.repository) == (Origin.SOURCE, "get manifest", "h:5000/team/app")
    assert (error.reference, error.digest, error.retryable) == ("v1", None, False)


def test_a_failure_crosses_a_process() -> None:
    error = fail(GET_BLOB, 429, errors("TOOMANYREQUESTS"), ("Retry-After", "7"))
    again = SyncError.from_data(error.to_data())
    assert again.to_data() == error.to_data()
    assert isinstance(again, RateLimitedError)


def test_a_failure_of_a_blob_names_its_digest() -> None:
    error = fail(GET_BLOB, 404)
    assert (error.digest, error.reference) == (DIGEST, None)
    assert error.message.endswith(" answered 404 Not Found")


def test_no_query_and_no_credential_is_shown() -> None:
    for request in (PUT_UPLOAD, GET_TOKEN_WITH_PASSWORD, GET_TOKEN_BY_FORM):
        shown = repr(fail(request, 500).to_data())
        assert "s3cr3t" not in shown
        assert "hunter2" not in shown
        assert "identity" not in shown


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, RefusedError, False),
        (401, AuthenticationError, False),
        (403, AuthenticationError, False),
        (404, NotFoundError, False),
        (405, RefusedError, False),
        (408, UnavailableError, True),
        (412, RefusedError, False),
        (413, RefusedError, False),
        (416, RefusedError, False),
        (418, RefusedError, False),
        (429, RateLimitedError, True),
        (499, UnavailableError, True),
        (500, UnavailableError, True),
        (501, UnavailableError, False),
        (502, UnavailableError, True),
        (503, UnavailableError, True),
        (504, UnavailableError, True),
        (507, UnavailableError, False),
        (522, UnavailableError, True),
        (204, ProtocolViolation, False),
        (302, ProtocolViolation, False),
        (600, ProtocolViolation, False),
    ],
)
def test_the_kind_of_a_failure_follows_its_status(status: int, kind: type[RegistryError], retryable: bool) -> None:
    error = fail(GET_MANIFEST, status)
    assert type(error) is kind
    assert error.retryable is retryable
    if status >= 400:
        assert is_retryable_status(status) is retryable


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, b""),
        (400, errors("TOOMANYREQUESTS", "slow down")),
        (503, errors("toomanyrequests")),
        (403, b"toomanyrequests: You have reached your pull rate limit."),
        (500, b'{"message":"toomanyrequests: too many failed login attempts"}'),
    ],
)
def test_a_limit_is_a_limit_whatever_its_status(status: int, body: bytes) -> None:
    error = fail(GET_MANIFEST, status, body, ("Retry-After", "30"))
    assert isinstance(error, RateLimitedError)
    assert (error.retry_after_s, error.retryable) == (30.0, True)
    assert error.codes == ("TOOMANYREQUESTS",)
    assert error.hint is not None
    assert error.hint.startswith("Requests to h:5000 are limited")


def test_an_unavailable_registry_may_say_for_how_long() -> None:
    error = fail(GET_MANIFEST, 503, b"", ("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT"))
    assert isinstance(error, UnavailableError)
    assert error.retry_after_s is None
    response = Response(503, Headers([("Retry-After", "Sun, 06 Nov 1994 08:50:37 GMT")]), b"", GET_MANIFEST.url)
    error = parse_failure(response, request=GET_MANIFEST, origin=Origin.SOURCE, now_epoch_s=784111777.0)
    assert isinstance(error, UnavailableError)
    assert error.retry_after_s == 60.0


def test_denied_stands_for_a_403_that_gives_no_code() -> None:
    assert fail(GET_MANIFEST, 403, b"<html>").codes == ("DENIED",)
    assert fail(GET_MANIFEST, 403, errors("PROJECT_POLICY")).codes == ("PROJECT_POLICY",)
    assert fail(GET_MANIFEST, 404).codes == ()


def test_too_few_rights_are_told_from_no_credentials() -> None:
    challenge = 'Bearer realm="https://auth.example/token",error="insufficient_scope"'
    error = fail(START_UPLOAD, 401, errors("UNAUTHORIZED"), ("WWW-Authenticate", challenge))
    assert error.codes == ("UNAUTHORIZED", "INSUFFICIENT_SCOPE")
    assert error.hint == (
        "The credentials for h:5000 do not allow to push to h:5000/team/app, or the repository does not exist there."
    )
    plain = fail(START_UPLOAD, 401, errors("UNAUTHORIZED"), ("WWW-Authenticate", "Basic realm=x"))
    assert plain.codes == ("UNAUTHORIZED",)
    assert plain.hint is not None
    assert plain.hint.startswith("Give a user name and password for h:5000")


@pytest.mark.parametrize(
    ("request_", "status", "body", "hint"),
    [
        (GET_MANIFEST, 403, b"", "do not allow to pull from h:5000/team/app"),
        (PUT_MANIFEST, 403, errors("DENIED"), "do not allow to push to h:5000/team/app"),
        (LIST_TAGS, 401, b"", "in the auth file, or correct them"),
        (build_ping(ENDPOINT), 401, b"", "Give a user name and password for h in the auth file"),
        (GET_TOKEN, 401, b"", "Without a user name and password the registry does not allow this"),
        (GET_TOKEN_WITH_PASSWORD, 401, b"", "password for h:5000 is wrong"),
        (GET_TOKEN_BY_FORM, 401, b"", "password for the registry is wrong"),
        (GET_MANIFEST, 404, errors("NAME_UNKNOWN"), "Check the name and the tag."),
        (HEAD_MANIFEST, 404, b"", "Check the name and the tag."),
        (LIST_TAGS, 404, errors("NAME_UNKNOWN"), "Check the name."),
        (GET_MANIFEST, 404, b"<html><title>404 Not Found</title>", "This is not the answer of a registry"),
        (START_UPLOAD, 404, errors("NAME_UNKNOWN"), "A push does not create the repository"),
        (PUT_MANIFEST, 404, errors("NAME_UNKNOWN"), "A push does not create the repository"),
        (PUT_UPLOAD, 413, b"<html>", "client_max_body_size"),
        (PUT_MANIFEST, 412, errors("PRECONDITION", "configured as immutable"), "The tag exists at the destination"),
        (PUT_MANIFEST, 400, errors("TAG_INVALID", "The tag is immutable"), "The tag exists at the destination"),
        (GET_MANIFEST, 502, b"<html><title>502 Bad Gateway</title>", "has trouble of its own"),
    ],
)
def test_a_stranger_gets_a_hint(request_: Request, status: int, body: bytes, hint: str) -> None:
    error = fail(request_, status, body)
    assert error.hint is not None
    assert hint in error.hint


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (GET_BLOB, 404, errors("BLOB_UNKNOWN")),
        (PUT_MANIFEST, 400, errors("MANIFEST_INVALID", "manifest invalid")),
        (PUT_UPLOAD, 404, errors("BLOB_UPLOAD_UNKNOWN")),
    ],
)
def test_where_the_message_says_it_all_there_is_no_hint(request_: Request, status: int, body: bytes) -> None:
    assert fail(request_, status, body).hint is None


def test_that_a_destination_has_no_such_tag_needs_no_advice() -> None:
    assert fail(HEAD_MANIFEST, 404, origin=Origin.DESTINATION).hint is None


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (PUT_UPLOAD, 507, b""),
        (PUT_UPLOAD, 500, b"write /data/x: no space left on device"),
        (START_UPLOAD, 500, errors("UNKNOWN", "unknown error", '{"DriverName":"filesystem","Enclosed":{"Err":28}}')),
        (PUT_MANIFEST, 403, errors("DENIED", "adding 1 GiB will exceed the configured upper limit of 10 GiB")),
        (PUT_UPLOAD, 413, errors("DENIED", "Storage quota exceeded")),
        (PUT_UPLOAD, 503, b"<Error><Code>XMinioStorageFull</Code></Error>"),
    ],
)
def test_a_full_destination_is_said_and_not_tried_again(request_: Request, status: int, body: bytes) -> None:
    error = fail(request_, status, body, origin=Origin.DESTINATION)
    assert error.hint == "The registry is full or over its quota: free space there or raise the quota, then run again."
    assert error.retryable is False


def test_a_quota_of_reads_is_no_full_disk() -> None:
    error = fail(GET_BLOB, 503, b"bandwidth quota exceeded")
    assert error.retryable
    assert "full" not in str(error.hint)
    assert fail(PUT_MANIFEST, 429, b"quota exceeded for requests per minute").retryable


@pytest.mark.parametrize(
    "body",
    [
        b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        b"Client sent an HTTP request to an HTTPS server.\n",
    ],
)
def test_plain_http_to_a_port_with_tls_is_explained(body: bytes) -> None:
    error = fail(GET_MANIFEST, 400, body)
    assert isinstance(error, RefusedError)
    assert error.hint == "This port speaks TLS and was asked in plain HTTP: leave `insecure` out for this registry."
    assert "HTTP request" in error.message


@pytest.mark.parametrize(
    ("request_", "status", "body", "retryable"),
    [
        (PUT_UPLOAD, 416, b"", True),
        (PUT_UPLOAD, 404, errors("BLOB_UPLOAD_UNKNOWN"), True),
        (PUT_UPLOAD, 400, errors("DIGEST_INVALID"), True),
        (GET_UPLOAD, 404, errors("BLOB_UPLOAD_INVALID"), True),
        (PUT_UPLOAD, 400, errors("UNSUPPORTED"), False),
        (PUT_MANIFEST, 400, errors("DIGEST_INVALID"), False),
        (GET_BLOB, 416, b"", False),
    ],
)
def test_a_lost_session_can_be_opened_anew(request_: Request, status: int, body: bytes, retryable: bool) -> None:
    assert fail(request_, status, body).retryable is retryable


STORAGE = "https://s3.example/blob?X-Amz-Signature=s3cr3t"
EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def test_an_expired_signature_is_asked_for_again() -> None:
    error = fail(GET_BLOB, 403, EXPIRED, url=STORAGE)
    assert isinstance(error, UnavailableError)
    assert (error.retryable, error.status) == (True, 403)
    assert error.message == "GET https://s3.example/blob answered 403 AccessDenied: Request has expired"
    assert error.hint is not None
    assert "expired" in error.hint


def test_an_upload_on_another_host_is_signed_too() -> None:
    session = UploadSession("https://upload.example/7?sig=s3cr3t")
    error = fail(build_put_upload(ENDPOINT, APP, session, DIGEST, 5), 401)
    assert isinstance(error, UnavailableError)


def test_another_host_that_asks_who_we_are_is_a_registry() -> None:
    error = fail(GET_BLOB, 401, b"", ("WWW-Authenticate", "Basic realm=x"), url="https://mirror.example/v2/x")
    assert isinstance(error, AuthenticationError)


def test_a_manifest_on_another_host_is_not_signed() -> None:
    elsewhere = follow_redirect(
        GET_MANIFEST, Response(307, Headers([("Location", "https://b.example/m")]), b"", ""), followed=0
    )
    error = fail(elsewhere, 403)
    assert isinstance(error, AuthenticationError)
    assert (error.request, error.reference) == ("GET https://b.example/m", None)


def test_a_refused_refresh_token_is_a_wrong_password() -> None:
    body = b'{"error":"invalid_grant","error_description":"expired"}'
    error = fail(GET_TOKEN_BY_FORM, 400, body)
    assert isinstance(error, AuthenticationError)
    assert error.hint is not None
    assert "the registry is wrong" in error.hint


def test_the_ids_by_which_an_operator_finds_the_request_are_kept() -> None:
    headers = (("x-request-id", "5f1c"), ("CF-RAY", "8a-FRA"), ("X-Amzn-RequestId", "\x1b[31m" + "7" * 300))
    response = Response(500, Headers(headers), b"", "https://h:5000/v2/")
    error = parse_failure(response, request=GET_MANIFEST, origin=Origin.SOURCE)
    assert error.request_ids is not None
    kept = dict(error.request_ids)
    amazon = kept.pop("x-amzn-RequestId")
    assert kept == {"X-Request-Id": "5f1c", "CF-Ray": "8a-FRA"}
    assert "\x1b" not in amazon
    assert amazon.count("7") < 200
    again = SyncError.from_data(error.to_data())
    assert isinstance(again, RegistryError)
    assert again.request_ids == error.request_ids
    without = parse_failure(Response(500, Headers(), b"", ""), request=GET_MANIFEST, origin=Origin.SOURCE)
    assert "request_ids" not in without.to_data()
