"""What a source of credentials is, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config import RegistryBook
    from image_syncer.oci import Repository
    from image_syncer.registry import Credential

__all__ = ["NEVER", "Described", "Found", "Source"]

NEVER = float("-inf")
"""Before everything: whatever is remembered counts."""


class Found(Value, frozen=True):
    """A credential, None for anonymous access, and where it comes from, for messages.

    Times are seconds of `time.monotonic()`, which no clock that is set can change: `learnt_at_s` when the source was
    really asked, `good_until_s` from when on it should be asked again (None: not before somebody refuses what it said).
    """

    credential: Credential | None
    source: str
    learnt_at_s: float = NEVER
    good_until_s: float | None = None


class Described(Value, frozen=True):
    """Where a credential would be looked for first, and the file that says so, if one does."""

    source: str
    file: str | None = None


class Source(Protocol):
    """One kind of place that may know a credential. May be asked from several threads at once, and may block."""

    def find(self, repository: Repository, book: RegistryBook, *, after: float) -> Found | None:
        """What it knows for a repository; None: ask the next one. `book` has what is set for the registry.

        What it learnt at `after` or before (`time.monotonic()`) was refused, or may have ended, and is not told from
        memory. Raises ConfigurationError or CredentialError where there should be a credential, and it cannot be had.
        """

    def describe(self, repository: Repository, book: RegistryBook) -> Described | None:
        """Where `find` would have it from, as far as that is known without a process and without a network."""

    def close(self) -> None:
        """Nobody wants an answer any more: whoever still waits for one has an error at once."""
