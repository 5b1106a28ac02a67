"""Failures of a place: an image layout or an archive that a process of our own serves as a registry. People gave a
path, and read of files, not of requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.oci import is_place
from image_syncer.registry.message import Operation

if TYPE_CHECKING:
    from image_syncer.registry.error_body import ErrorBody
    from image_syncer.registry.message import Request

__all__ = ["find_place_hint", "is_at_place", "tell_place_failure"]

_INSUFFICIENT_STORAGE = 507
_READS = frozenset(
    {Operation.HEAD_MANIFEST, Operation.GET_MANIFEST, Operation.HEAD_BLOB, Operation.GET_BLOB, Operation.LIST_TAGS}
)
_FULL = "Free space on that file system, or raise the quota there, then run again: what has arrived is kept."
_DAMAGED = (
    "The layout names what it does not have, or what has other bytes than its digest says: look at the file of that "
    "name in blobs, or have the layout made again."
)


def is_at_place(request: Request) -> bool:
    """Whether `request` goes to a place and to no registry."""
    return request.repository is not None and is_place(request.repository.registry)


def tell_place_failure(request: Request, body: ErrorBody) -> str:
    """One line about the failure `body` of `request`, whose address nobody has ever seen."""
    _, coded, said = body.line.partition(": ")
    said = said if coded and body.codes else body.line
    if _names_what_is_missing(request, body):
        kind = "blob" if "blob" in request.operation.value else "manifest"
        said = f"there is no {kind} {_digest_in(request)}"
    return f"{'cannot be read' if request.operation in _READS else 'cannot be written'}: {said or 'no reason is known'}"


def find_place_hint(status: int, request: Request, body: ErrorBody) -> str | None:
    """What the user can do about the failure; None where the line says it all."""
    if status == _INSUFFICIENT_STORAGE:
        return _FULL
    return _DAMAGED if _names_what_is_missing(request, body) else None


def _names_what_is_missing(request: Request, body: ErrorBody) -> bool:
    """Whether something was read by its digest, and is not there."""
    is_missing = not {"BLOB_UNKNOWN", "MANIFEST_UNKNOWN"}.isdisjoint(body.codes)
    return is_missing and request.operation in _READS and _digest_in(request) != ""


def _digest_in(request: Request) -> str:
    """The digest that `request` asks for; "" where it asks for a name."""
    last = request.url.partition("?")[0].rpartition("/")[2]
    return last if ":" in last else ""
