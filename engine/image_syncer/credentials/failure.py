"""The failure of whoever should have known a password."""

from __future__ import annotations

from image_syncer.errors import SyncError

__all__ = ["CredentialError"]


class CredentialError(SyncError):
    """Docker's configuration names a credential for this registry, and it cannot be had: a helper is missing, failed
    or did not answer, or an entry cannot be decoded. Never holds what the helper or the entry said.
    """

    kind = "credential"
