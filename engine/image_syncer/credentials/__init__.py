"""Credentials: user names and passwords from the auth file, docker's and podman's files with their helpers, and clouds.

Blocking: files are read and helper processes run in the calling thread.
"""

from __future__ import annotations

from image_syncer.credentials.found import NEVER, CredentialError, Described, Found, Source
from image_syncer.credentials.source import CredentialSource

__all__ = [
    "NEVER",
    "CredentialError",
    "CredentialSource",
    "Described",
    "Found",
    "Source",
]
