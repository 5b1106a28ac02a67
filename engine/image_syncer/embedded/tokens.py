"""The token service: Bearer tokens for a scope and a time.

Distribution's "Token Authentication Specification" (GET) and "Token Authentication with OAuth2" (POST).
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import orjson
from aiohttp import web
from msgspec import Struct

from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.embedded.behaviour import Behaviour, TokenService
    from image_syncer.embedded.call import Call

__all__ = ["Grants", "TokenBook", "allowed_actions", "check_basic", "get_token", "parse_scope"]

_FORM_LIMIT_BYTES = 64 * 1024

Grants = dict[tuple[str, str], frozenset[str]]
"""What somebody may do: (type, name) of the specification's scopes → actions."""

_ALL_ACTIONS = frozenset({"pull", "push", "delete", "metadata_read", "*"})


class _Issued(Struct):
    grants: Grants
    user: str | None
    expires_at_s: float
    uses_left: int | None


class TokenBook:
    """The tokens that were issued and still hold. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._issued: dict[str, _Issued] = {}

    def issue(self, grants: Grants, user: str | None, service: TokenService, now_s: float) -> str:
        """A new token; `now_s` is a monotonic time in seconds."""
        token = secrets.token_urlsafe(48)
        with self._lock:
            for old in [name for name, issued in self._issued.items() if issued.expires_at_s <= now_s]:
                del self._issued[old]
            expires_at_s = now_s + service.expires_in_s
            self._issued[token] = _Issued(grants, user, expires_at_s, service.max_uses)
        return token

    def use(self, token: str, now_s: float) -> tuple[Grants, str | None] | None:
        """What the token grants and to whom, None where it does not hold (any more); one of its uses is
        spent.
        """
        with self._lock:
            issued = self._issued.get(token)
            if issued is None or issued.expires_at_s <= now_s or issued.uses_left == 0:
                return None
            if issued.uses_left is not None:
                issued.uses_left -= 1
            return issued.grants, issued.user

    def revoke_all(self) -> None:
        """No token that was issued so far holds any more: what expiry does, without the waiting."""
        with self._lock:
            self._issued.clear()


def check_basic(header: str, users: Mapping[str, str]) -> str | None:
    """The user whom a Basic Authorization header proves (RFC 7617), None where it proves nobody."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    known = users.get(name)
    matches = known is not None and secrets.compare_digest(known.encode(), password.encode())
    return name if colon and matches else None


def allowed_actions(behaviour: Behaviour, user: str | None) -> frozenset[str]:
    """The actions that a user (None: nobody in particular) may do on any repository."""
    if user is None:
        return frozenset(behaviour.anonymous) if behaviour.users else _ALL_ACTIONS
    return frozenset(behaviour.permissions.get(user, _ALL_ACTIONS))


async def get_token(call: Call) -> web.StreamResponse:
    """Answer a request for a token."""
    service = call.behaviour.bearer
    if service is None:
        raise Refusal(404, "UNSUPPORTED", "there is no token service here")
    if call.request.method == "POST":
        scopes, user = await _read_oauth2_form(call, service)
    else:
        scopes = call.request.query.getall("scope", [])
        user = _check_user(call)
    grants = _grant(call.behaviour, service, scopes, user)
    token = call.service.tokens.issue(grants, user, service, time.monotonic())
    call.counters.add_token()
    answer: dict[str, object] = dict.fromkeys(service.field_names, token)
    if call.request.method == "POST":
        answer["access_token"] = token
        answer["scope"] = " ".join(scopes)
    if service.say_expiry:
        answer["expires_in"] = service.expires_in_s
        answer["issued_at"] = datetime.now(timezone.utc).isoformat()
    return web.Response(body=orjson.dumps(answer), content_type="application/json")


def _check_user(call: Call) -> str | None:
    header = call.request.headers.get("Authorization")
    if header is None:
        if call.behaviour.users and not call.behaviour.anonymous:
            raise _unauthorized()
        return None
    user = check_basic(header, call.behaviour.users)
    if user is None and call.behaviour.users:
        raise _unauthorized()
    return user


async def _read_oauth2_form(call: Call, service: TokenService) -> tuple[list[str], str | None]:
    body = await read_small_body(call, _FORM_LIMIT_BYTES)
    form = parse_qs(body.decode("utf-8", "replace"))

    def first(name: str) -> str:
        return form.get(name, [""])[0]

    user: str | None = None
    if first("grant_type") == "refresh_token":
        known = {**service.identity_tokens, **call.memory.get("refresh tokens", {})}
        user = known.get(first("refresh_token"))
    elif first("grant_type") == "password":
        name = first("username")
        user = name if call.behaviour.users.get(name) == first("password") else None
    if user is None:
        raise _unauthorized()
    return [scope for text in form.get("scope", []) for scope in text.split()], user


def _unauthorized() -> Refusal:
    return Refusal(
        401,
        "UNAUTHORIZED",
        "incorrect username or password",
        challenges=('Basic realm="embedded token service"',),
    )


def _grant(behaviour: Behaviour, service: TokenService, scopes: Sequence[str], user: str | None) -> Grants:
    may = allowed_actions(behaviour, user) - frozenset(service.withheld)
    grants: Grants = {}
    if service.one_scope is not None:
        grants[parse_scope(service.one_scope)[0]] = may
    asked = scopes[:1] if service.first_scope_only else scopes
    for text in (part for joined in asked for part in joined.split()):
        scope, actions = parse_scope(text)
        allowed = actions if scope[0] == "registry" and user is not None else actions & may
        grants[scope] = grants.get(scope, frozenset()) | allowed
    return grants


def parse_scope(text: str) -> tuple[tuple[str, str], frozenset[str]]:
    """Type and name of a scope, and the actions that it asks for."""
    kind, _, rest = text.partition(":")
    name, _, actions = rest.rpartition(":")
    return (kind, name), frozenset(actions.split(","))
