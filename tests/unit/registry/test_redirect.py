from __future__ import annotations

import pytest

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import Repository
from image_syncer.registry import (
    Endpoint,
    Headers,
    RedirectPolicy,
    Request,
    Response,
    build_get_blob,
    build_get_manifest,
    build_put_upload,
    build_start_upload,
    follow_redirect,
    may_carry_credentials,
)
from image_syncer.registry.blobs import UploadSession
from image_syncer.registry.endpoint import MAX_REDIRECTS
from support.digests import EMPTY_DIGEST

ENDPOINT = Endpoint("h", "https://h")
APP = Repository("h", "team/app")
BLOB = build_get_blob(ENDPOINT, APP, EMPTY_DIGEST, offset=7)
MANIFEST = build_get_manifest(ENDPOINT, APP, "v1")
START = build_start_upload(ENDPOINT, APP)
PUT = build_put_upload(ENDPOINT, APP, UploadSession("https://h/v2/u/1"), EMPTY_DIGEST, 0)


def answer(request: Request, location: str | None, status: int = 307) -> Response:
    fields = [] if location is None else [("Location", location)]
    return Response(status, Headers(fields), b"", request.url)


def test_a_redirect_is_resolved_against_the_request() -> None:
    assert follow_redirect(MANIFEST, answer(MANIFEST, "/b?c"), followed=0).url == "https://h/b?c"


def test_credentials_stay_with_scheme_host_and_port() -> None:
    assert may_carry_credentials("https://h/a", "https://h:443/b")
    assert not may_carry_credentials("https://h/a", "https://storage.example/b")
    assert not may_carry_credentials("https://h/a", "http://h/a")


@pytest.mark.parametrize("base", ["https://h", "https://h:5000", "http://[::1]:5000"])
def test_credentials_go_to_paths_below_the_registry_and_to_nothing_that_only_looks_like_it(base: str) -> None:
    assert may_carry_credentials(base, f"{base}/v2/")
    assert may_carry_credentials(base, base)
    for other in (
        f"{base}.evil/v2/",
        f"{base}@evil/v2/",
        f"{base}0/",
        f"{base}:1/v2/",
        base[:-1] + "/",
        f"{base}\\@evil/",
    ):
        assert not may_carry_credentials(base, other), other


@pytest.mark.parametrize("base", ["https:", "https:/", "https://", "h", "", "https://u:p@h", "ftp://h"])
def test_what_is_no_address_of_a_registry_gets_nothing(base: str) -> None:
    assert not may_carry_credentials(base, f"{base}/v2/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_blob_is_fetched_from_the_storage_that_the_registry_names(status: int) -> None:
    followed = follow_redirect(BLOB, answer(BLOB, "https://s3.example/b?sig=%2B", status), followed=0)
    assert (followed.url, followed.method, followed.headers) == (
        "https://s3.example/b?sig=%2B",
        "GET",
        (("Range", "bytes=7-"),),
    )
    assert followed.scopes == ()


def test_inside_the_registry_the_scopes_stay() -> None:
    followed = follow_redirect(MANIFEST, answer(MANIFEST, "/v2/other/manifests/v1"), followed=0)
    assert (followed.url, followed.scopes) == ("https://h/v2/other/manifests/v1", MANIFEST.scopes)


@pytest.mark.parametrize("status", [307, 308])
def test_a_put_stays_a_put(status: int) -> None:
    followed = follow_redirect(PUT, answer(PUT, "/v2/u/2", status), followed=0)
    assert (followed.method, followed.headers) == ("PUT", PUT.headers)


def test_nothing_leaves_tls_unasked() -> None:
    for request in (BLOB, MANIFEST):
        with pytest.raises(ProtocolViolation, match="HTTPS to plain HTTP"):
            follow_redirect(request, answer(request, "http://storage.internal/b"), followed=0)


def test_only_a_blob_may_leave_tls_where_it_is_allowed() -> None:
    location, allowed = "http://storage.internal/b", RedirectPolicy(plain=True)
    assert follow_redirect(BLOB, answer(BLOB, location), followed=0, allowed=allowed).url == location
    with pytest.raises(ProtocolViolation, match="HTTPS to plain HTTP") as caught:
        follow_redirect(MANIFEST, answer(MANIFEST, location), followed=0, allowed=allowed)
    assert caught.value.hint is None  # what would not help is not said


@pytest.mark.parametrize(
    ("request_", "location", "status", "followed", "what"),
    [
        (BLOB, "/b", 307, MAX_REDIRECTS, "once more after 5"),
        (BLOB, None, 307, 0, "without a Location"),
        (BLOB, "", 302, 0, "without a Location"),
        (BLOB, BLOB.url, 307, 0, "the same address"),
        (BLOB, "/b", 300, 0, "is no redirect"),
        (BLOB, "/b", 200, 0, "is no redirect"),
        (START, "https://other/v2/", 301, 0, "GET to https://other/v2/"),
        (PUT, "/v2/u/2", 302, 0, "GET to elsewhere"),
        (BLOB, "gopher://h/b", 307, 0, "cannot be used"),
    ],
)
def test_a_redirect_that_leads_nowhere_is_a_violation(request_, location, status, followed, what) -> None:
    with pytest.raises(ProtocolViolation, match=what) as caught:
        follow_redirect(request_, answer(request_, location, status), followed=followed, origin=Origin.SOURCE)
    assert caught.value.origin is Origin.SOURCE
