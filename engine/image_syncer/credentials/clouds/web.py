"""Blocking HTTP requests to the token services of clouds and the metadata servers of machines.

With Python's own client, because libcurl belongs to the event loop. Redirects are not followed: requests hold tokens.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


MAX_ANSWER_BYTES = 2**20
"""Tokens have some kilobytes."""


class Unreachable(Exception):  # noqa: N818 - a result, as the caller sees it
    """No answer came; the text says why."""


class Answer(NamedTuple):
    """Status, header fields (in lower case) and the bytes of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, Any]:
        """Return the JSON object of the body; empty where it is none."""
        try:
            data = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}


def ask_web(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout_s: float,
    direct: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Return the answer of `url` (http or https), whatever its status. `direct` ignores the environment's proxies.

    `timeout_s` bounds each step: connect, send, and the whole answer. Raises Unreachable.
    """
    if not url.startswith(("http://", "https://")):
        raise Unreachable("not an HTTP address")
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)  # noqa: S310 - checked
    handlers: list[urllib.request.BaseHandler] = [_Stay(), urllib.request.HTTPSHandler(context=tls)]
    if direct:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as response:
            return _read(response, timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            return _read(error, timeout_s)
    except urllib.error.URLError as error:
        raise Unreachable(str(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unreachable(str(error) or type(error).__name__) from None


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        """Return None: the redirect is the answer."""


def _read(response: Any, timeout_s: float) -> Answer:
    """Read within the time, even where the peer sends slowly."""
    deadline, body = time.monotonic() + timeout_s, bytearray()
    try:
        while chunk := response.read1(2**16):
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise Unreachable("the answer is too long")
            if time.monotonic() > deadline:
                raise Unreachable("timed out")
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(str(error) or type(error).__name__) from None
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(body))
