"""libcurl's account of a connection, and the certificates that it tells of."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from image_syncer.doctor.checks import parse_account, parse_certificates


@pytest.mark.parametrize(
    ("told", "account"),
    [
        ([], (None, None, False)),
        (
            ["  Trying 127.0.0.1:5000...", "SSL connection using TLSv1.3 / TLS_AES_256_GCM_SHA384 / x25519"],
            ("TLSv1.3", "TLS_AES_256_GCM_SHA384", False),
        ),
        (["SSL connection using TLSv1.2"], ("TLSv1.2", None, False)),
        (["TLSv1.2 (IN), TLS handshake, Request CERT (13):"], (None, None, True)),
    ],
)
def test_an_account(told: list[str], account: tuple[str | None, ...]) -> None:
    assert parse_account(told) == account


@pytest.mark.parametrize("ends", ["Dec  5 14:23:16 2026 GMT", "2026-12-05 14:23:16 GMT"])
def test_a_certificate(ends: str) -> None:
    fields = [
        (b"Subject", b"CN = server, O = M\\C3\\BCller"),
        (b"Issuer", b"CN = \xffauthority"),
        (b"X509v3 Subject Alternative Name", b"DNS:registry.example, IP Address:127.0.0.1"),
        (b"Start date", b"not a date"),
        (b"Expire date", ends.encode()),
    ]
    [certificate] = parse_certificates([fields])
    assert (certificate.subject, certificate.issuer) == ("CN = server, O = Müller", "CN = \ufffdauthority")
    assert certificate.names == ("registry.example", "127.0.0.1")
    assert certificate.begins is None
    assert certificate.ends == datetime(2026, 12, 5, 14, 23, 16, tzinfo=timezone.utc)


def test_a_certificate_that_says_nothing() -> None:
    [certificate] = parse_certificates([[]])
    assert (certificate.subject, certificate.names, certificate.ends) == ("", (), None)
