"""Where a user name and password come from: the auth file, docker's `config.json` with its helpers, or nowhere.

Blocking: files are read and helper processes run where they are asked.
"""

from __future__ import annotations

from image_syncer.credentials.failure import CredentialError
from image_syncer.credentials.source import CredentialSource, Found, find_credential

__all__ = ["CredentialError", "CredentialSource", "Found", "find_credential"]
