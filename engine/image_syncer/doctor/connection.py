"""One connection as libcurl makes it for a run: through which proxy, to what address, with what certificates.

Made without a request (CURLOPT_CONNECT_ONLY), with libcurl's own account of it (CURLOPT_VERBOSE), the only place where
it says which version of TLS was agreed on. The certificates (CURLOPT_CERTINFO) are there even where they were not
believed.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pycurl

from image_syncer.net import AnswerHead, set_request
from image_syncer.registry import build_ping
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.net import CurlDriver
    from image_syncer.registry import Endpoint

__all__ = ["Certificate", "Connection", "connect", "parse_account", "parse_certificates"]

_TEXT = 0
_CERTIFICATE_WANTED = "TLS handshake, Request CERT"
_QUIC = "3"
_USED_PROXY = 0x200000 + 66
"""CURLINFO_USED_PROXY, a number of libcurl's ABI: not every PycURL has the name."""
_TLS = re.compile(r"SSL connection using (\S+)(?: / (\S+))?")
_ESCAPED = re.compile(rb"\\([89A-F][0-9A-F])")
_DATE_FORMATS = ("%b %d %H:%M:%S %Y GMT", "%Y-%m-%d %H:%M:%S GMT")


class Certificate(Value, frozen=True):
    """What a certificate says of itself; `names` are those that it is good for (subjectAltName)."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    begins: datetime | None
    ends: datetime | None


class Connection(Value, frozen=True):
    """How it went: libcurl's CURLcode (0: it stands) and words; times in seconds from the begin, 0 where it was not
    reached.

    `proxy_status` is what a proxy answered to CONNECT. `wants_certificate`: the registry asked for one of ours.
    """

    code: int
    words: str
    uses_proxy: bool
    proxy_status: int
    protocol: str | None
    cipher: str | None
    wants_certificate: bool
    certificates: tuple[Certificate, ...]
    connected_s: float
    tls_s: float

    @property
    def reached(self) -> bool:
        """Whether the registry's end of the connection was there at all, whatever came of TLS."""
        return self.code == 0 or self.protocol is not None or self.code in _TLS_CODES


_TLS_CODES = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR,
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CIPHER,
        pycurl.E_SSL_ISSUER_ERROR,
    }
)


async def connect(driver: CurlDriver, endpoint: Endpoint, *, connect_timeout_s: float) -> Connection:
    """Connect to `endpoint` as a run would, and close the connection again."""
    easy = pycurl.Curl()
    told: list[str] = []

    def listen(kind: int, data: bytes) -> None:
        if kind == _TEXT:
            told.append(data.decode("utf-8", "replace").strip())

    try:
        set_request(
            easy, build_ping(endpoint), endpoint, AnswerHead(), authorization=None, connect_timeout_s=connect_timeout_s
        )
        easy.setopt(pycurl.CONNECT_ONLY, 1)
        if endpoint.network.http_version == _QUIC:
            easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)  # a connection alone is one of TCP
        easy.setopt(pycurl.OPT_CERTINFO, 1)
        easy.setopt(pycurl.FRESH_CONNECT, 1)
        easy.setopt(pycurl.VERBOSE, 1)
        easy.setopt(pycurl.DEBUGFUNCTION, listen)
        code, words = await driver.perform(easy)
        protocol, cipher, wants_certificate = parse_account(told)
        return Connection(
            code=code,
            words=words,
            uses_proxy=_used_proxy(easy, told),
            proxy_status=easy.getinfo(pycurl.HTTP_CONNECTCODE),
            protocol=protocol,
            cipher=cipher,
            wants_certificate=wants_certificate,
            certificates=parse_certificates(easy.getinfo_raw(pycurl.INFO_CERTINFO)),
            connected_s=easy.getinfo(pycurl.CONNECT_TIME),
            tls_s=easy.getinfo(pycurl.APPCONNECT_TIME),
        )
    finally:
        easy.close()


def parse_account(told: Sequence[str]) -> tuple[str | None, str | None, bool]:
    """Out of libcurl's account: the version of TLS, the cipher, and whether a client's certificate was asked for."""
    matches = (_TLS.match(line) for line in told)
    found = next((match for match in matches if match), None)
    wants = any(_CERTIFICATE_WANTED in line for line in told)
    return (found[1], found[2], wants) if found else (None, None, wants)


def parse_certificates(chain: Sequence[Sequence[tuple[bytes, bytes]]]) -> tuple[Certificate, ...]:
    """The certificates that CURLINFO_CERTINFO tells of, the server's own first."""
    return tuple(_certificate({_text(name): _text(value) for name, value in fields}) for fields in chain)


def _text(data: bytes) -> str:
    """What a stranger wrote, with the letters that OpenSSL escapes (X509_NAME_print_ex(3), ASN1_STRFLGS_ESC_MSB)."""
    data = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), data)
    return data.decode("utf-8", "replace")


def _certificate(fields: dict[str, str]) -> Certificate:
    names = fields.get("X509v3 Subject Alternative Name", "")
    return Certificate(
        subject=fields.get("Subject", ""),
        issuer=fields.get("Issuer", ""),
        names=tuple(part.partition(":")[2].strip() for part in names.split(",") if ":" in part),
        begins=_date(fields.get("Start date", "")),
        ends=_date(fields.get("Expire date", "")),
    )


def _date(text: str) -> datetime | None:
    """Libcurl writes dates as OpenSSL does, and earlier wrote them as other libraries do."""
    text = " ".join(text.split())
    form = _DATE_FORMATS[text[:1].isdigit()]
    try:
        return datetime.strptime(text, form).replace(tzinfo=timezone.utc)
    except ValueError:
        return None


def _used_proxy(easy: pycurl.Curl, told: Iterable[str]) -> bool:
    try:
        return bool(easy.getinfo(_USED_PROXY))
    except (pycurl.error, ValueError):  # a libcurl before 8.7, which tells of tunnels only in its account
        return any("proxy" in line for line in told)
