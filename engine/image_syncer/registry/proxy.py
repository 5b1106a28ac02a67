"""Proxies: how they are written, and which of them the environment names.

The variables are those of Go's `httpproxy` and of libcurl, with Go's meaning where the two differ, since users of the
Go tool come with an environment that works: https://pkg.go.dev/golang.org/x/net/http/httpproxy, and curl(1), section
"Proxy environment variables".
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PROXY_SCHEMES", "environment_proxies", "parse_proxy", "proxy_secrets", "shown_proxy"]

PROXY_SCHEMES = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
"""The schemes of proxies, with the port that each has where none is written (as in Go, not libcurl's 1080 for all)."""

_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}))(?::(?P<port>[0-9]{1,5}))?")
_LAST_PORT = 65535
_LOOPBACK = "localhost,127.0.0.0/8,::1"
"""Never asked through a proxy of the environment, as in Go."""


def parse_proxy(text: str) -> str:
    """The proxy in "host:port" or "scheme://[user[:password]@]host[:port]", complete, as a URL for CURLOPT_PROXY.

    Characters of the user name and the password that a URL may not hold are encoded; "%" is taken as a part of an
    encoded one. Raises ValueError with a sentence that quotes neither.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        scheme, rest = "http", scheme
    scheme = scheme.lower()
    if scheme not in PROXY_SCHEMES:
        raise ValueError(f"a proxy begins with one of {', '.join(f'{name}://' for name in PROXY_SCHEMES)}")
    userinfo, at, authority = rest.rpartition("@")
    match = _HOST.fullmatch(authority.removesuffix("/"))
    port = int(match["port"] or PROXY_SCHEMES[scheme]) if match else 0
    if match is None or not 0 < port <= _LAST_PORT:
        raise ValueError("this names no host of a proxy")
    user, colon, password = userinfo.partition(":")
    known = f"{quote(user, safe='%')}{colon}{quote(password, safe='%')}@" if at else ""
    return f"{scheme}://{known}{match['host']}:{port}"


def shown_proxy(url: str) -> str:
    """The proxy without user name and password, for people."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def proxy_secrets(url: str | None) -> tuple[str, ...]:
    """What a proxy is told of us and nobody else should see: the password of `url`, as written and as meant, and the
    value of Basic. Nothing where it has none.
    """
    userinfo = (url or "").partition("://")[2].rpartition("@")[0]
    user, _, password = userinfo.partition(":")
    if not password:
        return ()
    pair = f"{unquote(user)}:{unquote(password)}"
    return password, unquote(password), b64encode(pair.encode()).decode("ascii")


def environment_proxies(environ: Mapping[str, str]) -> tuple[str | None, str | None, str]:
    """The proxies for HTTPS and for plain HTTP, and the hosts that are asked without them, for CURLOPT_NOPROXY.

    Lower case goes before upper case, and ALL_PROXY counts where there is no other. With socks5://, the proxy looks up
    the names, as in Go. HTTP_PROXY is not read in a CGI
    program (REQUEST_METHOD is set), where clients can set it. Raises ValueError, which names the variable.
    """
    plain = ("http_proxy",) if "REQUEST_METHOD" in environ else ("http_proxy", "HTTP_PROXY")
    secure, unencrypted = (
        _first(environ, (*names, "all_proxy", "ALL_PROXY")) for names in (("https_proxy", "HTTPS_PROXY"), plain)
    )
    return secure, unencrypted, _without_proxy(environ.get("no_proxy") or environ.get("NO_PROXY") or "")


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    for name in names:
        if text := environ.get(name, "").strip():
            try:
                url = parse_proxy(text)
            except ValueError as error:
                raise ValueError(f"the environment variable {name} cannot be used: {error}") from None
            return url.replace("socks5://", "socks5h://", 1) if url.startswith("socks5://") else url
    return None


def _without_proxy(text: str) -> str:
    """CURLOPT_NOPROXY knows neither ports nor "*." in this list, and "*" only where it stands alone."""
    hosts = [part.strip() for part in re.split(r"[,\s]+", text) if part.strip()]
    if "*" in hosts:
        return "*"
    return ",".join([*map(_host_alone, hosts), _LOOPBACK])


def _host_alone(entry: str) -> str:
    entry = entry[1:] if entry.startswith("*.") else entry
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, port = entry.rpartition(":")
    return host if colon and port.isdigit() and ":" not in host else entry
