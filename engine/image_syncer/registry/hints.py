"""What to do about a failure: for the person who reads it and knows neither registries nor this program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Origin
from image_syncer.registry.location import origin_of
from image_syncer.registry.message import Operation
from image_syncer.registry.profiles import Meaning, find_sign

if TYPE_CHECKING:
    from image_syncer.oci import Repository
    from image_syncer.registry.error_body import ErrorBody
    from image_syncer.registry.message import Request
    from image_syncer.registry.profiles import Profile, Sign
    from image_syncer.registry.scope import Scope

__all__ = ["NO_REGISTRY_HINT", "denial_hint", "find_hint"]

_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_PROXY_LOGIN = 407
_PAYLOAD_TOO_LARGE = 413
_SERVER_ERRORS = range(500, 600)

_WRITES = frozenset({Operation.START_UPLOAD, Operation.PATCH_UPLOAD, Operation.PUT_UPLOAD, Operation.PUT_MANIFEST})
_MANIFEST_READS = frozenset({Operation.HEAD_MANIFEST, Operation.GET_MANIFEST})

# nginx, Go, Apache, Tomcat
_TLS_WANTED = (
    "plain http request was sent to https port",
    "sent an http request to an https server",
    "speaking plain http to an ssl-enabled server port",
    "combination of host and port requires tls",
)
_PROXY = (
    "A proxy on the way wants a user name and a password, or others: write user:password@ before its host (`proxy` "
    "of the registry's entry, or http_proxy in the environment)."
)
_TLS = "This port speaks TLS and was asked in plain HTTP: leave `insecure` out for this registry."
_TOO_LARGE = (
    "The registry, or a proxy in front of it, takes no request of this size or has no room for it: raise the "
    "limit there (nginx: client_max_body_size), or the quota."
)
_STORAGE = "The signed address that the registry gave was not accepted: it has expired, or a clock is wrong."
NO_REGISTRY_HINT = "This is not the answer of a registry: check the name of the host, its port and any proxy."
"""For an answer that is a web page."""
_TROUBLE = "The registry, or a proxy in front of it, has trouble of its own: run again later, or ask who runs it."
_CREATE = "A push does not create the repository there: create it, or its project, first."
_CHECK_NAME = "Check the name{tag}. Some registries also answer so to those who may not see a repository."
_CREDENTIALS_WRONG = (
    "The user name or password for {registry} is wrong or has expired: correct it in the auth file, or log in "
    "again with `image-syncer login`."
)
_CREDENTIALS_WANTED = (
    "Without a user name and password {registry} does not allow this: add them to the auth file, or log in with "
    "`image-syncer login`."
)
_CREDENTIALS_OR_MISSING = (
    "Give a user name and password for {registry} in the auth file, or correct them. Some registries also "
    "answer so for a repository that does not exist."
)
_MAY_NOT = (
    "The credentials for {registry} do not allow to {action} {repository}, or the repository does not exist there."
)


def find_hint(
    status: int, body: ErrorBody, request: Request, *, origin: Origin, sign: Sign | None, elsewhere: bool
) -> str | None:
    """What the user can do about the failure `status` with `body`; None where the message says it all.

    `sign` is what the profile of the registry says of it, `elsewhere` whether the answer is that of a signed address
    on another host.
    """
    if sign is not None and sign.meaning is Meaning.WAIT:
        return _filled(sign.hint, request)
    if status == _PROXY_LOGIN:
        return _PROXY
    if any(words in body.text for words in _TLS_WANTED):
        return _TLS
    if sign is not None:
        return _filled(sign.hint, request)
    if status == _PAYLOAD_TOO_LARGE:
        return _TOO_LARGE
    if elsewhere:
        return _STORAGE if status in (_UNAUTHORIZED, _FORBIDDEN) else None
    if status in (_UNAUTHORIZED, _FORBIDDEN) or "INVALID_GRANT" in body.codes:
        return _access_hint(status, body, request)
    if status in _SERVER_ERRORS:
        return _TROUBLE
    return _missing_hint(body, request, origin) if status == _NOT_FOUND else None


def denial_hint(profile: Profile, repository: Repository | None, scopes: tuple[Scope, ...]) -> str | None:
    """What the kind of registry makes likely where it grants less than `scopes`: such as that the repository's project
    does not exist. None where its profile says nothing of that.
    """
    if repository is None:
        return None
    wants_push = any("push" in scope.actions for scope in scopes)
    operation = Operation.START_UPLOAD if wants_push else Operation.GET_MANIFEST
    sign = find_sign(profile, _UNAUTHORIZED, ("UNAUTHORIZED", "INSUFFICIENT_SCOPE"), "", operation)
    return None if sign is None else _fill(sign.hint, repository.registry, repository)


def _access_hint(status: int, body: ErrorBody, request: Request) -> str:
    registry = _registry(request)
    if request.operation is Operation.GET_TOKEN:
        # A form is only sent with an identity token, a header only with a password.
        known = bool(request.body) or any(name == "Authorization" for name, _ in request.headers)
        return (_CREDENTIALS_WRONG if known else _CREDENTIALS_WANTED).format(registry=registry)
    if status == _FORBIDDEN or "INSUFFICIENT_SCOPE" in body.codes:
        action = "push to" if request.operation in _WRITES else "pull from"
        repository = request.repository or registry
        return _MAY_NOT.format(registry=registry, action=action, repository=repository)
    return _CREDENTIALS_OR_MISSING.format(registry=registry)


def _missing_hint(body: ErrorBody, request: Request, origin: Origin) -> str | None:
    if body.is_markup:
        return NO_REGISTRY_HINT
    if request.operation is Operation.START_UPLOAD or (request.operation in _WRITES and "NAME_UNKNOWN" in body.codes):
        return _CREATE
    if origin is not Origin.DESTINATION and request.operation in _MANIFEST_READS:
        return _CHECK_NAME.format(tag=" and the tag")
    return _CHECK_NAME.format(tag="") if request.operation is Operation.LIST_TAGS else None


def _registry(request: Request) -> str:
    if request.repository is not None:
        return request.repository.registry
    # The host of a token service is no name that credentials are filed under.
    origin = None if request.operation is Operation.GET_TOKEN else origin_of(request.url)
    return origin[1] if origin else "the registry"


def _filled(hint: str, request: Request) -> str:
    return _fill(hint, _registry(request), request.repository)


def _fill(hint: str, registry: str, repository: Repository | None) -> str:
    project = repository.name.partition("/")[0] if repository is not None else registry
    return hint.format(registry=registry, repository=repository or registry, project=project)
