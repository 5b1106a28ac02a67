"""What can be wrong with the bytes of a source: errors that say what was promised and what came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import IntegrityError, Origin

if TYPE_CHECKING:
    from image_syncer.oci import Digest

__all__ = ["changed", "too_long", "too_short", "wrong_digest"]

DAMAGED_HINT = "The blob is damaged at the source, or on the way; nothing of it was committed at the destination."


def changed(digest: Digest, end: int) -> IntegrityError:
    """What stands before `end` is not what came when it was read the first time."""
    return IntegrityError(
        f"the source sent other bytes than before when the first {end} bytes of the blob were read again",
        origin=Origin.SOURCE,
        digest=digest,
        hint=DAMAGED_HINT,
        retryable=True,
    )


def too_long(digest: Digest, size: int) -> IntegrityError:
    """More than `size` bytes come."""
    return IntegrityError(
        f"the source sends more than the {size} bytes that the manifest names",
        origin=Origin.SOURCE,
        digest=digest,
        expected=f"{size} bytes",
        hint=DAMAGED_HINT,
        retryable=True,
    )


def too_short(digest: Digest, size: int, received: int) -> IntegrityError:
    """The download ended after `received` of `size` bytes."""
    return IntegrityError(
        f"the source ended the blob after {received} of {size} bytes",
        origin=Origin.SOURCE,
        digest=digest,
        expected=f"{size} bytes",
        actual=f"{received} bytes",
        retryable=True,
    )


def wrong_digest(digest: Digest, actual_hex: str) -> IntegrityError:
    """All bytes came, and they are not the ones."""
    return IntegrityError(
        "the source's bytes do not have the digest that the manifest names",
        origin=Origin.SOURCE,
        digest=digest,
        expected=digest,
        actual=f"{digest.algorithm}:{actual_hex}",
        hint=DAMAGED_HINT,
        retryable=True,
    )
