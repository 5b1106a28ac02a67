from __future__ import annotations

import pytest

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import (
    Endpoint,
    Headers,
    Operation,
    Response,
    build_get_blob,
    build_head_blob,
    parse_blob_range,
)
from image_syncer.registry.blobs import BlobRange

ENDPOINT = Endpoint("h", "https://h")
APP = Repository("h", "team/app")
DIGEST = digest_of(b"layer")
URL = f"https://h/v2/team/app/blobs/{DIGEST}"


def answer(status: int, **fields: str) -> Response:
    headers = Headers((name.replace("_", "-"), value) for name, value in fields.items())
    return Response(status, headers, b"", URL)


def test_a_blob_is_asked_for_without_any_header() -> None:
    request = build_get_blob(ENDPOINT, APP, DIGEST)
    assert (request.operation, request.method, request.url) == (Operation.GET_BLOB, "GET", URL)
    assert request.headers == ()
    assert list(map(str, request.scopes)) == ["repository:team/app:pull"]


def test_a_blob_is_asked_for_from_an_offset() -> None:
    assert build_get_blob(ENDPOINT, APP, DIGEST, offset=4096).headers == (("Range", "bytes=4096-"),)


def test_the_presence_of_a_blob_is_asked_for() -> None:
    request = build_head_blob(ENDPOINT, APP, DIGEST)
    assert (request.operation, request.method, request.url) == (Operation.HEAD_BLOB, "HEAD", URL)
    assert request.headers == ()


@pytest.mark.parametrize(
    ("response", "offset", "expected"),
    [
        (answer(200, Content_Length="10"), 0, BlobRange(0, 10)),
        (answer(200), 5, BlobRange(0, None)),
        (answer(206, Content_Range="bytes 5-9/10"), 5, BlobRange(5, 10)),
        (answer(206, Content_Range="bytes 5-9/*"), 5, BlobRange(5, None)),
        (answer(206, content_range=" Bytes  5-9/10 "), 5, BlobRange(5, 10)),
    ],
)
def test_where_the_bytes_begin(response: Response, offset: int, expected: BlobRange) -> None:
    assert parse_blob_range(response, offset) == expected


@pytest.mark.parametrize(
    "response",
    [
        answer(206),
        answer(206, Content_Range="bytes 0-9/10"),
        answer(206, Content_Range="5-9/10"),
        answer(206, Content_Range="bytes */10"),
        answer(204),
    ],
)
def test_a_partial_answer_that_begins_elsewhere_is_a_violation(response: Response) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        parse_blob_range(response, 5)
    assert caught.value.origin is Origin.SOURCE
    assert "from 5 on" in caught.value.message
