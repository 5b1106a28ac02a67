"""Content digests (OCI image specification 1.1, "Descriptors", section "Digests") of the registered algorithms."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, final

from image_syncer.redaction import quoted

if TYPE_CHECKING:
    from hashlib import _Hash


_FORM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_SHORT_HEX = 12


@final
class Digest(str):
    """A validated `algorithm:hex` text, sha256 or sha512, lower case; equal to the plain text and as cheap.

    Raises ValueError with a sentence for people.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """Validate `text`; raises ValueError."""
        if not _FORM.fullmatch(text):
            raise ValueError(
                f"{quoted(text)} is not a digest: write sha256: and 64, or sha512: and 128, "
                "lower-case hexadecimal digits"
            )
        return super().__new__(cls, text)

    @property
    def algorithm(self) -> str:
        """The name of the hash, as `hashlib` knows it: "sha256" or "sha512"."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hexadecimal digits."""
        return self.partition(":")[2]

    @property
    def raw(self) -> bytes:
        """The 32 or 64 bytes of the digest, which take a fifth of the text's memory."""
        return bytes.fromhex(self.hex)

    @property
    def short(self) -> str:
        """The algorithm and the first digits, for people: "sha256:0123456789ab"."""
        return f"{self.algorithm}:{self.hex[:_SHORT_HEX]}"

    def new_hash(self) -> _Hash:
        """Return a new `hashlib` object of this digest's algorithm."""
        return hashlib.new(self.algorithm)


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    """Return the digest of `data`; `algorithm` is "sha256" or "sha512". Raises ValueError for others."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
