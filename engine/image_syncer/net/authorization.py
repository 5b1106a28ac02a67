"""How a registry client asks for credentials: `Authorizer`, and what implements it.

The coordinator stands behind it with `TokenBroker`, a worker with messages to the coordinator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image_syncer.credentials import Found
    from image_syncer.oci import Repository
    from image_syncer.registry import Credential, Endpoint, Scope

__all__ = ["Authorization", "Authorizer", "Credentials", "OneCredential"]


class Authorization(Value, frozen=True):
    """A value for the Authorization header (None: nothing is owed), usable for `usable_s` seconds from now."""

    value: str | None
    usable_s: float

    __repr__ = repr_without("value")


class Authorizer(Protocol):
    """Gives each request what it needs to be let in."""

    def known(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization | None:
        """What `authorize` would say, where nothing has to be waited for or asked (None: it has to be called).

        Nearly every request is answered here, without a coroutine of its own. `usable_s` counts from when this was
        first given.
        """

    async def authorize(
        self, endpoint: Endpoint, repository: Repository | None, scopes: tuple[Scope, ...]
    ) -> Authorization:
        """What to send; may wait for another request's answer. Raises AuthenticationError and other `SyncError`s."""

    async def renew(
        self,
        endpoint: Endpoint,
        repository: Repository | None,
        scopes: tuple[Scope, ...],
        rejected: str | None,
        challenges: Sequence[str],
    ) -> Authorization:
        """What to send after a 401 with these `WWW-Authenticate` fields; raises AuthenticationError where there is
        nothing better.
        """

    def answered(self, endpoint: Endpoint) -> None:
        """The registry let a request in, or failed it for another reason than who we are."""

    def abandoned(self, endpoint: Endpoint) -> None:
        """A request got no answer at all, or none to what its 401 made us ask."""


class Credentials(Protocol):
    """Knows user names and passwords by repository."""

    async def find(self, repository: Repository | None) -> Found:
        """The credential of a repository, if there is one, and where it comes from; nobody's where what is asked is of
        no repository. Raises `SyncError`.
        """

    async def replace(self, repository: Repository, refused: Credential) -> bool:
        """Whether `find` now has another credential than the one that was `refused`; its source may be asked for it."""


class OneCredential:
    """`Credentials` that are one for everything, and no other."""

    def __init__(self, found: Found) -> None:
        self._found = found

    async def find(self, _repository: Repository | None) -> Found:
        """See `Credentials`."""
        return self._found

    async def replace(self, _repository: Repository, _refused: Credential) -> bool:
        """See `Credentials`."""
        return False
