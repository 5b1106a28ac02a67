"""libcurl's error codes as `TransportError`s: the phase, whether a retry can help, and a hint; also for proxies.

Codes: libcurl-errors(3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pycurl

from image_syncer.errors import Origin, TransportError
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import DIRECT, NO_PROXY, shown_proxy

if TYPE_CHECKING:
    from image_syncer.registry import Network, Request


E_PROXY = 97
"""CURLE_PROXY: the handshake with a SOCKS proxy failed. PycURL has no name for it."""

_TUNNEL = lazy_pattern(r"CONNECT tunnel failed, response (?P<status>\d{3})")
_LOGIN_WANTED = frozenset({407, 401})
"""tinyproxy answers 401 to a wrong password, and 407 where there is none."""
_LOGIN_SIGNS = ("rejected by the SOCKS5 server", "No authentication method was acceptable", "SOCKS5 authentication")
"""libcurl's words where a SOCKS proxy needs other credentials."""
_SERVER_ERRORS = range(500, 600)
_UNCONNECTED_SIGNS = ("resolving timed out", "connection timed out", "connection time", "due to timeout")
"""libcurl's words for a timeout before the request was sent."""


class ProxyFailure(NamedTuple):
    """The proxy without its password, a hint for the user, and whether a retry is pointless."""

    shown: str
    hint: str
    is_final: bool


def judge_proxy(code: int, words: str, url: str, network: Network) -> ProxyFailure | None:
    """Return the proxy's failure where a transfer to `url` ended with libcurl's `code` and `words` because of it."""
    proxy = network.proxy_for(url)
    if proxy is None or proxy == NO_PROXY:
        return None
    tunnel = _TUNNEL.search(words)
    status = int(tunnel["status"]) if tunnel else 0
    is_final = False
    if status in _LOGIN_WANTED or (code == E_PROXY and any(sign in words for sign in _LOGIN_SIGNS)):
        what, is_final = "The proxy wants a user name and a password, or others", True
    elif status in _SERVER_ERRORS or code == E_PROXY:
        what = (
            "The proxy is there, and cannot reach the registry: check the name of the registry, or ask who runs the "
            "proxy"
        )
    elif status:
        what, is_final = "The proxy does not let us go there: have the host and its port allowed", True
    elif code == pycurl.E_COULDNT_RESOLVE_PROXY or "over proxy" in words or "Proxy CONNECT aborted" in words:
        what = "Check that the proxy runs there, and the firewall between"
    elif code == pycurl.E_PEER_FAILED_VERIFICATION and proxy.startswith("https://"):
        # libcurl does not say whose certificate it is.
        what, is_final = (
            (
                "If it is the certificate of the proxy: its authority has to be one that the system trusts "
                "(SSL_CERT_FILE). If it is the registry's: name its authority as ca_file"
            ),
            True,
        )
    elif code == pycurl.E_OPERATION_TIMEDOUT and any(sign in words.lower() for sign in _UNCONNECTED_SIGNS):
        # libcurl says neither which part of the way it was, nor whether no_proxy applied.
        what = "The proxy, or the registry behind it, does not answer: check that the proxy runs, and lets us go there"
        what += " (unless no_proxy names the host: then it is the registry)" if network.environment_proxy else ""
    else:
        return None
    where = "The proxy is `proxy` of the registry's entry."
    if network.environment_proxy:
        where = "The proxy comes from the environment (https_proxy, http_proxy, all_proxy, no_proxy)."
    return ProxyFailure(shown_proxy(proxy), f"{what}. {where}", is_final)


_PHASES = {
    pycurl.E_COULDNT_RESOLVE_PROXY: "resolve",
    E_PROXY: "connect",
    pycurl.E_COULDNT_RESOLVE_HOST: "resolve",
    pycurl.E_COULDNT_CONNECT: "connect",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_SSL_CERTPROBLEM: "tls",
    pycurl.E_SSL_CIPHER: "tls",
    pycurl.E_SSL_CACERT_BADFILE: "tls",
    pycurl.E_SSL_ISSUER_ERROR: "tls",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_SEND_ERROR: "send",
    pycurl.E_SEND_FAIL_REWIND: "send",
    pycurl.E_ABORTED_BY_CALLBACK: "send",
}
_FINAL = frozenset(
    {
        pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_CERTPROBLEM,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ISSUER_ERROR,
        pycurl.E_URL_MALFORMAT,
        pycurl.E_INTERFACE_FAILED,
        pycurl.E_UNSUPPORTED_PROTOCOL,
    }
)
_PLAIN_SIGNS = ("wrong version number", "packet length too long", "http request", "record overflow")
"""OpenSSL's words where the peer answers a TLS hello in clear text."""
_OPENSSL_CODE = lazy_pattern(r"(?:OpenSSL/[\w.]+: )?error:[0-9A-F]{8}:[^:]*:[^:]*:")

_CERTIFICATE_ALERT = lazy_pattern(
    r"alert (?:bad certificate|certificate (?:required|unknown|expired|revoked)|unknown ca|unsupported certificate)"
)
"""RFC 8446, section 6.2: the peer's alert for our certificate, or its absence; with TLS 1.3 after the handshake."""
_CUT_HINT = "The connection was cut: by the registry, or by a proxy or firewall on the way to it."
_HINTS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "Check the spelling of the host, and the name servers of this machine.",
    pycurl.E_COULDNT_CONNECT: "Check that the registry runs, its port, and the firewall between.",
    pycurl.E_SSL_CONNECT_ERROR: (
        "TLS could not be agreed on: the registry may want a client's certificate, or speak only old versions of TLS."
    ),
    pycurl.E_PEER_FAILED_VERIFICATION: (
        "The certificate is not trusted: give its authority's PEM file as ca_file for this registry in the auth file "
        "(skip_tls_verify: true there switches the check off)."
    ),
    pycurl.E_SSL_CACERT_BADFILE: "The file given as ca_file cannot be read as PEM certificates.",
    pycurl.E_SSL_CERTPROBLEM: (
        "The client certificate cannot be used: check that client_key belongs to client_cert, and client_key_password."
    ),
    pycurl.E_INTERFACE_FAILED: "Check `interface` of the registry's entry: a name or an address of this machine.",
    pycurl.E_SEND_ERROR: _CUT_HINT,
    pycurl.E_RECV_ERROR: _CUT_HINT,
    pycurl.E_GOT_NOTHING: _CUT_HINT,
    pycurl.E_PARTIAL_FILE: _CUT_HINT,
    pycurl.E_OPERATION_TIMEDOUT: "The registry, or the way to it, is too slow or silent.",
}


CUT_HEAD = pycurl.E_PARTIAL_FILE, "the connection was closed in the middle of the answer's head"
"""The code and the words for an answer whose head is not complete, which libcurl does not see."""


def transport_error(
    code: int, words: str, request: Request, origin: Origin, network: Network = DIRECT
) -> TransportError:
    """Return the error of a transfer that libcurl ended with `code` and `words`, in a `network`."""
    plain = code == pycurl.E_SSL_CONNECT_ERROR and any(sign in words.lower() for sign in _PLAIN_SIGNS)
    words = _OPENSSL_CODE.sub("", words)
    certificate_refused = _CERTIFICATE_ALERT.search(words) is not None
    # The process behind a Unix socket of ours has ended, and is not started again.
    gone = network.unix_socket is not None and code == pycurl.E_COULDNT_CONNECT
    refusal = judge_proxy(code, words, request.url, network)
    if refusal is not None:
        words = f"{words} (proxy {refusal.shown})"
    hint = _hint(code, words, request, plain=plain) if refusal is None else refusal.hint
    if gone:
        hint = "The process of ours that serves it was killed: run it again, and what has come is found."
    return TransportError(
        f"{request.line} failed: {words or f'libcurl error {code}'}",
        **request.error_fields(origin),
        phase="gone" if gone else "tls" if certificate_refused else _PHASES.get(code, "receive"),
        curl_code=code,
        hint=hint,
        retryable=not (
            gone or plain or certificate_refused or code in _FINAL or (refusal is not None and refusal.is_final)
        ),
    )


def _hint(code: int, words: str, request: Request, *, plain: bool) -> str | None:
    if plain:
        return (
            "The registry seems to speak plain HTTP: if that is right, set insecure: true for it in the auth file "
            "(with `copy`: --insecure HOST)."
        )
    if _CERTIFICATE_ALERT.search(words):
        return (
            "The registry wants a client's certificate, or another one: name it with client_cert and client_key for "
            "this registry in the auth file."
        )
    if code == pycurl.E_PEER_FAILED_VERIFICATION and "subject name" in words:
        return "The certificate is for another name: write the registry as the certificate does, or have it renewed."
    if code == pycurl.E_PEER_FAILED_VERIFICATION and "expired" in words:
        return "The certificate has run out: have it renewed there, and check the clock of this machine."
    if code == pycurl.E_GOT_NOTHING and request.url.startswith("http://"):
        return (
            "It was asked in plain HTTP, as `insecure` allows, and closed the connection: it failed, or it wants TLS "
            "that could not be agreed on (a client's certificate, an old version)."
        )
    return _HINTS.get(code)
