"""Basic (RFC 7617) and Bearer access, as registries ask for it: the challenge, the token endpoint, the check.

One user, and one token that holds for every repository: what is measured is the requests that access costs a client.
Challenges name the scope that a registry would name, so clients that keep tokens by scope ask for as many as in life.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import TYPE_CHECKING

from perf.stage.exchange import answer

if TYPE_CHECKING:
    from perf.stage.exchange import Request

__all__ = ["PASSWORD", "USERNAME", "Access"]

USERNAME, PASSWORD = "bench", "of a benchmark"
TOKEN = "token-of-a-benchmark"  # noqa: S105 - the same
TOKEN_LIFE_S = 300
"""As docker-registry's tokens live, and longer than most runs."""

SERVICE = "perf"
REFUSED = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'


class Access:
    """Whether a request may pass. `kind` is "basic" or "bearer"; `scheme` is how the realm is reached."""

    def __init__(self, kind: str, scheme: str) -> None:
        self._kind, self._scheme = kind, scheme
        self._basic = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        self._wanted = self._basic if kind == "basic" else f"Bearer {TOKEN}"
        self._token = answer(
            200,
            "Content-Type: application/json\r\n",
            json.dumps({"token": TOKEN, "access_token": TOKEN, "expires_in": TOKEN_LIFE_S}).encode(),
        )

    def reply(self, request: Request) -> bytes | None:
        """A token or a challenge; None where the request may pass."""
        given = request.header("authorization") or ""
        if request.path == "/token" and self._kind == "bearer":
            return self._token if hmac.compare_digest(given, self._basic) else self._challenge("Basic", "")
        if hmac.compare_digest(given, self._wanted):
            return None
        if self._kind == "basic":
            return self._challenge("Basic", "")
        realm = f"{self._scheme}://{request.header('host')}/token"
        return self._challenge("Bearer", f'realm="{realm}",service="{SERVICE}"{_scope(request)}')

    @staticmethod
    def _challenge(kind: str, parameters: str) -> bytes:
        parameters = parameters or f'realm="{SERVICE}"'
        return answer(401, f"WWW-Authenticate: {kind} {parameters}\r\nContent-Type: application/json\r\n", REFUSED)


def _scope(request: Request) -> str:
    for noun in ("/manifests/", "/blobs/", "/tags/"):
        name, found, _ = request.path.partition(noun)
        if found:
            actions = "pull" if request.method in {"GET", "HEAD"} else "pull,push"
            return f',scope="repository:{name.removeprefix("/v2/")}:{actions}"'
    return ""
