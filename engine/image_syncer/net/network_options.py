"""A registry's network as libcurl's options: proxies, certificates, addresses, the version of HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from image_syncer.net.trust import read_authorities, system_trust
from image_syncer.registry import NO_PROXY, may_carry_credentials

if TYPE_CHECKING:
    from image_syncer.registry import Endpoint, Network

__all__ = ["NetworkKind", "network_kind", "own_headers", "set_network", "set_trust"]

NetworkKind = tuple["Network", bool, bool]
"""What requests of one endpoint differ in, as far as their network goes: the network, whether the request goes to the
registry itself, and whether in plain HTTP.
"""

_HTTP_VERSIONS = {"2": pycurl.CURL_HTTP_VERSION_2TLS, "3": pycurl.CURL_HTTP_VERSION_3}
"""HTTP/2 where TLS agrees on it (ALPN), HTTP/3 where QUIC answers; else an earlier one (CURLOPT_HTTP_VERSION)."""
_IP_VERSIONS = {4: pycurl.IPRESOLVE_V4, 6: pycurl.IPRESOLVE_V6}
_ADDRESS_SIGNS = frozenset("0123456789abcdefABCDEF.:")


def network_kind(endpoint: Endpoint, url: str) -> NetworkKind:
    """What `set_network` needs to know of a request to `url`.

    It is on the path of each small request, and so asked only where the endpoint's network is not DIRECT.
    """
    return endpoint.network, may_carry_credentials(endpoint.base_url, url), url.startswith("http://")


def own_headers(kind: NetworkKind) -> tuple[tuple[str, str], ...]:
    """The user's header fields for requests of this kind: none for another host than the registry's own."""
    return kind[0].headers if kind[1] else ()


def set_network(easy: pycurl.Curl, kind: NetworkKind) -> None:
    """All but what `set_trust` and `own_headers` do."""
    network, own, plain = kind
    setopt = easy.setopt
    if network.unix_socket is not None and own:
        setopt(pycurl.UNIX_SOCKET_PATH, network.unix_socket)
        setopt(pycurl.PROXY, "")  # nobody stands between two processes of one machine, whatever the environment says
        return
    proxy = network.proxy if not plain or network.plain_proxy is None else network.plain_proxy
    if proxy is not None:
        setopt(pycurl.PROXY, "" if proxy == NO_PROXY else proxy)
        setopt(pycurl.NOPROXY, network.no_proxy or "")  # or libcurl would go by the environment's
        if proxy.startswith("https://") and (bundle := system_trust().bundle):
            setopt(pycurl.PROXY_CAINFO, bundle)
    if own and network.client_cert is not None:
        setopt(pycurl.SSLCERT, network.client_cert)
        setopt(pycurl.SSLKEY, network.client_key or network.client_cert)
        setopt(pycurl.KEYPASSWD, network.client_key_password or "")  # or OpenSSL would ask for it at the terminal
    if network.resolve:
        setopt(pycurl.RESOLVE, list(network.resolve))
    if network.interface is not None:
        setopt(pycurl.INTERFACE, _interface(network.interface))
    if network.ip_version is not None:
        setopt(pycurl.IPRESOLVE, _IP_VERSIONS[network.ip_version])
    if network.http_version in _HTTP_VERSIONS:
        setopt(pycurl.HTTP_VERSION, _HTTP_VERSIONS[network.http_version])


def _interface(text: str) -> str:
    """CURLOPT_INTERFACE with its prefix, so that no name of an interface is looked up as one of a host."""
    is_address = set(text) <= _ADDRESS_SIGNS and ("." in text or ":" in text)
    return f"host!{text}" if is_address else f"if!{text}"


def set_trust(easy: pycurl.Curl, endpoint: Endpoint) -> None:
    """Whom to believe: the registry's own authorities beside the system's, or anyone where the user said so."""
    setopt, system = easy.setopt, system_trust()
    if not endpoint.verify:
        setopt(pycurl.SSL_VERIFYPEER, 0)
        setopt(pycurl.SSL_VERIFYHOST, 0)
        return
    own = (endpoint.ca_file,) if endpoint.ca_file else endpoint.network.authorities
    if not own:
        if system.bundle:
            setopt(pycurl.CAINFO, system.bundle)
        if system.directory and not system.same:
            setopt(pycurl.CAPATH, system.directory)
        return
    # To read a bundle for each connection costs 5 ms of CPU more than to look up the one certificate that is needed.
    beside = (system.bundle,) if system.bundle and not system.same else ()
    if len(own) == 1 and not beside:
        setopt(pycurl.CAINFO, own[0])
    else:
        setopt(pycurl.CAINFO_BLOB, read_authorities((*own, *beside)))
    if system.directory:
        setopt(pycurl.CAPATH, system.directory)
