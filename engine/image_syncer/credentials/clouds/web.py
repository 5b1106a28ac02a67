"""One HTTP request of a thread that may wait: to the token services of clouds, and to the metadata of machines.

Python's own client, because the loop's libcurl belongs to the loop. No redirect is followed: what is sent holds tokens.
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

__all__ = ["MAX_ANSWER_BYTES", "Answer", "Unreachable", "ask_web"]

MAX_ANSWER_BYTES = 2**20
"""Tokens have some kilobytes."""


class Unreachable(Exception):  # noqa: N818 - not our failure, but an answer to "are you there?"
    """Nobody answered; the text says why."""


class Answer(NamedTuple):
    """Status, header fields (in lower case) and the bytes of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> dict[str, Any]:
        """The JSON object of the body; empty where it is none."""
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
    """The answer of `url` (http or https), whatever its status. `direct` leaves the environment's proxies out.

    `timeout_s` is for each step (connect, send, and all of the answer). Raises Unreachable.
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
        """Nowhere: the redirect is the answer."""


def _read(response: Any, timeout_s: float) -> Answer:
    """What comes within the time; a peer that trickles does not hold us."""
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
