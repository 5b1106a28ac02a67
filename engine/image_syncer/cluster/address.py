"""Where a Dask scheduler is, and with which certificates it is spoken to. Pure data."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from image_syncer.values import Value

__all__ = ["ClusterAddress", "is_private", "parse_cluster_address"]

_MEND = "write tls://HOST:PORT"


class ClusterAddress(Value, frozen=True):
    """A scheduler ("tls://scheduler.example:8786"). The files are PEM: the authority of the cluster's certificates, our
    certificate, and its key; None: as Dask's own configuration says (distributed.comm.tls).
    """

    address: str
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def files(self) -> dict[str, str]:
        """Those that are set, by the name that `distributed.Security` has for each."""
        given = {"tls_ca_file": self.ca_file, "tls_client_cert": self.cert_file, "tls_client_key": self.key_file}
        return {name: path for name, path in given.items() if path is not None}


def parse_cluster_address(text: str) -> str:
    """The address of a scheduler as the user wrote it. Raises ValueError with a sentence for people where it is none,
    or where tokens would travel in the clear.
    """
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("tls", "tcp") or not parts.hostname or port is None or parts.path.strip("/"):
        raise ValueError(f"{text} is no address of a Dask scheduler; {_MEND}")
    address = f"{parts.scheme}://{parts.netloc}"
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{parts.scheme}://{parts.hostname}:{port} has more than host and port; {_MEND}")
    if not is_private(address):
        raise ValueError(f"{address} is not encrypted, and tokens of registries would travel over it; {_MEND}")
    return address


def is_private(address: str) -> bool:
    """Whether nobody else reads what is said to this address of Dask: by TLS, or because it stays on this machine."""
    parts = urlsplit(address)
    if parts.scheme == "tls":
        return True
    host = parts.hostname or ""
    try:
        return parts.scheme == "tcp" and ip_address(host).is_loopback
    except ValueError:
        return parts.scheme == "tcp" and host == "localhost"
