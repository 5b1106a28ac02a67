"""Which certificate authorities libcurl trusts: the wheel of pycurl brings no list that fits every system."""

from __future__ import annotations

import functools
import os
from pathlib import Path

__all__ = ["system_bundle", "system_directory"]

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs
)
_DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/tls/certs")


@functools.lru_cache(maxsize=1)
def system_bundle() -> str | None:
    """The system's file of trusted authorities: $SSL_CERT_FILE, $CURL_CA_BUNDLE, or where distributions keep it."""
    for name in (os.environ.get("SSL_CERT_FILE"), os.environ.get("CURL_CA_BUNDLE"), *_BUNDLES):
        if name and Path(name).is_file():
            return name
    return None


@functools.lru_cache(maxsize=1)
def system_directory() -> str | None:
    """The system's hashed directory of trusted authorities, which OpenSSL reads as needed: $SSL_CERT_DIR or the
    usual.
    """
    for name in (os.environ.get("SSL_CERT_DIR"), *_DIRECTORIES):
        if name and Path(name).is_dir():
            return name
    return None
