"""What the headers of an answer say of the content it carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.oci import Digest

if TYPE_CHECKING:
    from image_syncer.registry.message import Headers, Response

__all__ = ["content_digest", "content_length", "is_page"]

_NUMBER = re.compile(r"[0-9]{1,18}")


def content_digest(headers: Headers) -> Digest | None:
    """The digest of `Docker-Content-Digest`, None where it is missing or not a digest."""
    text = headers.get("Docker-Content-Digest")
    if not text:
        return None
    try:
        return Digest(text.strip())
    except ValueError:
        return None


def content_length(headers: Headers) -> int | None:
    """The bytes of the body by `Content-Length` (RFC 9110, section 8.6), None where it is missing or no
    number.
    """
    match = _NUMBER.fullmatch(headers.get("Content-Length", "").strip())
    return int(match[0]) if match else None


def is_page(response: Response) -> bool:
    """Whether the answer is a page for people: what a login or a proxy in front says with 200, and no registry."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return media_type == "text/html" or response.body.lstrip()[:1] == b"<"
