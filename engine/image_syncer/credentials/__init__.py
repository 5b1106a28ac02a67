"""Where a user name and password come from: the auth file, the files of docker and podman with their helpers, clouds,
or nowhere.

Blocking: files are read and helper processes run where they are asked.
"""

from __future__ import annotations

from image_syncer.credentials.failure import CredentialError
from image_syncer.credentials.found import NEVER, Described, Found, Source
from image_syncer.credentials.source import CredentialSource

__all__ = [
    "NEVER",
    "CredentialError",
    "CredentialSource",
    "Described",
    "Found",
    "Source",
]
