"""Content digests: what names a blob or a manifest by its bytes.

OCI image specification 1.1, "Descriptors", section "Digests": only the registered algorithms are understood.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, final

from image_syncer.oci.quotation import quoted

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["EMPTY_DIGEST", "Digest", "digest_of"]

_FORM = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_SHORT_HEX = 12


@final
class Digest(str):
    """A validated `algorithm:hex` text, sha256 or sha512, lower case; equal to the plain text and as cheap.

    Raises ValueError with a sentence for people.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """The digest that `text` is; raises ValueError."""
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
        """The digest's own bytes, 32 or 64 of them: a fifth of what the text takes in memory."""
        return bytes.fromhex(self.hex)

    @property
    def short(self) -> str:
        """The algorithm and the first digits, for people: "sha256:0123456789ab"."""
        return f"{self.algorithm}:{self.hex[:_SHORT_HEX]}"

    def new_hash(self) -> _Hash:
        """A fresh `hashlib` object of this digest's algorithm."""
        return hashlib.new(self.algorithm)


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of `data`. `algorithm` is "sha256" or "sha512"; any other raises ValueError."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")


EMPTY_DIGEST = digest_of(b"")
"""The digest of no bytes at all."""
