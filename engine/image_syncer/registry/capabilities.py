"""Capabilities: what registries support, from their profiles and earlier requests, so that nothing fails twice.

A worker tells the coordinator what it learns; the coordinator tells the other workers and notes it in the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.registry.profiles.profile import Mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.registry.endpoint import Endpoint


KEEPS_PARTIAL = "keeps partial uploads"
"""Whether the bytes before a cut are kept, and the session says how many they are."""
TAKES_PIECES = "takes uploads in pieces"
MOUNTS = "mounts blobs of other repositories"
MOUNTS_FROM_ITSELF = "mounts blobs of the same repository"
"""Whether such a mount shows that the blob exists; otherwise a HEAD is sent."""
HEADS_MANIFESTS = "answers HEAD of a manifest"
_OF_PROFILE = {
    KEEPS_PARTIAL: "keeps_partial",
    TAKES_PIECES: "takes_pieces",
    MOUNTS: "mounts_any",
    MOUNTS_FROM_ITSELF: "mounts_from_itself",
    HEADS_MANIFESTS: "heads_manifests",
}
"""The attributes of a profile; None where a fact has to be found out."""

MOUNTS_IN_VAIN = 3
"""Failed mounts in succession, of blobs that surely exist, after which no more are tried."""
MOST_BROUGHT = 4096
"""Blobs that were copied and are kept to judge mounts by."""


class RegistryCapabilities:
    """Facts by registry and name, such as ("registry.example", "keeps partial uploads"): False.

    `remembered` are those of an earlier run. `on_learnt(registry, fact, value)` is called for each that is new or has
    changed, but not for those of `told`.
    """

    def __init__(
        self,
        remembered: Mapping[tuple[str, str], bool] | None = None,
        on_learnt: Callable[[str, str, bool], None] = lambda _registry, _fact, _value: None,
    ) -> None:
        self._facts = dict(remembered or {})
        self._on_learnt = on_learnt
        self._in_vain: dict[str, int] = {}
        self._too_large: dict[str, int] = {}
        self._brought: dict[tuple[str, str, str], None] = {}

    def told(self, registry: str, fact: str, value: bool) -> None:
        """Note a fact of another worker or an earlier run."""
        self._facts[registry, fact] = value

    def known(self, endpoint: Endpoint, fact: str) -> bool | None:
        """Return the value of a fact, by the profile or by experience; None where it is unknown."""
        by_profile: bool | None = getattr(endpoint.profile, _OF_PROFILE[fact])
        return self._facts.get((endpoint.registry, fact)) if by_profile is None else by_profile

    def note(self, registry: str, fact: str, value: bool) -> bool:
        """Note a fact; return whether it is new."""
        if self._facts.get((registry, fact)) is value:
            return False
        self._facts[registry, fact] = value
        self._on_learnt(registry, fact, value)
        return True

    def learn(self, endpoint: Endpoint, fact: str, value: bool) -> None:
        """Note a fact from an answer, unless the profile has it."""
        if getattr(endpoint.profile, _OF_PROFILE[fact]) is None:
            self.note(endpoint.registry, fact, value)

    def all(self) -> list[tuple[str, str, bool]]:
        """Return every noted fact as (registry, fact, value)."""
        return [(registry, fact, value) for (registry, fact), value in self._facts.items()]

    def mounts_at(self, endpoint: Endpoint | None) -> Mounts:
        """Return between which repositories of a registry blobs can be mounted; anywhere for an unknown registry."""
        if endpoint is None:
            return Mounts.ANYWHERE
        return Mounts.NOWHERE if self.known(endpoint, MOUNTS) is False else endpoint.profile.mounts

    def refused_whole(self, endpoint: Endpoint, size: int) -> None:
        """Note that a request with `size` bytes of a blob was too large (413)."""
        self._too_large[endpoint.registry] = min(size, self._too_large.get(endpoint.registry, size))

    def takes_whole(self, endpoint: Endpoint, size: int) -> bool:
        """Return whether no request of this size or a smaller one was too large."""
        return size < self._too_large.get(endpoint.registry, size + 1)

    def brought(self, endpoint: Endpoint, name: str, digest: str) -> None:
        """Note that the repository `name` has just received the blob."""
        self._brought[endpoint.registry, name, digest] = None
        if len(self._brought) > MOST_BROUGHT:
            del self._brought[next(iter(self._brought))]

    def mount_tried(self, endpoint: Endpoint, name: str, digest: str, *, went: bool) -> None:
        """Note the result of a mount from the repository `name`.

        A failure counts only where this run has copied the blob there: an older one may have been deleted since.
        """
        registry = endpoint.registry
        if went:
            self._in_vain[registry] = 0
            self.learn(endpoint, MOUNTS, value=True)
        elif (registry, name, digest) in self._brought:
            self._in_vain[registry] = self._in_vain.get(registry, 0) + 1
            if self._in_vain[registry] >= MOUNTS_IN_VAIN and self.known(endpoint, MOUNTS) is None:
                self.learn(endpoint, MOUNTS, value=False)
