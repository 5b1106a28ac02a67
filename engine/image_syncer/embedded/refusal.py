"""Refusals: answers that say no, with the body that the specification asks for.

OCI distribution specification 1.1, "Error Codes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Refusal", "build_refusal_response"]


class Refusal(Exception):  # noqa: N818 - not a fault of the registry, but its answer
    """A request is refused with `status` and one error `code` of the specification.

    `quirk` is what the counters call it, where no registry that keeps to the specification would refuse this. `page`
    is an HTML body in place of the specification's, as proxies and load balancers answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: object = None,
        headers: Mapping[str, str] | None = None,
        challenges: tuple[str, ...] = (),
        quirk: str = "",
        page: str | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = dict(headers or {})
        self.challenges = challenges
        self.quirk = quirk
        self.page = page
        super().__init__(message)


def build_refusal_response(refusal: Refusal) -> web.Response:
    """The response that carries `refusal`."""
    error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.detail is not None:
        error["detail"] = refusal.detail
    response = web.Response(
        status=refusal.status,
        headers=refusal.headers,
        body=orjson.dumps({"errors": [error]}) if refusal.page is None else refusal.page.encode(),
        content_type="application/json" if refusal.page is None else "text/html",
    )
    for challenge in refusal.challenges:
        response.headers.add("WWW-Authenticate", challenge)
    return response
