"""A token service for docker-registry: it signs JWTs as distribution 2.8 wants them (RS256, the certificate in x5c).

After distribution's "Token Authentication Specification" and "Token Authentication Implementation".
"""

from __future__ import annotations

import base64
import json
import math
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from support.programs import find_program, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ISSUER, SERVICE = "made-up token service", "made-up registry"
REGISTRY_LEEWAY_S = 60
"""How long after its end distribution 2.8 still takes a token; taken off here, so that tokens do end."""

_LIFETIME_S = 300.0
_SIGN_TIMEOUT_S = 30


@dataclass(frozen=True)
class TokenRequest:
    """Who asked (None: nobody in particular), for which scopes, and with what status it was answered; `how` is GET, or
    the `grant_type` of a POST.
    """

    user: str | None
    scopes: tuple[str, ...]
    status: int
    how: str = "GET"


@dataclass
class TokenService:
    """A running service. The fields may be changed while it runs.

    `users` have passwords; each may do everything below the names in `grants`, and nothing elsewhere (a user without
    an entry: everything everywhere). Tokens really end after `lifetime_s`; `told_lifetime_s` is what clients are told,
    where it is something else. A GET is answered with `get_status` where that is set. `refresh_tokens` are users by
    their identity tokens, each of which is good for one exchange, and comes back as another.
    """

    realm: str
    key: Path
    certificate: Path
    users: Mapping[str, str]
    grants: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lifetime_s: float = _LIFETIME_S
    told_lifetime_s: float | None = None
    get_status: int | None = None
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    requests: list[TokenRequest] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def registry_auth(self) -> dict[str, object]:
        """The section `auth` of a registry that believes in this service."""
        return {
            "token": {
                "realm": self.realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self.certificate),
            }
        }

    def issue(self, user: str | None, scopes: tuple[str, ...]) -> str:
        """A token for as much of `scopes` as `user` may do."""
        now = time.time()
        x5c = "".join(line for line in self.certificate.read_text().splitlines() if not line.startswith("-----"))
        claims = {
            "iss": ISSUER,
            "sub": user or "",
            "aud": SERVICE,
            "nbf": int(now) - 1,
            "iat": int(now),
            "exp": math.ceil(now + self.lifetime_s) - REGISTRY_LEEWAY_S,
            "jti": f"{len(self.requests)}",
            "access": [access for scope in scopes if (access := self._access(user, scope))],
        }
        text = f"{_encode_json({'typ': 'JWT', 'alg': 'RS256', 'x5c': [x5c]})}.{_encode_json(claims)}"
        command = [find_program("openssl"), "dgst", "-sha256", "-sign", str(self.key)]
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_SIGN_TIMEOUT_S, check=True)
        return f"{text}.{_encode(done.stdout)}"

    def _access(self, user: str | None, scope: str) -> dict[str, Any] | None:
        kind, name, actions = scope.split(":")
        allowed = self.grants.get(user or "")
        if allowed is not None and not any(name == place or name.startswith(f"{place}/") for place in allowed):
            return None
        return {"type": kind, "name": name, "actions": actions.split(",")}


@contextmanager
def serve_tokens(directory: Path, users: Mapping[str, str]) -> Iterator[TokenService]:
    """A token service on a free port of loopback, in a thread, until the block is left. Its key lies in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    key, certificate = directory / "token.key", directory / "token.crt"
    config = directory / "token.cnf"
    config.write_text("[req]\ndistinguished_name=subject\n[subject]\n")
    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=made-up token service")
    run_program([find_program("openssl"), *new, "-config", str(config), "-keyout", str(key), "-out", str(certificate)])

    class Handler(_Handler):
        service: ClassVar[TokenService]

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.service = TokenService(f"http://127.0.0.1:{server.server_port}/token", key, certificate, users)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Handler.service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    service: ClassVar[TokenService]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        service = self.service
        if service.get_status is not None:
            self._answer(service.get_status, {})
            return
        query = parse_qs(urlsplit(self.path).query)
        scopes = tuple(scope for text in query.get("scope", ()) for scope in text.split())
        user, known = self._user()
        right = known and query.get("service") == [SERVICE]
        service.requests.append(TokenRequest(user, scopes, 200 if right else 401))
        if not right:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong user name or password"}]})
            return
        told_s = service.lifetime_s if service.told_lifetime_s is None else service.told_lifetime_s
        self._answer(200, {"token": service.issue(user, scopes), "expires_in": int(told_s)})

    def do_POST(self) -> None:
        """Distribution's "OAuth2 Token Authentication"."""
        service = self.service
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        scopes = tuple(scope for text in form.get("scope", ()) for scope in text.split())
        how, refreshed = form["grant_type"][0], None
        with service.lock:
            if how == "refresh_token":
                user = service.refresh_tokens.pop(form["refresh_token"][0], None)
                if user is not None:
                    refreshed = f"refresh-{len(service.requests)}-{user}"
                    service.refresh_tokens[refreshed] = user
            else:
                user = form["username"][0]
                user = user if service.users.get(user) == form["password"][0] else None
            right = user is not None and form.get("service") == [SERVICE] and bool(form.get("client_id"))
            service.requests.append(TokenRequest(user, scopes, 200 if right else 400, how))
        if not right:
            self._answer(400, {"error": "invalid_grant"})
            return
        answer: dict[str, object] = {"access_token": service.issue(user, scopes), "expires_in": int(service.lifetime_s)}
        self._answer(200, answer if refreshed is None else {**answer, "refresh_token": refreshed})

    def _user(self) -> tuple[str | None, bool]:
        header = self.headers.get("Authorization")
        if header is None:
            return None, True
        user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        return user, self.service.users.get(user) == password

    def _answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """What it was asked is in `requests`."""


def _encode_json(value: object) -> str:
    return _encode(json.dumps(value, separators=(",", ":")).encode())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
