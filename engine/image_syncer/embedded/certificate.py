"""A certificate to be thrown away, for a registry of our own on loopback, made by the `openssl` command."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_certificate"]

_DAYS = 2
_PATIENCE_S = 30
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_certificate(folder: Path, address: str = "127.0.0.1") -> tuple[str, str] | None:
    """Write a certificate for an IP `address`, signed by itself, and its key (mode 600) into `folder`, and give both
    paths. None where this machine has no `openssl` command of version 1.1.1 or later. Raises OSError where they cannot
    be written.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        return None
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    key.touch(mode=0o600)
    words = (openssl, "req", "-x509", *_KEY, "-days", str(_DAYS), "-subj", "/CN=image-syncer bench")
    files = ("-addext", f"subjectAltName=IP:{address}", "-keyout", str(key), "-out", str(certificate))
    done = subprocess.run(
        (*words, *files), stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False
    )
    return (str(certificate), str(key)) if done.returncode == 0 else None
