"""A double, plain registries beside it, and what is copied between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from image_syncer.embedded import DOUBLES
from image_syncer.oci import MANIFEST_MEDIA_TYPES, digest_of
from image_syncer.registry import PROFILES, Credential
from support.client import Client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config import Rule
    from image_syncer.embedded import Behaviour, EmbeddedRegistry, MadeManifest
    from support.sync_runs import SyncLab

LARGE = 6 * 2**20  # more than a piece of any kind of registry but Azure's
OWN_APP, OWN_WEB, OTHER_APP = "team/group/app", "team/group/web", "other/group/app"
TAG = "v1"


@dataclass(frozen=True)
class Stage:
    """`double` is one of kind `kind`, as the engine knows it by the profile `profile`."""

    lab: SyncLab
    kind: str
    double: EmbeddedRegistry

    def quirks(self) -> set[str]:
        """The quirks that requests met so far."""
        return set(self.double.counters.quirks)

    def images(self) -> dict[str, MadeManifest]:
        """An index and two images, all with the same large layer: one repository beside, and one of another owner."""
        shared = self.lab.content.layer(LARGE)
        return {
            OWN_APP: self.lab.content.index(shared_layers=[shared]),
            OWN_WEB: self.lab.content.image([shared, self.lab.content.layer()]),
            OTHER_APP: self.lab.content.image([shared, self.lab.content.empty_layer()]),
        }

    def found(self, *names: str) -> None:
        """Make what has to be there at the double before a push: repositories, projects, namespaces."""
        for name in names:
            self.double.storage.create_repository(name)

    def rules_to(self, target: EmbeddedRegistry, origin: EmbeddedRegistry, *names: str) -> list[Rule]:
        """The same name and tag at both ends."""
        return [self.lab.rule(name, (TAG,), origin=origin, to=[(target, name)]) for name in names]


def set_stage(lab: SyncLab, kind: str, profile: str | None, **changes: object) -> Stage:
    """A double of `kind` whose behaviour has `changes`, in the configuration under the profile of that name (None: it
    has to be recognised).
    """
    behaviour: Behaviour = replace(DOUBLES[kind].behaviour, **changes)
    double = lab.add_registry(behaviour)
    known = DOUBLES[kind].credential
    credential = None if known is None else Credential(*known)
    lab.enter(double, credential, profile=None if profile is None else PROFILES[profile])
    return Stage(lab, kind, double)


def assert_served(registry: EmbeddedRegistry, images: Mapping[str, MadeManifest], kind: str | None = None) -> None:
    """By raw reads: each tag, every manifest under it and every blob are there, byte for byte.

    The double is read with its password taken off: what it asks of clients is not what is looked at here.
    """
    if kind is not None:
        registry.behaviour = replace(
            registry.behaviour, users={}, anonymous=(), bearer=None, rate_limits=(), pull_limit=None
        )
    with Client(registry.url, follow=True) as client:
        accept = ", ".join(MANIFEST_MEDIA_TYPES)
        for name, image in images.items():
            assert client.get(f"/v2/{name}/manifests/{TAG}", Accept=accept).body == image.raw
            for item in image.manifests():
                answer = client.get(f"/v2/{name}/manifests/{item.digest}", Accept=accept)
                assert (answer.body, answer.headers["content-type"]) == (item.raw, item.media_type)
            for blob in image.all_blobs():
                body = client.get(f"/v2/{name}/blobs/{blob.digest}").body
                assert len(body) == blob.size
                assert digest_of(body) == blob.digest
