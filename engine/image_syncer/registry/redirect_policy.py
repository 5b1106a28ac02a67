"""What the user allows a registry's redirects and upload addresses beyond what is always allowed."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["STRICT", "RedirectPolicy"]


class RedirectPolicy(NamedTuple):
    """`local`: to loopback, link-local and metadata addresses, where the registry itself is not. `plain`: of blobs from
    HTTPS to plain HTTP; the address with its signature and the bytes of the blob can be read on the way then, and not
    changed, since they have a digest.
    """

    local: bool = False
    plain: bool = False


STRICT = RedirectPolicy()
"""What holds where the user says nothing."""
