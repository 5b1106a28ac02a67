from __future__ import annotations

import pytest

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.registry import (
    origin_of,
    same_origin,
    without_query,
)
from image_syncer.registry.location import MAX_LOCATION_CHARS, append_query, resolve_location, resolve_own_location

BASE = "https://h:5000/v2/team/app/blobs/uploads/?mount=1"


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://h:5000/v2/x?_state=a%2Bb==", "https://h:5000/v2/x?_state=a%2Bb=="),
        ("https://storage.example/b?X-Sig=%2F+~&&=;", "https://storage.example/b?X-Sig=%2F+~&&=;"),
        ("HTTPS://H/x", "HTTPS://H/x"),
        ("http://[::1]:5000/x", "http://[::1]:5000/x"),
        ("https://h", "https://h"),
        ("https://h?x", "https://h?x"),
        ("//other.example/x?y", "https://other.example/x?y"),
        ("other.example/v2/x?y", "https://other.example/v2/x?y"),
        ("other:5000/v2/x", "https://other:5000/v2/x"),
        ("localhost/v2/x", "https://localhost/v2/x"),
        ("127.0.0.1:5000/v2/x", "https://127.0.0.1:5000/v2/x"),
        ("/v2/y/../z?a=//b", "https://h:5000/v2/y/../z?a=//b"),
        ("7?_state=http://x", "https://h:5000/v2/team/app/blobs/uploads/7?_state=http://x"),
        ("./7", "https://h:5000/v2/team/app/blobs/uploads/7"),
        ("../7/.", "https://h:5000/v2/team/app/blobs/7/"),
        ("../../../../../..", "https://h:5000/"),
        ("?_state=2", "https://h:5000/v2/team/app/blobs/uploads/?_state=2"),
        ("  /padded\t", "https://h:5000/padded"),
        ("/a b", "https://h:5000/a%20b"),
        ("/\xc3\xb6", "https://h:5000/%C3%B6"),
        ("/→", "https://h:5000/%E2%86%92"),
    ],
)
def test_every_form_of_a_location(location: str, url: str) -> None:
    assert resolve_location(BASE, location) == url


def test_a_relative_location_starts_at_the_root_where_the_request_had_no_path() -> None:
    assert resolve_location("https://h", "v2/") == "https://h/v2/"


@pytest.mark.parametrize(
    "location",
    [
        "",
        " ",
        "ftp://h/x",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://user:pw@h/x",
        "//user:pw@h/x",
        "user:pw@h/x",
        "https://h\\@evil/x",
        "https://h:0/x",
        "https://h:99999/x",
        "https://h:5000x/",
        "https://-h/",
        "https://exämple/x",
        "javascript:alert(1)",
        "/x\r\nX-Evil: 1",
        "/x\x00",
        "/" + "a" * MAX_LOCATION_CHARS,
    ],
)
def test_what_is_no_usable_address_is_a_violation(location: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        resolve_location(BASE, location, origin=Origin.DESTINATION)
    assert caught.value.origin is Origin.DESTINATION
    assert "pw" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_message_names_the_address_without_its_query() -> None:
    with pytest.raises(ProtocolViolation, match=r"cannot be used: 'ftp://h/x'$"):
        resolve_location(BASE, "ftp://h/x?sig=1")


def test_only_urls_of_requests_can_be_resolved_against() -> None:
    with pytest.raises(RuntimeError):
        resolve_location("/v2/", "/x")


@pytest.mark.parametrize(
    ("request_url", "location", "url"),
    [
        ("https://h/v2/", "http://h/x?s", "https://h/x?s"),
        ("https://h/v2/", "http://h:443/x", "https://h/x"),
        ("https://h:5000/v2/", "http://h:5000/x", "https://h:5000/x"),
        ("https://h:5000/v2/", "http://h/x", "https://h:5000/x"),
        ("https://h/v2/", "http://H", "https://h"),
        ("https://h/v2/", "http://h:8080/x", "http://h:8080/x"),
        ("http://h/v2/", "https://h/x", "https://h/x"),
        ("https://h/v2/", "/x", "https://h/x"),
    ],
)
def test_tls_that_a_proxy_ends_is_kept_for_the_registrys_own_addresses(request_url, location, url) -> None:
    assert resolve_own_location(request_url, location) == url


def test_an_upload_does_not_leave_tls_for_another_host() -> None:
    with pytest.raises(ProtocolViolation, match="plain HTTP on another host: http://other/x"):
        resolve_own_location("https://h/v2/", "http://other/x?state=secret")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://H/x", ("https", "h", 443)),
        ("http://h", ("http", "h", 80)),
        ("http://h:8080?x", ("http", "h", 8080)),
        ("https://[::1]:5000/", ("https", "[::1]", 5000)),
        ("https://my_host.example./", ("https", "my_host.example.", 443)),
        ("https://u@h/", None),
        ("ws://h/", None),
        ("h/x", None),
        ("", None),
    ],
)
def test_the_origin_of_an_address(url: str, origin: object) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a", "https://H:443/b?c", True),
        ("https://h/", "http://h/", False),
        ("https://h/", "https://h:8443/", False),
        ("https://h/", "https://h.evil/", False),
        ("https://h/", "https://evil/?https://h/", False),
        ("nonsense", "nonsense", False),
    ],
)
def test_one_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert same_origin(one, other) is same


def test_a_query_is_left_out_and_added() -> None:
    assert without_query("https://h/x?y#z") == "https://h/x"
    assert without_query("https://h/x#z?y") == "https://h/x"
    assert append_query("https://h/x?a=%2F", "b=1") == "https://h/x?a=%2F&b=1"
