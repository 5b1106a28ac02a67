"""A private certificate authority, and a certificate of it for a server on loopback, made by the `openssl` command."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.programs import find_program, run_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_DAYS = 30
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificates:
    """PEM files: `authority` is what a client trusts, `certificate` and `key` what a server shows and holds."""

    authority: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """For a server that shows the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts the authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


def make_certificates(
    directory: Path, names: Sequence[str] = ("DNS:localhost", "IP:127.0.0.1", "IP:::1"), *, days: int = _DAYS
) -> Certificates:
    """Makes an authority and a certificate for `names` ("DNS:…" or "IP:…") in `directory`, good for so many days; less
    than none: it has expired.
    """
    openssl = find_program("openssl")
    directory.mkdir(parents=True, exist_ok=True)
    authority, authority_key = directory / "ca.crt", directory / "ca.key"
    request, extensions = directory / "server.csr", directory / "server.ext"
    made = Certificates(authority, directory / "server.crt", directory / "server.key")
    new = (openssl, "req", *_NEW_KEY, "-config", str(_write_config(directory)))
    signer = ("-CA", str(authority), "-CAkey", str(authority_key), "-set_serial", "1")
    ours = ("-x509", "-extensions", "authority", "-days", str(_DAYS), "-subj", "/CN=made-up authority")
    run_program([*new, *ours, "-keyout", str(authority_key), "-out", str(authority)])
    run_program([*new, "-subj", "/CN=made-up server", "-keyout", str(made.key), "-out", str(request)])
    extensions.write_text(f"basicConstraints=CA:FALSE\nsubjectAltName={','.join(names)}\n")
    signed = ("x509", "-req", "-days", str(days), "-in", str(request), "-extfile", str(extensions))
    run_program([openssl, *signed, *signer, "-out", str(made.certificate)])
    return made


def make_client_certificate(made: Certificates, password: str | None = None) -> tuple[Path, Path]:
    """A certificate of the same authority for a client, and its key, encrypted where there is a `password`."""
    openssl, directory = find_program("openssl"), made.authority.parent
    stem = "client" if password is None else "sealed"
    request, certificate, key = (directory / f"{stem}.{suffix}" for suffix in ("csr", "cert", "key"))
    new = (openssl, "req", *_NEW_KEY, "-config", str(_write_config(directory)), "-subj", "/CN=made-up client")
    run_program([*new, "-keyout", str(key), "-out", str(request)])
    signer = ("-CA", str(made.authority), "-CAkey", str(directory / "ca.key"), "-set_serial", "2")
    run_program([openssl, "x509", "-req", "-days", str(_DAYS), "-in", str(request), *signer, "-out", str(certificate)])
    if password is not None:
        plain = key.rename(key.with_suffix(".plain"))
        seal = (openssl, "pkcs8", "-topk8", "-in", str(plain), "-passout", f"pass:{password}")
        run_program([*seal, "-out", str(key)])
    return certificate, key


def _write_config(directory: Path) -> Path:
    path = directory / "openssl.cnf"  # our own, because the system's differs from one to the next
    path.write_text(
        "[req]\ndistinguished_name=subject\n[subject]\n"
        "[authority]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier=hash\n"
    )
    return path
