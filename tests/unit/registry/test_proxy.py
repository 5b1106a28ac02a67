from __future__ import annotations

import pytest

from image_syncer.registry import environment_proxies, parse_proxy, shown_proxy

LOOPBACK = "localhost,127.0.0.0/8,::1"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("proxy", "http://proxy:80"),
        ("proxy:3128", "http://proxy:3128"),
        ("HTTP://proxy:3128/", "http://proxy:3128"),
        ("https://proxy", "https://proxy:443"),
        ("socks5h://[2001:db8::1]", "socks5h://[2001:db8::1]:1080"),
        ("http://me:se@cr/et#1%40@proxy:3128", "http://me:se%40cr%2Fet%231%40@proxy:3128"),
        ("http://me@proxy", "http://me@proxy:80"),
    ],
)
def test_what_a_proxy_may_be(text: str, url: str) -> None:
    assert parse_proxy(text) == url


@pytest.mark.parametrize("text", ["ftp://proxy", "http://", "http://u:secret@", "http://a b", "http://p:0", "p:99999"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="proxy") as caught:
        parse_proxy(text)
    assert "secret" not in str(caught.value)


def test_no_password_is_shown() -> None:
    assert shown_proxy(parse_proxy("socks5h://me:se@cret@proxy")) == "socks5h://proxy:1080"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, (None, None)),
        ({"HTTPS_PROXY": "a", "https_proxy": "b"}, ("http://b:80", None)),
        ({"HTTP_PROXY": "a"}, (None, "http://a:80")),
        ({"HTTP_PROXY": "a", "REQUEST_METHOD": "GET"}, (None, None)),
        ({"ALL_PROXY": "socks5://a", "http_proxy": "b"}, ("socks5h://a:1080", "http://b:80")),
        ({"all_proxy": "", "https_proxy": " "}, (None, None)),
    ],
)
def test_which_variable_counts(environ: dict[str, str], expected: tuple[str | None, str | None]) -> None:
    assert environment_proxies(environ) == (*expected, LOOPBACK)


def test_a_variable_that_is_no_proxy_is_named_without_what_it_holds() -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY") as caught:
        environment_proxies({"HTTPS_PROXY": "http://u:secret@"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", LOOPBACK),
        ("a.io, *.b.io .c.io:5000", f"a.io,.b.io,.c.io,{LOOPBACK}"),
        ("10.0.0.0/8,[::2]:5000,2001:db8::1", f"10.0.0.0/8,::2,2001:db8::1,{LOOPBACK}"),
        ("a.io,*", "*"),
    ],
)
def test_who_is_asked_without_a_proxy(text: str, hosts: str) -> None:
    assert environment_proxies({"NO_PROXY": text})[2] == hosts
