from __future__ import annotations

from image_syncer.oci import Repository
from image_syncer.registry import Headers, Operation, Request, Response

REPOSITORY = Repository("registry.example", "team/app")


def test_headers_are_found_in_any_case() -> None:
    headers = Headers([("Docker-Content-Digest", "sha256:1"), ("LOCATION", "/a")])
    assert headers.get("docker-content-digest") == "sha256:1"
    assert headers.get("Location") == "/a"
    assert "lOcAtIoN" in headers


def test_missing_headers_are_the_default() -> None:
    headers = Headers()
    assert headers.get("Link") is None
    assert headers.get("Link", "") == ""
    assert headers.get_all("Link") == []
    assert "Link" not in headers


def test_a_repeated_header_keeps_every_value_in_order() -> None:
    fields = [("WWW-Authenticate", "Basic"), ("Date", "now"), ("www-authenticate", "Bearer")]
    headers = Headers(fields)
    assert headers.get("WWW-Authenticate") == "Basic"
    assert headers.get_all("Www-Authenticate") == ["Basic", "Bearer"]
    assert headers.items() == fields


def test_what_headers_hand_out_does_not_change_them() -> None:
    headers = Headers([("A", "1")])
    headers.get_all("a").append("2")
    headers.items().append(("A", "2"))
    assert headers.get_all("A") == ["1"]


def test_an_empty_value_is_a_value() -> None:
    assert Headers([("Location", "")]).get("Location", "/other") == ""


def test_no_repr_shows_a_secret() -> None:
    request = Request(
        Operation.GET_TOKEN,
        "POST",
        "https://h/token?sig=secret1",
        REPOSITORY,
        headers=(("Authorization", "Basic secret2"),),
        body=b"refresh_token=secret3",
    )
    headers = Headers([("Location", "https://h/?sig=secret4"), ("Set-Cookie", "secret5")])
    response = Response(200, headers, b'{"token":"secret6"}', "https://h/token?sig=secret7")
    assert repr(request) == "Request(get token: POST https://h/token)"
    assert repr(response) == "Response(200, 19 bytes, https://h/token)"
    assert repr(headers) == "Headers(location, set-cookie)"


def test_the_line_of_a_request_has_no_query() -> None:
    assert Request(Operation.LIST_TAGS, "GET", "https://h/v2/x/tags/list?n=1", None).line == (
        "GET https://h/v2/x/tags/list"
    )


def test_operations_read_as_the_report_words_them() -> None:
    assert [str(operation) for operation in Operation] == [
        "head manifest",
        "get manifest",
        "put manifest",
        "head blob",
        "get blob",
        "start upload",
        "patch upload",
        "put upload",
        "get upload",
        "cancel upload",
        "delete manifest",
        "delete blob",
        "list tags",
        "list catalog",
        "list referrers",
        "get token",
        "ping",
        "find project",
        "create project",
    ]
