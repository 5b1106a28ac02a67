"""libcurl's error codes as our errors: which phase failed, whether trying again can help, and what a person can do.

The one boundary where foreign errors become ours. Codes: libcurl-errors(3).

Failures that are a proxy's and not the registry's: which proxy it is, without its password, and what can be done.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pycurl

from image_syncer.errors import Origin, TransportError
from image_syncer.registry import DIRECT, NO_PROXY, shown_proxy

if TYPE_CHECKING:
    from image_syncer.registry import Network, Request

__all__ = ["E_PROXY", "ProxyFailure", "judge_end", "judge_proxy", "transport_error"]


E_PROXY = 97
"""CURLE_PROXY: the handshake with a SOCKS proxy failed. PycURL has no name for it."""

_TUNNEL = re.compile(r"CONNECT tunnel failed, response (?P<status>\d{3})")
_LOGIN_WANTED = frozenset({407, 401})
"""tinyproxy answers 401 where a password is wrong, and 407 where there is none."""
_SERVER_ERRORS = range(500, 600)
_LOGIN_SIGNS = ("rejected by the SOCKS5 server", "No authentication method was acceptable", "SOCKS5 authentication")
"""What libcurl says where a SOCKS proxy wants a user name and a password, or others."""

_LOGIN = "The proxy wants a user name and a password, or others"
_REFUSED = "The proxy does not let us go there: have the host and its port allowed"
_AWAY = "The proxy is there, and cannot reach the registry: check the name of the registry, or ask who runs the proxy"
_UNTRUSTED = (
    "If it is the certificate of the proxy: its authority has to be one that the system trusts (SSL_CERT_FILE). If it "
    "is the registry's: name its authority as ca_file"
)
_ABSENT = "Check that the proxy runs there, and the firewall between"
_SILENT = "The proxy, or the registry behind it, does not answer: check that the proxy runs, and lets us go there"
_SILENT_UNLESS = f"{_SILENT} (unless no_proxy names the host: then it is the registry)"
_UNCONNECTED_SIGNS = ("resolving timed out", "connection timed out", "connection time", "due to timeout")
"""What libcurl says of a time-out before the request was sent."""
_FROM_ENTRY = "The proxy is `proxy` of the registry's entry."
_FROM_ENVIRONMENT = "The proxy comes from the environment (https_proxy, http_proxy, all_proxy, no_proxy)."


class ProxyFailure(NamedTuple):
    """The proxy as people may see it, what they can do, and whether trying again is in vain."""

    shown: str
    hint: str
    is_final: bool


def judge_proxy(code: int, words: str, url: str, network: Network) -> ProxyFailure | None:
    """What a transfer to `url` that ended with libcurl's `code` and `words` says of the proxy; None where nothing."""
    proxy = network.proxy_for(url)
    if proxy is None or proxy == NO_PROXY:
        return None
    tunnel = _TUNNEL.search(words)
    status = int(tunnel["status"]) if tunnel else 0
    if status in _LOGIN_WANTED or (code == E_PROXY and any(sign in words for sign in _LOGIN_SIGNS)):
        what, is_final = _LOGIN, True
    elif status in _SERVER_ERRORS or code == E_PROXY:
        what, is_final = _AWAY, False
    elif status:
        what, is_final = _REFUSED, True
    elif code == pycurl.E_COULDNT_RESOLVE_PROXY or "over proxy" in words or "Proxy CONNECT aborted" in words:
        what, is_final = _ABSENT, False
    elif code == pycurl.E_PEER_FAILED_VERIFICATION and proxy.startswith("https://"):
        what, is_final = _UNTRUSTED, True  # libcurl does not say whose it is
    elif code == pycurl.E_OPERATION_TIMEDOUT and any(sign in words.lower() for sign in _UNCONNECTED_SIGNS):
        # libcurl does not say which part of the way it was, nor whether no_proxy kept it off the proxy.
        what, is_final = _SILENT_UNLESS if network.environment_proxy else _SILENT, False
    else:
        return None
    where = _FROM_ENVIRONMENT if network.environment_proxy else _FROM_ENTRY
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
"""What OpenSSL says when the other side answers a TLS hello in clear text."""

_OPENSSL_CODE = re.compile(r"(?:OpenSSL/[\w.]+: )?error:[0-9A-F]{8}:[^:]*:[^:]*:")

_VERIFY_HINT = (
    "The certificate is not trusted: give its authority's PEM file as ca_file for this registry in the auth file "
    "(skip_tls_verify: true there switches the check off)."
)
_NAME_HINT = "The certificate is for another name: write the registry as the certificate does, or have it renewed."
_EXPIRED_HINT = "The certificate has run out: have it renewed there, and check the clock of this machine."
_PLAIN_HINT = (
    "The registry seems to speak plain HTTP: if that is right, set insecure: true for it in the auth file "
    "(with `copy`: --insecure HOST)."
)
_SILENT_HINT = (
    "It was asked in plain HTTP, as `insecure` allows, and closed the connection: it failed, or it wants TLS that "
    "could not be agreed on (a client's certificate, an old version)."
)
_HANDSHAKE_HINT = (
    "TLS could not be agreed on: the registry may want a client's certificate, or speak only old versions of TLS."
)
_CERTIFICATE_ALERT = re.compile(
    r"alert (?:bad certificate|certificate (?:required|unknown|expired|revoked)|unknown ca|unsupported certificate)"
)
"""RFC 8446, section 6.2: what the other side says of our certificate, or of its absence; with TLS 1.3 only after the
handshake.
"""
_CERTIFICATE_HINT = (
    "The registry wants a client's certificate, or another one: name it with client_cert and client_key for this "
    "registry in the auth file."
)
_GONE_HINT = "The process of ours that serves it was killed: run it again, and what has come is found."
_CUT_HINT = "The connection was cut: by the registry, or by a proxy or firewall on the way to it."
_HINTS = {
    pycurl.E_COULDNT_RESOLVE_HOST: "Check the spelling of the host, and the name servers of this machine.",
    pycurl.E_COULDNT_CONNECT: "Check that the registry runs, its port, and the firewall between.",
    pycurl.E_SSL_CONNECT_ERROR: _HANDSHAKE_HINT,
    pycurl.E_PEER_FAILED_VERIFICATION: _VERIFY_HINT,
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


def judge_end(code: int, words: str, *, whole: bool) -> tuple[int, str]:
    """Libcurl's code and words for the end of a transfer, where an answer whose head is not `whole` is none.

    libcurl takes a head that a closed connection cuts off for a whole one; here it is CURLE_PARTIAL_FILE.
    """
    if code or whole:
        return code, words
    return pycurl.E_PARTIAL_FILE, "the connection was closed in the middle of the answer's head"


def transport_error(
    code: int, words: str, request: Request, origin: Origin, network: Network = DIRECT
) -> TransportError:
    """The error for a transfer that libcurl ended with `code` and `words`, in a `network`."""
    plain = code == pycurl.E_SSL_CONNECT_ERROR and any(sign in words.lower() for sign in _PLAIN_SIGNS)
    words = _OPENSSL_CODE.sub("", words)
    stranger = _CERTIFICATE_ALERT.search(words) is not None
    # Nobody listens at a socket of our own: the process behind it is gone, and nobody starts it again.
    gone = network.unix_socket is not None and code == pycurl.E_COULDNT_CONNECT
    refusal = judge_proxy(code, words, request.url, network)
    if refusal is not None:
        words = f"{words} (proxy {refusal.shown})"
    return TransportError(
        f"{request.line} failed: {words or f'libcurl error {code}'}",
        origin=origin,
        operation=request.operation.value,
        repository=str(request.repository) if request.repository else None,
        request=request.line,
        phase="gone" if gone else "tls" if stranger else _PHASES.get(code, "receive"),
        curl_code=code,
        hint=_GONE_HINT if gone else refusal.hint if refusal is not None else _hint(code, words, request, plain=plain),
        retryable=not (gone or plain or stranger or code in _FINAL or (refusal is not None and refusal.is_final)),
    )


def _hint(code: int, words: str, request: Request, *, plain: bool) -> str | None:
    if plain:
        return _PLAIN_HINT
    if _CERTIFICATE_ALERT.search(words):
        return _CERTIFICATE_HINT
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        if "subject name" in words:
            return _NAME_HINT
        if "expired" in words:
            return _EXPIRED_HINT
    if code == pycurl.E_GOT_NOTHING and request.url.startswith("http://"):
        return _SILENT_HINT
    return _HINTS.get(code)
