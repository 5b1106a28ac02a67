"""What is said of a certificate, by libcurl's words and by its own dates."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pycurl
import pytest

from image_syncer.doctor.checks import Certificate, Check, CheckState, Connection
from image_syncer.doctor.network import probe_certificate, probe_tls
from image_syncer.registry import Endpoint

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)
OWN = Certificate("CN = server", "CN = authority", ("registry.example",), NOW - 100 * DAY, NOW + 100 * DAY)
UNTRUSTED = "SSL certificate OpenSSL verify result: unable to get local issuer certificate (20)"
EXPIRED = "SSL certificate OpenSSL verify result: certificate has expired (10)"


def examine(probe: Any, code: int, words: str, *certificates: Certificate, url: str = "https://h") -> Check:
    protocol = "TLSv1.3" if certificates else None
    seen = Connection(code, words, False, 0, protocol, None, False, certificates, 0.1, 0.2)
    learnt = SimpleNamespace(connection=seen)
    return asyncio.run(probe(SimpleNamespace(endpoint=Endpoint("h", url), registry="h", learnt=learnt)))


@pytest.mark.parametrize(
    ("words", "own", "what", "cure"),
    [
        (
            UNTRUSTED,
            OWN,
            "no authority that this machine trusts has signed it: CN = server, by CN = authority",
            "ca_file",
        ),
        (EXPIRED, Certificate("s", "i", (), None, NOW - 2 * DAY), "it has expired: s, since", "renewed"),
        (EXPIRED, OWN, "a certificate of its chain has expired: one above it", "renewed"),
        ("not yet valid (9)", Certificate("s", "i", (), NOW + DAY, None), "it is not good before", "Set the clock"),
        ("no alternative certificate subject name", OWN, "it is for registry.example, and not for h", "Write"),
    ],
)
def test_one_that_is_not_believed(words: str, own: Certificate, what: str, cure: str) -> None:
    check = examine(probe_certificate, pycurl.E_PEER_FAILED_VERIFICATION, words, own)
    assert check.state is CheckState.FAILED
    assert check.what.startswith(what)
    assert cure in (check.cure or "")


def test_what_the_chain_tells() -> None:
    above = Certificate("CN = between", "CN = root", (), None, NOW - DAY)
    failed = pycurl.E_PEER_FAILED_VERIFICATION
    assert examine(probe_certificate, failed, EXPIRED, OWN, above).what.endswith("has expired: CN = between")
    cure = examine(probe_certificate, failed, UNTRUSTED, OWN, above).cure or ""
    assert "'CN = root'" in cure
    assert "alone" not in cure
    assert "alone" in (examine(probe_certificate, failed, UNTRUSTED, OWN).cure or "")
    own = Certificate("CN = it", "CN = it", (), None, None)
    assert examine(probe_certificate, failed, UNTRUSTED, own).what == "it is signed by itself: CN = it"


def test_one_that_was_not_shown() -> None:
    check = examine(probe_certificate, pycurl.E_PEER_FAILED_VERIFICATION, UNTRUSTED)
    assert (check.state, check.what) == (CheckState.FAILED, f"it is not believed: {UNTRUSTED}")


@pytest.mark.parametrize(("left", "state"), [(20 * DAY, CheckState.OK), (10 * DAY, CheckState.WARNING)])
def test_one_that_ends(left: timedelta, state: CheckState) -> None:
    own = Certificate("CN = server", "CN = authority", (), NOW - DAY, NOW + left + timedelta(hours=1))
    check = examine(probe_certificate, 0, "", own)
    assert check.state is state
    assert f"({left.days} days)" in check.what


def test_a_client_certificate_that_cannot_be_used() -> None:
    check = examine(probe_certificate, pycurl.E_SSL_CERTPROBLEM, "could not load PEM client certificate", OWN)
    assert check.state is CheckState.FAILED
    assert "client_key" in (check.cure or "")


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("TLS connect error: error:0A00042E:SSL routines::tlsv1 alert protocol version", "only old versions of TLS"),
        ("TLS connect error: error:0A00010B:SSL routines::wrong version number", "insecure: true"),
    ],
)
def test_tls_that_is_not_agreed_on(words: str, cure: str) -> None:
    check = examine(probe_tls, pycurl.E_SSL_CONNECT_ERROR, words)
    assert check.state is CheckState.FAILED
    assert cure in (check.cure or "")
