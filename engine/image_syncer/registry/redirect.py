"""Redirects: where they may lead, and what may go along (RFC 9110, section 15.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.registry.location import is_origin, origin_of, resolve_location, same_origin, without_query
from image_syncer.registry.message import Operation
from image_syncer.registry.redirect_policy import STRICT, RedirectPolicy

if TYPE_CHECKING:
    from image_syncer.registry.message import Request, Response

__all__ = [
    "MAX_REDIRECTS",
    "REDIRECT_STATUSES",
    "follow_redirect",
    "may_carry_credentials",
    "resolve_redirect",
]

MAX_REDIRECTS = 5
"""Registries need one or two (storage, a regional host); browsers give up at 20, the Go client at 10."""

REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_SAME_METHOD_STATUSES = frozenset({307, 308})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
# Where the user allows it: their bytes are checked against a digest, so plain HTTP cannot change them; storage inside
# a private network is sometimes like that.
_MAY_LEAVE_TLS = frozenset({Operation.GET_BLOB, Operation.HEAD_BLOB})
_PLAIN_HINT = (
    "Have the registry's storage served over TLS; or, where the way there is trusted, set allow_plain_redirects: true "
    "for this registry in the auth file."
)


def resolve_redirect(request_url: str, location: str) -> str:
    """The absolute address of a redirect (RFC 9110, section 10.2.2).

    Raises `ProtocolViolation` where `resolve_location` does.
    """
    return resolve_location(request_url, location)


def may_carry_credentials(from_url: str, to_url: str) -> bool:
    """Whether what was meant for `from_url` may be sent to `to_url`: only with the same scheme, host and
    port.

    Signed storage answers 400 to a second kind of authorization, and another host must not learn a token.
    """
    # Nearly every request is at a path below its registry's address, which is then compared as text.
    if to_url.startswith(from_url) and to_url[len(from_url) : len(from_url) + 1] == "/" and is_origin(from_url):
        return True
    return same_origin(from_url, to_url)


def follow_redirect(
    request: Request,
    response: Response,
    *,
    followed: int,
    origin: Origin = Origin.LOCAL,
    allowed: RedirectPolicy = STRICT,
) -> Request:
    """The request that a redirecting `response` asks for; `followed` redirects came before it in the same
    exchange.

    The method stays. Another host gets no scopes, so nothing is asked or sent for it. Raises
    `ProtocolViolation` when there are too many, when the answer names no usable place or the same one again,
    when it would leave TLS (but for blobs where it is `allowed`), and when a request with a body is redirected
    by a status that would turn it into a GET (only 307 and 308 keep it).
    """
    target = response.headers.get("Location", "")
    what = _objection(request, response, target, followed)
    hint = None
    if what is None:
        url = resolve_location(response.url or request.url, target, origin=origin)
        what, hint = _objection_to(url, request, allowed)
        if what is None:
            stays = may_carry_credentials(request.url, url)
            return request._replace(url=url, scopes=request.scopes if stays else ())
    raise ProtocolViolation(
        f"{request.line} answered {response.status}, which {what}",
        origin=origin,
        operation=request.operation.value,
        repository=str(request.repository) if request.repository else None,
        request=request.line,
        status=response.status,
        hint=hint,
    )


def _objection(request: Request, response: Response, target: str, followed: int) -> str | None:
    if response.status not in REDIRECT_STATUSES:
        return "is no redirect"
    if not target:
        return "redirects without a Location"
    if followed >= MAX_REDIRECTS:
        return f"redirects once more after {followed} redirects"
    if request.method not in _SAFE_METHODS and response.status not in _SAME_METHOD_STATUSES:
        shown = without_query(target) if origin_of(target) else "elsewhere"
        return f"redirects what must not turn into a GET to {shown}"
    return None


def _objection_to(url: str, request: Request, allowed: RedirectPolicy) -> tuple[str | None, str | None]:
    """What is wrong with the address, and what to do about it."""
    if url == request.url:
        return "redirects to the same address", None
    before, after = origin_of(request.url), origin_of(url)
    leaves_tls = before is not None and after is not None and (before[0], after[0]) == ("https", "http")
    is_blob = request.operation in _MAY_LEAVE_TLS
    if not leaves_tls or (is_blob and allowed.plain):
        return None, None
    return f"redirects from HTTPS to plain HTTP: {without_query(url)}", _PLAIN_HINT if is_blob else None
