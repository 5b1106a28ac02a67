from __future__ import annotations

import pytest

from image_syncer.registry import Headers, Response
from image_syncer.registry.failures import ErrorBody, parse_error_body


def parse(body: bytes) -> ErrorBody:
    return parse_error_body(Response(502, Headers(), body, "https://h/v2/"))


@pytest.mark.parametrize(
    ("body", "codes", "line"),
    [
        (
            b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"v1"}}]}',
            ("MANIFEST_UNKNOWN",),
            "MANIFEST_UNKNOWN: manifest unknown",
        ),
        (
            b'{"errors":[{"code":"A","message":"x","detail":{"digest":"sha256:1"}},{"code":"B","detail":"b"}]}',
            ("A", "B"),
            "A: x (sha256:1); B: (b)",
        ),
        (b'{"errors":[{"status":404,"message":"Not here"}]}', (), "Not here"),
        (b'{"errors":[{"code":"denied"}]}', ("DENIED",), "DENIED"),
        (b'{"errors":[{"code":"denied","message":"denied"}]}', ("DENIED",), "DENIED"),
        (b'{"errors":[{"code":7,"message":["x"]}]}', (), ""),
        (b'{"errors":[{"code":"two words","message":"said"}]}', (), "said"),
        (b'{"errors":null,"message":"gateway"}', (), "gateway"),
        (b'{"errors":["x"],"code":"UNAUTHORIZED","message":"no"}', ("UNAUTHORIZED",), "UNAUTHORIZED: no"),
        (b'{"details":"incorrect username or password"}', (), "incorrect username or password"),
        (
            b'{"error":"invalid_grant","error_description":"refresh token expired"}',
            ("INVALID_GRANT",),
            "INVALID_GRANT: refresh token expired",
        ),
        (b'{"error":"it did not work"}', (), "it did not work"),
        (b'{"error":{"code":"X","message":"nested"}}', ("X",), "X: nested"),
        (b"{}", (), ""),
        (b"[]", (), "[]"),
        (b"", (), ""),
        (b"\n  first\nsecond\n", (), "first"),
        (b"502 it is down\n", (), "it is down"),
        (b"404 page not found\n", (), "404 page not found"),
        (b'{"message":"5020 things"}', (), "5020 things"),
        (b"<html><head><title>502 Bad Gateway</title></head><body>...", (), "Bad Gateway"),
        (b"<!DOCTYPE html><h1 class='x'>Sorry,\n  gone</h1>", (), "Sorry, gone"),
        (b"<html></html>", (), ""),
        (
            b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>',
            (),
            "AccessDenied: Request has expired",
        ),
        (b"a\x1b[31mred\x00\xff", (), "a [31mred \ufffd"),
    ],
)
def test_what_a_body_says(body: bytes, codes: tuple[str, ...], line: str) -> None:
    parsed = parse(body)
    assert (parsed.codes, parsed.line) == (codes, line)


def test_markup_is_told_apart() -> None:
    assert parse(b" <html>").is_markup
    assert not parse(b'{"message":"<b>"}').is_markup


@pytest.mark.parametrize("body", [b"x" * 100_000, b'{"message":"' + b"x" * 60_000 + b'"}', b"[" * 100_000])
def test_never_more_than_a_line(body: bytes) -> None:
    parsed = parse(body)
    assert len(parsed.line) == 240
    assert parsed.line.endswith("…")
    assert len(parsed.text) <= 8192


def test_a_json_body_without_end_is_read_as_text() -> None:
    assert parse(b'{"errors":[' + b'{"code":"A"},' * 10_000 + b"{}]}").codes == ()


def test_many_errors_are_cut_to_three() -> None:
    body = b'{"errors":[' + b",".join(b'{"code":"E%d"}' % n for n in range(9)) + b"]}"
    assert parse(body).codes == ("E0", "E1", "E2")


def test_no_secret_reaches_the_line() -> None:
    line = parse(b'{"message":"bad token: Bearer abcdefghijkl at https://u:pw@h/x?sig=s3cr3t"}').line
    assert "abcdefghijkl" not in line
    assert "pw" not in line
    assert "s3cr3t" not in line
