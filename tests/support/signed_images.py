"""An image with everything that may belong to one, and what a stranger sees of it: by raw requests alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from image_syncer.embedded.content import build_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.embedded import ContentBuilder, MadeManifest
    from support.client import Client

SIGNATURE = "application/vnd.cncf.notary.signature"
SBOM = "application/spdx+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class SignedImage:
    """`root` is an index with an index, images and BuildKit's attestations in it. It has a signature with `subject` and
    one under cosign's tag; one of its children has an `sbom`, and that a signature of its own.
    """

    root: MadeManifest
    signature: MadeManifest
    sbom: MadeManifest
    sbom_signature: MadeManifest
    cosign: MadeManifest

    @property
    def child(self) -> MadeManifest:
        """The one with an SBOM: an image for one platform, in the index inside the index."""
        return self.root.children[0].children[0]

    @property
    def by_subject(self) -> dict[str, MadeManifest]:
        """What refers to what."""
        return {
            self.root.digest: self.signature,
            self.child.digest: self.sbom,
            self.sbom.digest: self.sbom_signature,
        }

    @property
    def cosign_tag(self) -> str:
        """The tag of cosign's signature."""
        return f"{self.root.digest.replace(':', '-')}.sig"

    @property
    def fallback_tags(self) -> dict[str, str]:
        """By subject, the tag of its list of referrers."""
        return {subject: subject.replace(":", "-") for subject in self.by_subject}


def signed_image(content: ContentBuilder) -> SignedImage:
    """One that nobody has made before."""
    inner = content.index(platforms=("linux/amd64", "linux/arm64"), attestations=True)
    root = content.index([inner, content.image(1, platform="linux/s390x")])
    sbom = content.artifact(SBOM, subject=inner.children[0])
    return SignedImage(
        root,
        content.artifact(SIGNATURE, subject=root),
        sbom,
        content.artifact(SIGNATURE, subject=sbom),
        content.image(1),
    )


def fallback_index(content: ContentBuilder, *referrers: MadeManifest) -> MadeManifest:
    """A list of referrers, as clients push it where the registry keeps none."""
    entries = [described(each) for each in referrers]
    value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    return build_manifest(value, children=referrers)


def described(manifest: MadeManifest) -> dict[str, Any]:
    """What a list of referrers says of a manifest (OCI distribution specification 1.1, "Listing Referrers")."""
    document = json.loads(manifest.raw)
    return {
        "mediaType": manifest.media_type,
        "digest": str(manifest.digest),
        "size": len(manifest.raw),
        "annotations": document["annotations"],
        "artifactType": document["artifactType"],
    }


def discover(client: Client, repository: str, subject: str) -> list[Mapping[str, Any]]:
    """The referrers of `subject` as `oras discover` finds them: by the API, and where that answers 404, by the tag."""
    answer = client.get(f"/v2/{repository}/referrers/{subject}", accept=INDEX)
    if answer.status == 404:
        answer = client.get(f"/v2/{repository}/manifests/{subject.replace(':', '-')}", accept=INDEX)
        if answer.status == 404:
            return []
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == INDEX
    found: list[Mapping[str, Any]] = answer.json()["manifests"]
    return found
