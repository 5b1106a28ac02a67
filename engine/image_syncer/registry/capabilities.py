"""Capabilities: what registries support, as far as it is known, so that nothing is tried twice in vain.

What the profile of a registry says is known from the start. The rest is learnt by trying: a worker tells the
coordinator, which tells all other workers and keeps it in the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.registry.profiles import Mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.registry.endpoint import Endpoint
    from image_syncer.registry.profiles import Profile

__all__ = [
    "HEADS_MANIFESTS",
    "KEEPS_PARTIAL",
    "MOUNTS",
    "MOUNTS_FROM_ITSELF",
    "TAKES_PIECES",
    "RegistryCapabilities",
]

KEEPS_PARTIAL = "keeps partial uploads"
"""Whether what came before a cut survives it, and the session tells how much that is."""
TAKES_PIECES = "takes uploads in pieces"
MOUNTS = "mounts blobs of other repositories"
MOUNTS_FROM_ITSELF = "mounts blobs of the same repository"
"""Whether such a mount says of a blob that it is there; where it does not, HEAD is asked."""
HEADS_MANIFESTS = "answers HEAD of a manifest"

MOUNTS_IN_VAIN = 3
"""One after the other, of blobs that are surely there: then no more are tried."""
MOST_BROUGHT = 4096
"""Blobs that were brought somewhere, and are remembered to judge mounts by."""


class RegistryCapabilities:
    """Facts by registry and name, such as ("registry.example", "keeps partial uploads"): False.

    `remembered` are those of an earlier run. `on_learnt(registry, fact, value)` is called for each that is new or has
    changed, but not for those that `told` brings.
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
        """Another worker has found it out, or an earlier run."""
        self._facts[registry, fact] = value

    def known(self, endpoint: Endpoint, fact: str) -> bool | None:
        """What is known, by its profile or by what it did; None: nothing yet."""
        by_profile = _by_profile(endpoint.profile, fact)
        return self._facts.get((endpoint.registry, fact)) if by_profile is None else by_profile

    def note(self, registry: str, fact: str, value: bool) -> bool:
        """Take note of a fact; whether it was news."""
        if self._facts.get((registry, fact)) is value:
            return False
        self._facts[registry, fact] = value
        self._on_learnt(registry, fact, value)
        return True

    def learn(self, endpoint: Endpoint, fact: str, value: bool) -> None:
        """It was seen just now: note it, unless the profile says it."""
        if _by_profile(endpoint.profile, fact) is None:
            self.note(endpoint.registry, fact, value)

    def all(self) -> list[tuple[str, str, bool]]:
        """Every fact that was learnt, as (registry, fact, value)."""
        return [(registry, fact, value) for (registry, fact), value in self._facts.items()]

    def mounts_at(self, endpoint: Endpoint | None) -> Mounts:
        """Between which repositories of a registry blobs are mounted; anywhere, where nothing is known of it."""
        if endpoint is None:
            return Mounts.ANYWHERE
        return Mounts.NOWHERE if self.known(endpoint, MOUNTS) is False else endpoint.profile.mounts

    def refused_whole(self, endpoint: Endpoint, size: int) -> None:
        """A request with `size` bytes of a blob was too large (413)."""
        self._too_large[endpoint.registry] = min(size, self._too_large.get(endpoint.registry, size))

    def takes_whole(self, endpoint: Endpoint, size: int) -> bool:
        """Whether no request of that size, or a smaller one, was too large."""
        return size < self._too_large.get(endpoint.registry, size + 1)

    def brought(self, endpoint: Endpoint, name: str, digest: str) -> None:
        """The repository `name` has got the blob just now."""
        self._brought[endpoint.registry, name, digest] = None
        if len(self._brought) > MOST_BROUGHT:
            del self._brought[next(iter(self._brought))]

    def mount_tried(self, endpoint: Endpoint, name: str, digest: str, *, went: bool) -> None:
        """A blob was to be mounted from the repository `name`. That it was in vain says something of the registry only
        where we have brought it there ourselves: in a repository of an earlier run it may have been deleted since.
        """
        registry = endpoint.registry
        if went:
            self._in_vain[registry] = 0
            self.learn(endpoint, MOUNTS, value=True)
        elif (registry, name, digest) in self._brought:
            self._in_vain[registry] = self._in_vain.get(registry, 0) + 1
            if self._in_vain[registry] >= MOUNTS_IN_VAIN and self.known(endpoint, MOUNTS) is None:
                self.learn(endpoint, MOUNTS, value=False)


def _by_profile(profile: Profile, fact: str) -> bool | None:
    """What the profile of a registry says of a fact; None: it has to be found out."""
    if fact == MOUNTS:
        return False if profile.mounts is Mounts.NOWHERE else None
    known: dict[str, bool | None] = {
        KEEPS_PARTIAL: profile.keeps_partial,
        TAKES_PIECES: profile.takes_pieces,
        MOUNTS_FROM_ITSELF: profile.mounts_from_itself,
        HEADS_MANIFESTS: profile.heads_manifests,
    }
    return known[fact]
