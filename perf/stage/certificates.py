"""A private authority and a certificate of it for the servers of the stage, made by the `openssl` command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perf.stage.far_end import FAR_ADDRESSES
from perf.stage.processes import StageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Certificates", "make_certificates"]

DAYS = "30"
_CONFIGURATION = f"""
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost,IP:127.0.0.1,{",".join(f"IP:{address}" for address in FAR_ADDRESSES)}
"""


@dataclass(frozen=True)
class Certificates:
    """PEM files: what a client trusts; what a server shows, and holds."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path) -> Certificates:
    """Make them in `folder`. Raises StageError with what openssl said where that fails."""
    made = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    configuration, authority_key, wish = folder / "openssl.cnf", folder / "ca.key", folder / "server.csr"
    configuration.write_text(_CONFIGURATION)
    new = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-config", str(configuration)]
    _run(
        [*new, "-x509", "-extensions", "authority", "-days", DAYS, "-subj", "/CN=perf authority"],
        ["-keyout", str(authority_key), "-out", str(made.authority)],
    )
    _run([*new, "-subj", "/CN=perf server"], ["-keyout", str(made.key), "-out", str(wish)])
    _run(
        ["openssl", "x509", "-req", "-days", DAYS, "-in", str(wish), "-set_serial", "1"],
        ["-CA", str(made.authority), "-CAkey", str(authority_key), "-out", str(made.certificate)],
        ["-extfile", str(configuration), "-extensions", "server"],
    )
    return made


def _run(*parts: list[str]) -> None:
    command = [word for part in parts for word in part]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"{' '.join(command[:2])} failed: {done.stderr.strip()}")
