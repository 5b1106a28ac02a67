"""Found credentials: what a source of credentials is, and what it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from image_syncer.errors import SyncError
from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.config import RegistryBook
    from image_syncer.oci import Repository
    from image_syncer.registry import Credential


NEVER = float("-inf")
"""Before every time: any remembered answer counts."""


class CredentialError(SyncError):
    """Docker's configuration or a cloud should have a credential for this registry, and gives none: a helper is
    missing, failed or did not answer, or an entry cannot be decoded. Never holds what the helper or the entry said.
    """

    kind = "credential"


class Found(Value, frozen=True):
    """A credential, None for anonymous access, and its source, for messages.

    Times are seconds of `time.monotonic()`: `learnt_at_s` when the source was asked, `good_until_s` when it should be
    asked again (None: not before a registry refuses the credential).
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
    """A source that may know a credential. Several threads may ask it at once, and it may block."""

    def find(self, repository: Repository, book: RegistryBook, *, after: float) -> Found | None:
        """Return the credential for a repository; None: ask the next source. `book` has the settings of the registry.

        Answers learnt at `after` (`time.monotonic()`) or before were refused, or may have expired, and do not count.
        Raises ConfigurationError or CredentialError where there should be a credential, and none can be had.
        """

    def describe(self, repository: Repository, book: RegistryBook) -> Described | None:
        """Return where `find` would look, as far as that is known without a process and without a network."""

    def close(self) -> None:
        """End all questions: callers that still wait get an error at once."""
