"""Failures that are a proxy's and not the registry's: which proxy it is, without its password, and what can be done."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pycurl

from image_syncer.registry import NO_PROXY, shown_proxy

if TYPE_CHECKING:
    from image_syncer.registry import Network

__all__ = ["E_PROXY", "ProxyFailure", "judge_proxy"]

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
