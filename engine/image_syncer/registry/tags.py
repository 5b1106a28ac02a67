"""Lists of tags (OCI distribution specification 1.1, section "Listing tags", end-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.oci import is_tag
from image_syncer.registry.location import without_query
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.registry.pagination import next_page_url, page_query
from image_syncer.registry.scope import list_scope
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Repository
    from image_syncer.registry.endpoint import Endpoint

__all__ = ["TagPage", "build_list_tags", "parse_list", "parse_tag_page"]


class TagPage(Value, frozen=True):
    """Some tags of a repository, in the registry's order, and the address of the next page, None after the
    last.
    """

    names: tuple[str, ...]
    next_url: str | None


def build_list_tags(
    endpoint: Endpoint, repository: Repository, *, page_size: int, next_url: str | None = None
) -> Request:
    """Ask for tags of a repository: the first `page_size` (at most 1000; 0 leaves it to the registry), or the
    page at `next_url`.
    """
    url = next_url or f"{endpoint.base_url}/v2/{repository.name}/tags/list{page_query(page_size)}"
    scopes = (list_scope(repository, endpoint.profile.list_actions),)
    return Request(Operation.LIST_TAGS, "GET", url, repository, scopes=scopes)


def parse_tag_page(response: Response, request_url: str) -> TagPage:
    """The tags of one page; `null` for none is accepted, and entries that are no tags (Artifactory lists
    digests) are left out.

    Whether pages go round in circles is for the caller to see. Raises `ProtocolViolation` for a body that is
    no list of tags and for a next page on another host.
    """
    names = parse_list(response, "tags", request_url, Operation.LIST_TAGS)
    return TagPage(tuple(filter(is_tag, names)), next_page_url(response, request_url))


def parse_list(response: Response, key: str, request_url: str, operation: Operation) -> list[str]:
    """The list of strings under `key` of a JSON body; missing and `null` mean none. Raises
    `ProtocolViolation` for anything else.
    """
    try:
        body = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        body = None
    names = body.get(key) if isinstance(body, dict) else 0
    if names is None:
        return []
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    raise ProtocolViolation(
        f"GET {without_query(request_url)} answered {response.status} with a body that is no list of {key}",
        origin=Origin.SOURCE,
        operation=operation.value,
        request=f"GET {without_query(request_url)}",
        status=response.status,
    )
