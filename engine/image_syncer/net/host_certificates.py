"""Certificates of a registry in docker's folders: containers-certs.d(5), and dockerd's "Verify repository client with
certificates" (https://docs.docker.com/engine/security/certificates/).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.errors import ConfigurationError, Problem
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["HostCertificates", "certificate_folders", "find_host_certificates"]

_SYSTEM_FOLDERS = ("/etc/containers/certs.d", "/etc/docker/certs.d")


class HostCertificates(Value, frozen=True):
    """PEM files: authorities to trust beside the system's, and a client certificate with its key."""

    authorities: tuple[str, ...] = ()
    client_cert: str | None = None
    client_key: str | None = None


def certificate_folders(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The folders that are looked into, in their order."""
    home = environ.get("HOME")
    own = (f"{home}/.config/containers/certs.d",) if home else ()
    return (*own, *_SYSTEM_FOLDERS)


def find_host_certificates(registry: str, folders: Sequence[str]) -> HostCertificates:
    """What the first of `folders` that has one for `registry` ("quay.io", "registry.example:5000") holds.

    Of several client certificates the first by name counts. A folder that this user may not read is passed over.
    Raises ConfigurationError where a certificate has no key, or a key no certificate.
    """
    for folder in folders:
        directory = Path(folder) / registry
        try:
            names = sorted(path.name for path in directory.iterdir() if path.is_file())
        except OSError:  # there is none, or nobody lets us look
            continue
        authorities = tuple(str(directory / name) for name in names if name.endswith(".crt"))
        certs = [name.removesuffix(".cert") for name in names if name.endswith(".cert")]
        keys = [name.removesuffix(".key") for name in names if name.endswith(".key")]
        for there, other, missing in ((certs, keys, "key"), (keys, certs, "cert")):
            if alone := sorted(set(there) - set(other)):
                suffix = "cert" if missing == "key" else "key"
                what = f"there is no {alone[0]}.{missing} beside it"
                mend = "a client certificate is NAME.cert with NAME.key; an authority is NAME.crt"
                raise ConfigurationError([Problem(str(directory / f"{alone[0]}.{suffix}"), None, None, what, mend)])
        if certs:
            pair = [str(directory / f"{certs[0]}.{suffix}") for suffix in ("cert", "key")]
            return HostCertificates(authorities, *pair)
        return HostCertificates(authorities)
    return HostCertificates()
