"""Blobs: asking whether they are there, and for their bytes (OCI distribution specification 1.1: end-2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.errors import Origin, ProtocolViolation
from image_syncer.registry.content import content_length
from image_syncer.registry.message import Operation, Request, Response
from image_syncer.registry.scope import pull_scope
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.oci import Digest, Repository
    from image_syncer.registry.endpoint import Endpoint

__all__ = ["BlobRange", "build_get_blob", "build_head_blob", "parse_blob_range"]

_CONTENT_RANGE = re.compile(r"\s*bytes\s+([0-9]{1,18})-[0-9]{1,18}/(?:([0-9]{1,18})|\*)\s*", re.IGNORECASE)
_OK = 200
_PARTIAL_CONTENT = 206


class BlobRange(Value, frozen=True):
    """What part of a blob an answer carries: from byte `start` to its end; `total_bytes` of the whole blob,
    None if unknown.
    """

    start: int
    total_bytes: int | None


def build_get_blob(endpoint: Endpoint, repository: Repository, digest: Digest, *, offset: int = 0) -> Request:
    """Ask for the bytes of a blob from byte `offset` on (section "Pulling blobs", end-2; ranges: RFC 9110,
    section 14.2).
    """
    headers = (("Range", f"bytes={offset}-"),) if offset else ()
    return _blob(Operation.GET_BLOB, "GET", endpoint, repository, digest, headers)


def build_head_blob(endpoint: Endpoint, repository: Repository, digest: Digest) -> Request:
    """Ask whether a blob is there, and for its size (section "Checking if content exists in the registry",
    end-2).
    """
    return _blob(Operation.HEAD_BLOB, "HEAD", endpoint, repository, digest, ())


def parse_blob_range(response: Response, offset: int) -> BlobRange:
    """Where the body of a blob's GET begins, when byte `offset` was asked for (RFC 9110, sections 14.4 and
    15.3.7).

    The registry may ignore the range (200): then the body begins at 0, and the caller skips what it has.
    Raises `ProtocolViolation` when a partial answer does not say where it begins, or begins elsewhere.
    """
    if response.status == _OK:
        return BlobRange(0, content_length(response.headers))
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != _PARTIAL_CONTENT or match is None or int(match[1]) != offset:
        given = f"{response.status}, Content-Range {response.headers.get('Content-Range', '')[:80]!r}"
        raise ProtocolViolation(
            f"the bytes from {offset} on were asked for, and the answer was {given}",
            origin=Origin.SOURCE,
            operation=Operation.GET_BLOB.value,
            status=response.status,
        )
    return BlobRange(offset, int(match[2]) if match[2] else None)


def _blob(
    operation: Operation,
    method: str,
    endpoint: Endpoint,
    repository: Repository,
    digest: Digest,
    headers: tuple[tuple[str, str], ...],
) -> Request:
    url = f"{endpoint.base_url}/v2/{repository.name}/blobs/{digest}"
    return Request(operation, method, url, repository, headers=headers, scopes=(pull_scope(repository),))
