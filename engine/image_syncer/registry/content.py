"""What the headers of an answer say of the content it carries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from image_syncer.errors import IntegrityError, Origin
from image_syncer.oci import Digest

if TYPE_CHECKING:
    from image_syncer.registry.message import Headers, Operation, Response

__all__ = ["check_stored", "content_digest", "content_length", "is_page"]

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


def check_stored(response: Response, expected: Digest, operation: Operation, noun: str, **places: Any) -> None:
    """Raises `IntegrityError`, with these `places`, where a destination that was sent bytes with the digest `expected`
    says that it stored them under another one. A digest of another algorithm says nothing.
    """
    stored = content_digest(response.headers)
    if stored is not None and stored.algorithm == expected.algorithm and stored != expected:
        raise IntegrityError(
            f"the destination stored the {noun} under another digest",
            origin=Origin.DESTINATION,
            operation=operation.value,
            expected=expected,
            actual=stored,
            retryable=True,
            **places,
        )


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
