"""What is named by sha512 all along: a blob, a manifest below an index, and what refers to that manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import parse_referrer_selection
from image_syncer.embedded import Behaviour, StoredManifest
from image_syncer.embedded.content import build_manifest
from image_syncer.oci import OCI_INDEX, OCI_MANIFEST, digest_of
from image_syncer.registry.referrers import fallback_tag
from support.client import Client
from support.signed_images import SIGNATURE, discover
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from image_syncer.embedded import EmbeddedRegistry, MadeManifest
    from image_syncer.oci import Digest
    from support.sync_runs import SyncLab


def image_by_sha512(lab: SyncLab) -> tuple[Digest, MadeManifest, MadeManifest]:
    """At the source: an index by sha256, whose image is named by sha512 and has such a layer; the name of that image,
    the image, and a signature of it.
    """
    image = lab.push(lab.content.image([lab.content.layer(algorithm="sha512"), lab.content.layer()]), tags=())
    name = digest_of(image.raw, "sha512")
    entry = {"mediaType": OCI_MANIFEST, "digest": name, "size": len(image.raw)}
    index = build_manifest({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    storage = lab.source.storage
    storage.put_manifest(REPOSITORY, StoredManifest(name, OCI_MANIFEST, len(image.raw)), image.raw)
    storage.put_manifest(REPOSITORY, StoredManifest(index.digest, OCI_INDEX, len(index.raw)), index.raw, TAG)
    made = lab.content.artifact(SIGNATURE)
    value = {**json.loads(made.raw), "subject": entry}
    signature = lab.push(build_manifest(value, made.blobs), tags=())
    return name, image, signature


def assert_there(registry: EmbeddedRegistry, name: Digest, image: MadeManifest, signature: MadeManifest) -> None:
    with Client(registry.url) as client:
        assert client.get(f"/v2/{REPOSITORY}/manifests/{name}").body == image.raw
        for blob in image.blobs:
            assert client.get(f"/v2/{REPOSITORY}/blobs/{blob.digest}").body == blob.read()
        assert {blob.digest.algorithm for blob in image.blobs} == {"sha256", "sha512"}
        answer = client.get(f"/v2/{REPOSITORY}/manifests/{fallback_tag(name)}", accept=OCI_INDEX)
        entries = answer.json()["manifests"] if answer.status == 200 else discover(client, REPOSITORY, name)
        assert [entry["digest"] for entry in entries] == [signature.digest]
        assert client.get(f"/v2/{REPOSITORY}/manifests/{signature.digest}").body == signature.raw


@pytest.mark.parametrize("listed", [True, False], ids=["API", "tags"])
def test_all_of_it_arrives_under_its_names(lab: SyncLab, *, listed: bool) -> None:
    made = image_by_sha512(lab)
    target = lab.add_registry(Behaviour(referrers=listed))
    rule = lab.rule(to=[(target, REPOSITORY)])
    settings = {"referrers": parse_referrer_selection("all"), "verify": True}
    assert lab.run(rule, **settings).outcomes == ["copied"] * 2
    assert_there(target, *made)
    assert (fallback_tag(made[0]) in target.storage.tags(REPOSITORY)) == (not listed)
    assert lab.run(rule, **settings).outcomes == ["unchanged"] * 2
    assert lab.verify(rule, deep=True).outcomes == ["equal"]
