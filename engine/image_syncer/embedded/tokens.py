"""Access: whether a request has the rights it needs, the challenge if it has not, and the token service.

RFC 9110, section 11.6.1; distribution's "Token Authentication Specification" (GET) and "Token Authentication with
OAuth2" (POST).
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import orjson
from aiohttp import web

from image_syncer.embedded.bodies import read_small_body
from image_syncer.embedded.call import Grants, Refusal
from image_syncer.embedded.route import ExtraOperation
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image_syncer.embedded.behaviour import Behaviour, TokenService
    from image_syncer.embedded.call import Call
    from image_syncer.embedded.route import RequestKind


_FORM_LIMIT_BYTES = 64 * 1024
_PULL = frozenset({"pull"})
_PUSH = frozenset({"pull", "push"})
_DELETE = frozenset({"delete"})
_NOTHING: frozenset[str] = frozenset()
_ALL_ACTIONS = frozenset({"pull", "push", "delete", "metadata_read", "*"})

_ACTIONS: dict[RequestKind, frozenset[str]] = {
    Operation.HEAD_MANIFEST: _PULL,
    Operation.GET_MANIFEST: _PULL,
    Operation.PUT_MANIFEST: _PUSH,
    Operation.HEAD_BLOB: _PULL,
    Operation.GET_BLOB: _PULL,
    Operation.START_UPLOAD: _PUSH,
    Operation.PUT_UPLOAD: _PUSH,
    Operation.GET_UPLOAD: _PUSH,
    Operation.CANCEL_UPLOAD: _PUSH,
    Operation.LIST_TAGS: _PULL,
    ExtraOperation.PATCH_UPLOAD: _PUSH,
    ExtraOperation.DELETE_MANIFEST: _DELETE,
    ExtraOperation.DELETE_BLOB: _DELETE,
    ExtraOperation.LIST_REFERRERS: _PULL,
}


def check_access(call: Call) -> None:
    """Refuse the request with 401 or 403 if it lacks a right; else set its user in the call."""
    behaviour = call.behaviour
    if not behaviour.users and behaviour.bearer is None:
        return
    needed = _needed(call)
    header = call.request.headers.get("Authorization", "")
    basic_too = behaviour.basic_beside_bearer and header.lower().startswith("basic ")
    if behaviour.bearer is not None and not basic_too:
        _check_bearer(call, header, needed)
    else:
        _check_basic(call, header, needed)


def _needed(call: Call) -> Grants:
    route = call.route
    if route.kind is Operation.LIST_CATALOG:
        return {("registry", "catalog"): frozenset({"*"})}
    needed: Grants = {}
    actions = _ACTIONS.get(route.kind, _NOTHING)
    if route.kind is Operation.LIST_TAGS:
        actions = frozenset({call.behaviour.list_action})
    if route.repository and actions:
        needed["repository", route.repository] = actions
    source = call.request.query.get("from") if route.kind is Operation.START_UPLOAD else None
    if source and source != route.repository:
        needed["repository", source] = _PULL
    return needed


def _check_basic(call: Call, header: str, needed: Grants) -> None:
    user = check_basic(header, call.behaviour.users)
    if user is None and (header or not call.behaviour.anonymous):
        raise _challenged(call, needed, "")
    allowed = allowed_actions(call.behaviour, user)
    if not all(actions <= allowed or scope[0] == "registry" for scope, actions in needed.items()):
        if user is None:
            raise _challenged(call, needed, "")
        raise Refusal(403, "DENIED", "requested access to the resource is denied")
    call.user, call.granted = user, allowed


def _check_bearer(call: Call, header: str, needed: Grants) -> None:
    service = call.behaviour.bearer
    assert service is not None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise _challenged(call, needed, "")
    used = call.service.tokens.use(token.strip(), time.monotonic())
    if used is None:
        raise _challenged(call, needed, "invalid_token")
    grants, call.user = used
    call.granted = grants.get(_granted_by(service, ("repository", call.repository)), _NOTHING)
    if not all(actions <= grants.get(_granted_by(service, scope), _NOTHING) for scope, actions in needed.items()):
        if service.insufficient_status == 403:  # noqa: PLR2004 - the status itself
            raise Refusal(403, "DENIED", "requested access to the resource is denied")
        raise _challenged(call, needed, "insufficient_scope")


def _challenged(call: Call, needed: Grants, error: str) -> Refusal:
    silent = call.behaviour.challenge_on_ping_only and call.route.kind is not Operation.PING
    headers = () if silent else build_challenges(call, needed, error)
    return Refusal(401, "UNAUTHORIZED", "authentication required", headers=headers)


def build_challenges(call: Call, needed: Grants, error: str = "") -> list[tuple[str, str]]:
    """Return the headers WWW-Authenticate for the rights `needed`; `error` as in RFC 6750, section 3.1."""
    behaviour = call.behaviour
    own = f'Basic realm="{behaviour.basic_realm}"'
    if behaviour.bearer is not None:
        at = call.companion_url if behaviour.bearer.on_companion else call.own_url
        params = [("realm", at + behaviour.bearer.path)]
        if behaviour.bearer.service is not None:
            params.append(("service", behaviour.bearer.service))
        if behaviour.bearer.one_scope is not None:
            params.append(("scope", behaviour.bearer.one_scope))
        elif needed:
            params.append(("scope", " ".join(_scope_text(scope, needed[scope]) for scope in needed)))
        if error:
            params.append(("error", error))
        own = "Bearer " + ",".join(f'{name}="{value}"' for name, value in params)
    challenges = [*behaviour.extra_challenges, own]
    if behaviour.one_challenge_header:
        challenges = [", ".join(challenges)]
    return [("WWW-Authenticate", challenge) for challenge in challenges]


def _granted_by(service: TokenService, scope: tuple[str, str]) -> tuple[str, str]:
    """Return the scope of a token that covers `scope`."""
    return scope if service.one_scope is None else parse_scope(service.one_scope)[0]


def _scope_text(scope: tuple[str, str], actions: frozenset[str]) -> str:
    return f"{scope[0]}:{scope[1]}:{','.join(sorted(actions))}"


def check_basic(header: str, users: Mapping[str, str]) -> str | None:
    """Return the user that a Basic Authorization header proves (RFC 7617), or None."""
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
    """Return the actions of a user (None: anonymous) on any repository."""
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
    challenge = ("WWW-Authenticate", 'Basic realm="embedded token service"')
    return Refusal(401, "UNAUTHORIZED", "incorrect username or password", headers=(challenge,))


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
    """Return type and name of a scope, and its actions."""
    kind, _, rest = text.partition(":")
    name, _, actions = rest.rpartition(":")
    return (kind, name), frozenset(actions.split(","))
