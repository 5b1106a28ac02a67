"""What a failure means, whatever its status: by the signs of its registry's profile, and by those of all registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.registry.message import Operation
from image_syncer.registry.profiles.profile import WRITES, Meaning, Sign

if TYPE_CHECKING:
    from image_syncer.registry.profiles.profile import Profile

__all__ = ["find_sign"]

# The system's sentence, its number inside distribution's driver errors (ENOSPC, EDQUOT), MinIO, and proxies.
_NO_SPACE = (
    "no space left on device",
    "disk quota exceeded",
    '"err":28',
    '"err":122',
    "storagefull",
    "disk full",
    "insufficient storage",
    "not enough space",
)
# Harbor, GitLab, Quay, clouds
_OVER_QUOTA = (
    "quota",
    "exceed the configured upper limit",
    "storage limit",
    "out of storage",
    "storage space",
)
_FULL = "The registry is full or over its quota: free space there or raise the quota, then run again."
_IMMUTABLE = (
    "The tag exists at the destination with other content and may not be changed: choose another tag, or "
    "allow changes there."
)
_LIMITED = (
    "Requests to {registry} are limited: give a user name and password where there are none, or take fewer workers."
)
_INSUFFICIENT_STORAGE = frozenset({507})
_PRECONDITION_FAILED = frozenset({412})
_LIMITED_STATUS = 429
_PUT_MANIFEST = frozenset({Operation.PUT_MANIFEST})

_COMMON = (
    # Docker Hub's limiter has answered with the word alone, and under other statuses; caches in front of it pass it on.
    Sign(Meaning.WAIT, _LIMITED, words=("toomanyrequests",)),
    Sign(Meaning.WAIT, _LIMITED, statuses=frozenset({_LIMITED_STATUS})),
    Sign(Meaning.FULL, _FULL, statuses=_INSUFFICIENT_STORAGE),
    Sign(Meaning.FULL, _FULL, words=_NO_SPACE),
    # Of a read, the same words mean bandwidth or requests.
    Sign(Meaning.FULL, _FULL, words=_OVER_QUOTA, operations=WRITES),
    Sign(Meaning.IMMUTABLE, _IMMUTABLE, statuses=_PRECONDITION_FAILED, operations=_PUT_MANIFEST),
    Sign(
        Meaning.IMMUTABLE,
        _IMMUTABLE,
        words=("immutab", "cannot be overwritten", "already exists and cannot be"),
        operations=_PUT_MANIFEST,
    ),
)


def find_sign(profile: Profile, status: int, codes: tuple[str, ...], text: str, operation: Operation) -> Sign | None:
    """The sign that a failure with `status`, the registry's `codes` and the body `text` (in lower case) shows; those
    of the profile count first. None where it says no more than its status.
    """
    for sign in (*profile.signs, *_COMMON):
        if sign.fits(status, codes, text, operation) and (sign.meaning is Meaning.WAIT or status != _LIMITED_STATUS):
            return sign
    return None
