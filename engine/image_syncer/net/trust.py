"""Which certificate authorities libcurl trusts: the wheel of pycurl brings no list that fits every system.

$SSL_CERT_FILE and $SSL_CERT_DIR mean what they mean to OpenSSL and to Go. What a registry's own authority is added to
is the system's list: its hashed directory where there is one, since OpenSSL then reads the one certificate that it
needs, and else the whole bundle.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BUNDLES", "DIRECTORIES", "Trust", "find_trust", "read_authorities", "system_trust"]

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # where the one before it leads to
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, BSDs
)
"""Where distributions keep the trusted authorities in one file."""
DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/ca-trust/extracted/pem/directory-hash", "/etc/pki/tls/certs")
"""Where they keep them one by one."""

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""How OpenSSL names certificates in a directory: openssl-rehash(1)."""


class Trust(Value, frozen=True):
    """The system's authorities: a PEM file, a hashed directory (or several, with ":" between), either or none.

    `same`: the distribution keeps them in both ways, so that one of them will do.
    """

    bundle: str | None
    directory: str | None
    same: bool = False


@functools.lru_cache(maxsize=1)
def system_trust() -> Trust:
    """What this process's environment and system say."""
    return find_trust(os.environ)


def find_trust(
    environ: Mapping[str, str], bundles: Sequence[str] = BUNDLES, directories: Sequence[str] = DIRECTORIES
) -> Trust:
    """$SSL_CERT_FILE, $CURL_CA_BUNDLE, or the first of `bundles`; $SSL_CERT_DIR, or the first hashed one of
    `directories`. What is not there is passed over.
    """
    named = (environ.get("SSL_CERT_FILE"), environ.get("CURL_CA_BUNDLE"))
    bundle = next((name for name in (*named, *bundles) if name and Path(name).is_file()), None)
    own = [name for name in environ.get("SSL_CERT_DIR", "").split(":") if name and Path(name).is_dir()]
    hashed = next(filter(_is_hashed, directories), None)
    distributions = bundle in bundles
    if own and own != [hashed]:
        return Trust(bundle, ":".join(own))
    if distributions or own or bundle is None:
        return Trust(bundle, hashed, same=distributions and hashed is not None)
    return Trust(bundle, None)  # the user's list, and no other beside it


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


@functools.lru_cache(maxsize=64)
def read_authorities(paths: tuple[str, ...]) -> bytes:
    """The content of PEM files, one after the other, for CURLOPT_CAINFO_BLOB. Raises OSError."""
    return b"\n".join(Path(path).read_bytes() for path in paths)
