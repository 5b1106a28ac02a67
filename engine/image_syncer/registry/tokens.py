"""Credentials and the tokens they are exchanged for (Docker Registry v2 authentication: "Token Authentication
Specification" and "OAuth2 Token Authentication"; RFC 7617 for Basic).

What a token grants of what it was asked for, where its answer or the token itself says so.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode, urlsafe_b64decode
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.registry.location import append_query, origin_of, resolve_location, without_query
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.oci import Repository
    from image_syncer.registry.challenge import Challenge
    from image_syncer.registry.endpoint import Endpoint
    from image_syncer.registry.scope import Scope

__all__ = [
    "DEFAULT_EXPIRES_IN_S",
    "Credential",
    "Token",
    "basic_authorization",
    "build_token_request",
    "missing_scopes",
    "parse_token",
    "realm_allowed",
]


_EVERYTHING = "*"
_JWT_PARTS = 3
_Granted = dict[tuple[str, str], set[str]]


def missing_scopes(wanted: Sequence[Scope], token: str, answered: object) -> tuple[Scope, ...]:
    """Of each of `wanted` the actions that were not granted; empty where all were, or where nobody says.

    A service may grant less than it was asked for, with status 200 (Docker Registry v2 authentication, "Token
    Authentication Specification"). `answered` is the field `scope` of its answer, which "OAuth2 Token Authentication"
    demands; else the claim `access` of a token that is a JWT says it ("Token Authentication Implementation"). Nothing
    else of the token is looked at, and nothing of it is returned: what is named are our own words.
    """
    granted = _of_field(answered)
    if granted is None:
        granted = _of_claims(token)
    if granted is None:
        return ()
    missing = []
    for scope in wanted:
        actions = granted.get((scope.resource, scope.name), set())
        left = () if _EVERYTHING in actions else tuple(each for each in scope.actions if each not in actions)
        if left:
            missing.append(replace(scope, actions=left))
    return tuple(missing)


def _of_field(answered: object) -> _Granted | None:
    if not isinstance(answered, str) or not answered.strip():
        return None
    granted: _Granted = {}
    for text in answered.split():
        resource, colon, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        if not colon or not name:
            return None  # words of another dialect of OAuth2
        _note(granted, resource, name, actions.split(","))
    return granted


def _of_claims(token: str) -> _Granted | None:
    parts = token.split(".")
    if len(parts) != _JWT_PARTS:
        return None
    try:
        claims = orjson.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    access = claims.get("access") if isinstance(claims, dict) else None
    if not isinstance(access, list):
        return None
    granted: _Granted = {}
    for entry in access:
        fields = entry if isinstance(entry, dict) else {}
        resource, name, actions = (fields.get(key) for key in ("type", "name", "actions"))
        if isinstance(resource, str) and isinstance(name, str) and isinstance(actions, list):
            _note(granted, resource, name, (each for each in actions if isinstance(each, str)))
    return granted


def _note(granted: _Granted, resource: str, name: str, actions: Iterable[str]) -> None:
    # The type may carry a class: repository(plugin).
    granted.setdefault((resource.partition("(")[0], name), set()).update(actions)


DEFAULT_EXPIRES_IN_S = 60.0
"""What a token lasts whose answer does not say (Token Authentication Specification, "expires_in")."""

_CLIENT_ID = "image-syncer"
_MAX_TOKEN_CHARS = 64 * 1024
# It goes into a header: what is no visible ASCII could end it, and begin another (RFC 6750, section 2.1 is
# stricter still).
_TOKEN = re.compile(r"[!-~]+")
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


class Credential(Value, frozen=True):
    """A user name and its password, or an identity token, which `docker login` leaves in place of the
    password.
    """

    username: str
    password: str
    identity_token: str | None = None

    __repr__ = repr_without("password", "identity_token")


class Token(Value, frozen=True):
    """A token for `Authorization: Bearer`, and the seconds that it lasts from now.

    `missing` is what was asked for and not granted, as far as that is known. `refresh_token` takes the place of the
    identity token that it was exchanged for (RFC 6749, section 6).
    """

    value: str
    expires_in_s: float
    missing: tuple[Scope, ...] = ()
    refresh_token: str | None = None

    __repr__ = repr_without("value", "refresh_token")


def basic_authorization(credential: Credential) -> str:
    """The value of `Authorization` for Basic (RFC 7617, section 2), in UTF-8."""
    pair = f"{credential.username}:{credential.password}"
    return f"Basic {b64encode(pair.encode('utf-8', 'surrogateescape')).decode('ascii')}"


def realm_allowed(realm_url: str, endpoint: Endpoint) -> bool:
    """Whether credentials may be sent to this realm: over TLS to any host the registry names, in the clear
    only where the registry itself is spoken to in the clear.
    """
    origin = origin_of(realm_url)
    return origin is not None and (origin[0] == "https" or endpoint.base_url.startswith("http://"))


def build_token_request(
    challenge: Challenge,
    scopes: Sequence[Scope],
    credential: Credential | None = None,
    *,
    password_grant: bool = False,
    repository: Repository | None = None,
    origin: Origin = Origin.LOCAL,
) -> Request:
    """Ask the realm of a Bearer challenge for a token with `scopes`; without any, with the challenge's own.

    With an identity token, or where a `password_grant` is wanted, a POST ("OAuth2 Token Authentication"), else a GET
    ("Token Authentication Specification", "Requesting a Token"), with Basic if there is a credential. Whether the realm
    may see the credential is asked before: `realm_allowed`. Scopes to push come first, because some servers read one
    only. `repository` is what the token is for, and what errors then name. Raises `ProtocolViolation` when the realm is
    no HTTP address.
    """
    realm = challenge.params.get("realm", "")
    if origin_of(realm) is None:
        raise ProtocolViolation(
            f"the registry names a token service that cannot be used: {without_query(realm)[:120]!r}",
            origin=origin,
        )
    realm = resolve_location(realm, realm, origin=origin)
    names = [str(scope) for scope in sorted(scopes, key=lambda scope: "push" not in scope.actions)]
    if not names:
        names = challenge.params.get("scope", "").split()
    service = challenge.params.get("service")
    if credential is not None and (credential.identity_token or password_grant):
        form = _oauth2_form(service, names, credential)
        return Request(
            Operation.GET_TOKEN,
            "POST",
            realm,
            repository,
            headers=(("Content-Type", "application/x-www-form-urlencoded"),),
            body=form,
            scopes=tuple(scopes),
        )
    headers = (("Authorization", basic_authorization(credential)),) if credential is not None else ()
    pairs = [("service", service)] if service else []
    pairs += [("scope", name) for name in names]
    query = urlencode(pairs, quote_via=quote, safe=":/,*")
    url = append_query(realm, query) if query else realm
    return Request(Operation.GET_TOKEN, "GET", url, repository, headers=headers, scopes=tuple(scopes))


def parse_token(response: Response, *, scopes: Sequence[Scope] = (), origin: Origin = Origin.LOCAL) -> Token:
    """The token of an answer: `token`, or `access_token`, and `expires_in`, 60 seconds where it is missing or
    makes no sense. `scopes` are those that were asked for.

    Raises `ProtocolViolation` when there is no token that could stand in a header; the message never holds
    the answer.
    """
    try:
        body = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        body = None
    fields = body if isinstance(body, dict) else {}
    value = fields.get("token") or fields.get("access_token")
    if not isinstance(value, str) or len(value) > _MAX_TOKEN_CHARS or not _TOKEN.fullmatch(value):
        raise ProtocolViolation(
            f"the token service at {without_query(response.url)} answered {response.status} without a token",
            origin=origin,
            operation=Operation.GET_TOKEN.value,
            request=without_query(response.url),
            status=response.status,
        )
    refresh_token = fields.get("refresh_token")
    return Token(
        value,
        _expires_in_s(fields.get("expires_in")),
        missing_scopes(scopes, value, fields.get("scope")),
        refresh_token if isinstance(refresh_token, str) and 0 < len(refresh_token) <= _MAX_TOKEN_CHARS else None,
    )


def _expires_in_s(value: object) -> float:
    match = _NUMBER.fullmatch(str(value)) if isinstance(value, (int, float, str)) else None
    return float(match[0]) or DEFAULT_EXPIRES_IN_S if match else DEFAULT_EXPIRES_IN_S


def _oauth2_form(service: str | None, scope_names: list[str], credential: Credential) -> bytes:
    if credential.identity_token:
        form = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
    else:
        form = {"grant_type": "password", "username": credential.username, "password": credential.password}
    form["client_id"] = _CLIENT_ID
    if service:
        form["service"] = service
    if scope_names:
        form["scope"] = " ".join(scope_names)
    return urlencode(form, quote_via=quote, errors="surrogateescape").encode("ascii")
