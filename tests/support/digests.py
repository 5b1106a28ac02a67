"""Digests of well-known content."""

from __future__ import annotations

from image_syncer.oci import digest_of

EMPTY_DIGEST = digest_of(b"")
"""The digest of no bytes at all."""
