"""Challenges, credentials and tokens (Docker's "Token Authentication Specification" and "OAuth2 Token …").

Also RFC 7617 (Basic), RFC 6750 (Bearer) and RFC 9110, section 11.6.1 (`WWW-Authenticate`).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode, urlsafe_b64decode
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.patterns import lazy_pattern
from image_syncer.registry.location import append_query, origin_of, resolve_location, without_query
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.values import Value, replace, repr_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from image_syncer.oci import Repository
    from image_syncer.registry.endpoint import Endpoint
    from image_syncer.registry.message import Scope


DEFAULT_EXPIRES_IN_S = 60.0
"""The life of a token whose answer does not say ("expires_in")."""
TOKEN68 = "token68"
_TOKEN_GRAMMAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - the grammar's "token"
_SEPARATORS = lazy_pattern(r"[\s,]*")
# A bare value ends at the next comma or space: servers forget the quotes around addresses.
_PARAM = lazy_pattern(rf"({_TOKEN_GRAMMAR})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"?|([^\s,\"]*))", re.DOTALL)
_SCHEME = lazy_pattern(_TOKEN_GRAMMAR)
_BARE_DATA = lazy_pattern(r"[ \t]+([A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|\Z)")
_JUNK = lazy_pattern(r"[^\s,]+")
_QUOTED_PAIR = lazy_pattern(r"\\(.)", re.DOTALL)
_MAX_CHARS = 16 * 1024
_EVERYTHING = "*"
_JWT_PARTS = 3
_Granted = dict[tuple[str, str], set[str]]
_CLIENT_ID = "image-syncer"
_MAX_TOKEN_CHARS = 64 * 1024
# A token is put into a header: only visible ASCII cannot end it (RFC 6750, section 2.1, is stricter).
_TOKEN = lazy_pattern(r"[!-~]+")
_NUMBER = lazy_pattern(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


class Challenge(Value, frozen=True):
    """One way to authenticate: scheme and parameter names in lower case, the values as they came."""

    scheme: str
    params: Mapping[str, str]


def parse_challenges(values: Sequence[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all `WWW-Authenticate` fields, in their order, of which each may have several.

    Other text is skipped, the first value of a repeated parameter counts, and each field is read up to 16 KiB.
    """
    found: list[Challenge] = []
    for value in values:
        found += _parse_field(value[:_MAX_CHARS])
    return tuple(found)


def rank_challenges(challenges: Sequence[Challenge]) -> tuple[Challenge, ...]:
    """Return the challenges that can be answered, the best first.

    Bearer with a realm precedes Basic, because a token keeps the password off the wire. A Bearer without an HTTP URL as
    its realm is last, so that its error is reported where there is no other.
    """
    bearer = [each for each in challenges if each.scheme == "bearer" and each.params.get("realm")]
    usable = [each for each in bearer if origin_of(each.params["realm"]) is not None]
    basic = [each for each in challenges if each.scheme == "basic"]
    return (*usable, *basic, *(each for each in bearer if each not in usable))


def build_ping(endpoint: Endpoint) -> Request:
    """Ask `/v2/`, whose 401 has the challenge ("Determining support", end-1)."""
    return Request(Operation.PING, "GET", f"{endpoint.base_url}/v2/", None)


def _parse_field(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    params: dict[str, str] | None = None
    at = 0
    while (at := _end(_SEPARATORS.match(text, at), at)) < len(text):
        if param := _PARAM.match(text, at):
            name, quoted, bare = param.groups()
            if params is not None:  # else it belongs to no scheme
                params.setdefault(name.lower(), bare if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted))
            at = param.end()
        elif scheme := _SCHEME.match(text, at):
            data = _BARE_DATA.match(text, scheme.end())
            params = {TOKEN68: data[1]} if data else {}
            found.append(Challenge(scheme[0].lower(), params))
            at = (data or scheme).end()
        else:
            at = _end(_JUNK.match(text, at), at + 1)
    return found


def _end(match: re.Match[str] | None, otherwise: int) -> int:
    return match.end() if match else otherwise


def missing_scopes(wanted: Sequence[Scope], token: str, answered: object) -> tuple[Scope, ...]:
    """Return the actions of `wanted` that were not granted; none where that is unknown.

    A service may grant less than requested, with status 200 ("Token Authentication Specification"). `answered` is the
    field `scope` of its answer ("OAuth2 Token Authentication"); without it, the claim `access` of a JWT counts ("Token
    Authentication Implementation"). Nothing else of the token is read, and nothing of it is returned.
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
            return None  # another dialect of OAuth2
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
    # The type may have a class: repository(plugin).
    granted.setdefault((resource.partition("(")[0], name), set()).update(actions)


class Credential(Value, frozen=True):
    """A user name and its password, or an identity token, which `docker login` may store instead of the password."""

    username: str
    password: str
    identity_token: str | None = None

    __repr__ = repr_without("password", "identity_token")


class Token(Value, frozen=True):
    """A token for `Authorization: Bearer`, and its life in seconds from now.

    `missing` are the scopes that were not granted, as far as that is known. `refresh_token` replaces the identity token
    (RFC 6749, section 6).
    """

    value: str
    expires_in_s: float
    missing: tuple[Scope, ...] = ()
    refresh_token: str | None = None

    __repr__ = repr_without("value", "refresh_token")


def basic_authorization(credential: Credential) -> str:
    """Return the value of `Authorization` for Basic (RFC 7617, section 2), in UTF-8."""
    pair = f"{credential.username}:{credential.password}"
    return f"Basic {b64encode(pair.encode('utf-8', 'surrogateescape')).decode('ascii')}"


def realm_allowed(realm_url: str, endpoint: Endpoint) -> bool:
    """Return whether credentials may be sent to this realm: over TLS always, in plain HTTP only for such a registry."""
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

    An identity token or a `password_grant` takes a POST ("OAuth2 Token Authentication"), else it is a GET ("Token
    Authentication Specification", "Requesting a Token"), with Basic if there is a credential. The caller checks
    `realm_allowed` before. Scopes to push are first, because some servers read one only. Errors name `repository`.
    Raises `ProtocolViolation` where the realm is no HTTP URL.
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
        form, form_type = (
            _oauth2_form(service, names, credential),
            ("Content-Type", "application/x-www-form-urlencoded"),
        )
        return Request(Operation.GET_TOKEN, "POST", realm, repository, (form_type,), form, tuple(scopes))
    headers = (("Authorization", basic_authorization(credential)),) if credential is not None else ()
    pairs = [("service", service)] if service else []
    pairs += [("scope", name) for name in names]
    query = urlencode(pairs, quote_via=quote, safe=":/,*")
    url = append_query(realm, query) if query else realm
    return Request(Operation.GET_TOKEN, "GET", url, repository, headers=headers, scopes=tuple(scopes))


def parse_token(response: Response, *, scopes: Sequence[Scope] = (), origin: Origin = Origin.LOCAL) -> Token:
    """Return the token of an answer to a request for `scopes`: `token` or `access_token`, and `expires_in`.

    Raises `ProtocolViolation` without a token that fits into a header; the message never has the answer.
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
