"""Pages of a list: the query that asks for one, and the `Link` that leads to the next (RFC 8288; OCI
distribution specification 1.1, section "Listing tags").
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.registry.location import (
    MAX_LOCATION_CHARS,
    resolve_own_location,
    same_origin,
    without_query,
)

if TYPE_CHECKING:
    from image_syncer.registry.message import Response

__all__ = ["MAX_PAGE_SIZE", "next_page_url", "page_query"]

MAX_PAGE_SIZE = 1000
"""ECR refuses a larger `n`, distribution a larger one for the catalog; others cut it down."""

# "<<url>>" is how the specification writes its example, and how some servers took it.
_LINK = re.compile(r"<{1,2}([^<>]*)>{1,2}([^<]*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,]+))", re.IGNORECASE)


def page_query(page_size: int) -> str:
    """The query for pages of `page_size` entries; 0 leaves the size to the registry, which may send
    everything at once.
    """
    return f"?n={min(page_size, MAX_PAGE_SIZE)}" if page_size > 0 else ""


def next_page_url(response: Response, request_url: str) -> str | None:
    """The address of the page after this one, None where this is the last.

    Proxies rewrite paths and registries then link to their inner ones, so the path stays that of
    `request_url` where the link has a query. Raises `ProtocolViolation` for a link to another host: what was
    meant for this one must not go there.
    """
    target = _next_link(response)
    if target is None:
        return None
    url = resolve_own_location(request_url, target, origin=Origin.SOURCE)
    if not same_origin(request_url, url):
        raise ProtocolViolation(
            f"the next page of a list is said to be on another host: {without_query(url)}",
            origin=Origin.SOURCE,
            request=f"GET {without_query(request_url)}",
            status=response.status,
        )
    query = url.partition("#")[0].partition("?")[2]
    return f"{without_query(request_url)}?{query}" if query else url


def _next_link(response: Response) -> str | None:
    for value in response.headers.get_all("Link"):
        for target, params in _LINK.findall(value[:MAX_LOCATION_CHARS]):
            relations = [quoted or bare for quoted, bare in _REL.findall(params)]
            if target and (not relations or "next" in relations[0].lower().split()):
                return str(target)
    return None
