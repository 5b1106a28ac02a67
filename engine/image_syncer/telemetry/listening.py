"""Where something of ours listens for requests."""

from __future__ import annotations

from image_syncer.values import Value

__all__ = ["LOOPBACK_NAMES", "Listen", "parse_listen"]

_MOST_PORT = 65535
_LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = (_LOOPBACK, "::1", "localhost")


class Listen(Value, frozen=True):
    """Where requests are taken; port 0: any that is free."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.host in LOOPBACK_NAMES

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str) -> Listen:
    """From "127.0.0.1:8080", "[::1]:8080", or a port alone, which is on loopback. Raises ValueError with a sentence."""
    host, colon, port = text.strip().rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    host = (host[1:-1] if in_brackets else host) if colon else _LOOPBACK
    # An IPv6 address has brackets, or nobody knows where its port begins; and what has a slash is a URL.
    is_host = bool(host) and (":" not in host or in_brackets) and not set(host) & set("/[]@ ")
    if not is_host or not port.isascii() or not port.isdigit() or int(port) > _MOST_PORT:
        raise ValueError(
            f"{text!r} is no address to listen at: write such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:8080"
        )
    return Listen(host, int(port))
