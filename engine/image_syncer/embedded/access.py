"""Access: whether a request may do what it asks for, and the challenge where it may not.

RFC 9110, section 11.6.1; distribution's "Token Authentication Specification".
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from image_syncer.embedded.refusal import Refusal
from image_syncer.embedded.route import ExtraOperation
from image_syncer.embedded.tokens import allowed_actions, check_basic, parse_scope
from image_syncer.registry import Operation

if TYPE_CHECKING:
    from image_syncer.embedded.behaviour import TokenService
    from image_syncer.embedded.call import Call
    from image_syncer.embedded.route import RequestKind
    from image_syncer.embedded.tokens import Grants

__all__ = ["build_challenges", "check_access"]

_PULL = frozenset({"pull"})
_PUSH = frozenset({"pull", "push"})
_DELETE = frozenset({"delete"})
_NOTHING: frozenset[str] = frozenset()

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
    """Refuse the request with 401 or 403 where it may not do what it asks for; else note its user in the
    call.
    """
    behaviour = call.behaviour
    if not behaviour.users and behaviour.bearer is None:
        return
    needed = _needed(call)
    header = call.request.headers.get("Authorization", "")
    basic_too = behaviour.basic_beside_bearer and header.lower().startswith("basic ")
    if behaviour.bearer is not None and not basic_too:
        _check_bearer(call, header, needed)
    else:
        _check_user(call, header, needed)


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


def _check_user(call: Call, header: str, needed: Grants) -> None:
    user = check_basic(header, call.behaviour.users)
    if user is None and (header or not call.behaviour.anonymous):
        raise _unauthorized(call, needed, "")
    allowed = allowed_actions(call.behaviour, user)
    if not all(actions <= allowed or scope[0] == "registry" for scope, actions in needed.items()):
        if user is None:
            raise _unauthorized(call, needed, "")
        raise Refusal(403, "DENIED", "requested access to the resource is denied")
    call.user, call.granted = user, allowed


def _check_bearer(call: Call, header: str, needed: Grants) -> None:
    service = call.behaviour.bearer
    assert service is not None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise _unauthorized(call, needed, "")
    used = call.service.tokens.use(token.strip(), time.monotonic())
    if used is None:
        raise _unauthorized(call, needed, "invalid_token")
    grants, call.user = used
    call.granted = grants.get(_granted_by(service, ("repository", call.repository)), _NOTHING)
    if not all(actions <= grants.get(_granted_by(service, scope), _NOTHING) for scope, actions in needed.items()):
        if service.insufficient_status == 403:  # noqa: PLR2004 - the status itself
            raise Refusal(403, "DENIED", "requested access to the resource is denied")
        raise _unauthorized(call, needed, "insufficient_scope")


def _unauthorized(call: Call, needed: Grants, error: str) -> Refusal:
    silent = call.behaviour.challenge_on_ping_only and call.route.kind is not Operation.PING
    challenges = () if silent else build_challenges(call, needed, error)
    return Refusal(401, "UNAUTHORIZED", "authentication required", challenges=challenges)


def build_challenges(call: Call, needed: Grants, error: str = "") -> tuple[str, ...]:
    """The values of WWW-Authenticate for a request that needs `needed`; `error` as in RFC 6750, section 3.1."""
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
    challenges = (*behaviour.extra_challenges, own)
    return (", ".join(challenges),) if behaviour.one_challenge_header else challenges


def _granted_by(service: TokenService, scope: tuple[str, str]) -> tuple[str, str]:
    """The scope of a token that covers `scope`: itself, or the one that is there for everything."""
    return scope if service.one_scope is None else parse_scope(service.one_scope)[0]


def _scope_text(scope: tuple[str, str], actions: frozenset[str]) -> str:
    return f"{scope[0]}:{scope[1]}:{','.join(sorted(actions))}"
