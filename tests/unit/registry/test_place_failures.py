from __future__ import annotations

import pytest

from image_syncer.errors import NotFoundError, Origin, RegistryError, UnavailableError
from image_syncer.oci import OCI_MANIFEST, Repository, digest_of
from image_syncer.registry import (
    Headers,
    Network,
    Request,
    Response,
    UploadSession,
    build_get_blob,
    build_get_manifest,
    build_put_manifest,
    build_put_upload,
    candidate_endpoints,
    parse_failure,
)

LAYOUT = Repository("oci:/srv/layout", "")
(ENDPOINT,) = candidate_endpoints(
    LAYOUT.registry, insecure=False, skip_tls_verify=False, network=Network(unix_socket="/run/gate")
)
DIGEST = digest_of(b"layer")
SESSION = UploadSession(f"{ENDPOINT.base_url}/v2//blobs/uploads/7")


def fail(request: Request, status: int, code: str, message: str) -> RegistryError:
    body = f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'.encode()
    return parse_failure(Response(status, Headers(), body, request.url), request=request, origin=Origin.SOURCE)


def test_what_is_missing_is_named_and_no_address() -> None:
    error = fail(build_get_blob(ENDPOINT, LAYOUT, DIGEST), 404, "BLOB_UNKNOWN", "blob unknown to registry")
    assert isinstance(error, NotFoundError)
    assert error.message == f"cannot be read: there is no blob {DIGEST}"
    assert error.hint is not None
    assert "in blobs" in error.hint
    error = fail(build_get_manifest(ENDPOINT, LAYOUT, str(DIGEST)), 404, "MANIFEST_UNKNOWN", "manifest unknown")
    assert error.message == f"cannot be read: there is no manifest {DIGEST}"


def test_an_unknown_name_is_told_as_the_layout_tells_it() -> None:
    request = build_get_manifest(ENDPOINT, LAYOUT, "v2")
    error = fail(request, 404, "MANIFEST_UNKNOWN", "there is no image v2 there; there is v1")
    assert error.message == "cannot be read: there is no image v2 there; there is v1"
    assert error.hint is None


@pytest.mark.parametrize(
    "request_",
    [
        build_put_upload(ENDPOINT, LAYOUT, SESSION, DIGEST, 5),
        build_put_manifest(ENDPOINT, LAYOUT, "v1", OCI_MANIFEST, b"{}"),
    ],
)
def test_a_full_file_system_is_no_full_registry(request_: Request) -> None:
    error = fail(request_, 507, "UNKNOWN", "write: no space left on device")
    assert isinstance(error, UnavailableError)
    assert not error.retryable
    assert error.message == "cannot be written: write: no space left on device"
    assert error.hint is not None
    assert "registry" not in error.hint
    assert "file system" in error.hint


def test_an_answer_without_words_is_still_a_sentence() -> None:
    response = Response(500, Headers(), b"", ENDPOINT.base_url)
    error = parse_failure(response, request=build_get_blob(ENDPOINT, LAYOUT, DIGEST), origin=Origin.SOURCE)
    assert error.message == "cannot be read: no reason is known"
