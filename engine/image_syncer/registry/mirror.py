"""Requests to mirrors of a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from image_syncer.registry.message import Request

__all__ = ["say_whose"]


def say_whose(request: Request, registry: str) -> Request:
    """`request`, which goes to a mirror, with the registry whose content is wanted: a proxy in front of several knows
    from that which of them to ask (`?ns=docker.io`, as containerd says it since 1.4; others pass over it).
    """
    separator = "&" if "?" in request.url else "?"
    return request._replace(url=f"{request.url}{separator}ns={quote(registry, safe=':')}")
