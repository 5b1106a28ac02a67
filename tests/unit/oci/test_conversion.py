"""Manifests of Docker's schema 2 as ones of OCI, and the other way round."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from image_syncer.oci import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
    Manifest,
    ManifestFormat,
    NotConvertible,
    convert,
    digest_of,
    parse_manifest,
)
from image_syncer.oci.descriptor import DOCKER_SCHEMA1, OCI_ARTIFACT_MANIFEST

KEEP, OCI, DOCKER = ManifestFormat.KEEP, ManifestFormat.OCI, ManifestFormat.DOCKER
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
PLATFORM = {"architecture": "amd64", "os": "linux"}


def described(media_type: str, content: bytes = b"x", **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "size": len(content), "digest": str(digest_of(content)), **more}


def parsed(document: dict[str, Any], header: str | None = None, **how: Any) -> Manifest:
    return parse_manifest(json.dumps(document, separators=(",", ":")).encode(), header, **how)


def image(form: ManifestFormat, *layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    docker = form is DOCKER
    return {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": described(DOCKER_CONFIG if docker else OCI_CONFIG, b"{}"),
        "layers": list(layers) or [described(DOCKER_LAYER if docker else OCI_LAYER_GZIP)],
        **more,
    }


def index_of(form: ManifestFormat, child: Manifest, *more: dict[str, Any], **entry: Any) -> Manifest:
    named = {"mediaType": child.media_type, "size": len(child.raw), "digest": str(child.digest), "platform": PLATFORM}
    return parsed(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST_LIST if form is DOCKER else OCI_INDEX,
            "manifests": [named | entry, *more],
        }
    )


LAYERS = [
    (DOCKER_LAYER, OCI_LAYER_GZIP),
    ("application/vnd.docker.image.rootfs.diff.tar", OCI_LAYER),
    (DOCKER_FOREIGN_LAYER, OCI_FOREIGN),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ),
]


@pytest.mark.parametrize(("docker", "oci"), LAYERS)
def test_the_media_types_change_and_nothing_else(docker: str, oci: str) -> None:
    ours = parsed(image(DOCKER, described(docker, b"layer", **{"x-other": [2**70]}), **{"x-vendor": {"kept": 1.5}}))
    theirs = parsed(image(OCI, described(oci, b"layer", **{"x-other": [2**70]}), **{"x-vendor": {"kept": 1.5}}))
    assert convert(ours, OCI) == theirs
    assert convert(theirs, DOCKER) == ours
    assert convert(ours, OCI).blobs != ours.blobs
    assert [blob.digest for blob in theirs.blobs] == [blob.digest for blob in ours.blobs]


@pytest.mark.parametrize("form", [KEEP, OCI, DOCKER])
def test_what_has_the_form_stays_the_same_object(form: ManifestFormat) -> None:
    manifest = parse_manifest(json.dumps(image(form), indent=7).encode(), None)
    assert convert(manifest, form) is manifest
    assert convert(manifest, KEEP) is manifest


def test_an_oci_manifest_need_not_say_what_it_is_and_a_docker_one_has_to() -> None:
    document = image(OCI)
    del document["mediaType"]
    manifest = parsed(document, OCI_MANIFEST)
    assert convert(manifest, OCI) is manifest
    assert list(json.loads(convert(manifest, DOCKER).raw)) == ["schemaVersion", "mediaType", "config", "layers"]
    assert convert(manifest, DOCKER) == parsed(image(DOCKER))


def test_docker_layers_in_an_oci_manifest_are_mended() -> None:
    mixed = parsed(image(OCI, described(DOCKER_LAYER), described(OCI_LAYER_ZSTD)))
    mended = parsed(image(OCI, described(OCI_LAYER_GZIP), described(OCI_LAYER_ZSTD)))
    assert convert(mixed, OCI) == mended
    zstd = parsed(image(DOCKER, described("application/vnd.docker.image.rootfs.diff.tar.zstd")))
    assert convert(zstd, OCI) == parsed(image(OCI, described(OCI_LAYER_ZSTD)))


def test_a_layer_of_no_one_s_type_stays_in_oci() -> None:
    artifact = parsed(image(OCI, described("text/spdx"), described("")))
    assert convert(artifact, OCI) is artifact


def test_the_algorithm_of_the_digest_stays() -> None:
    manifest = parsed(image(DOCKER), algorithm="sha512")
    assert convert(manifest, OCI).digest == digest_of(convert(manifest, OCI).raw, "sha512")


def test_an_index_names_what_its_children_became() -> None:
    child = parsed(image(DOCKER))
    new = convert(child, OCI)
    index = index_of(DOCKER, child)
    assert convert(index, OCI, {child.digest: new}) == index_of(OCI, new)
    assert convert(index_of(OCI, new), DOCKER, {new.digest: child}) == index


def test_an_index_in_the_right_form_over_others() -> None:
    child, other = parsed(image(DOCKER)), parsed(image(OCI))
    index = index_of(OCI, child)
    assert convert(index, OCI, {child.digest: other}) == index_of(OCI, other)
    same = index_of(OCI, other)
    assert convert(same, OCI, {other.digest: other}) is same


def test_embedded_children_and_those_that_are_about_them() -> None:
    child = parsed(image(DOCKER))
    new = convert(child, OCI)
    attestation = parsed(image(OCI, described("application/vnd.in-toto+json")))
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(child.digest)}
    beside = described(OCI_MANIFEST, attestation.raw, annotations=about)
    index = index_of(OCI, child, beside, data=base64.b64encode(child.raw).decode())
    made = convert(index, OCI, {child.digest: new, attestation.digest: attestation})
    assert made.children[0].data == new.raw
    assert made.children[1].annotations["vnd.docker.reference.digest"] == new.digest
    assert made.children[1].digest == attestation.digest


def test_empty_lists() -> None:
    assert convert(parsed({**image(DOCKER), "layers": None}), OCI) == parsed({**image(OCI), "layers": []})
    empty = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST_LIST, "manifests": None}
    assert convert(parsed(empty), OCI) == parsed({**empty, "mediaType": OCI_INDEX, "manifests": []})


NOTHING_FOR_IT: list[tuple[dict[str, Any], str]] = [
    (image(OCI, annotations={"a": "b"}), "it has annotations"),
    (image(OCI, subject=described(OCI_MANIFEST)), "it has subject"),
    (image(OCI, artifactType="text/spdx"), "it has artifactType"),
    (image(OCI, described(OCI_LAYER_ZSTD)), r"layers\[0\] is .*zstd"),
    (image(OCI, described("text/spdx")), r"layers\[0\] is “?.?text/spdx"),
    (image(OCI, described(OCI_CONFIG)), r"layers\[0\] is .*config"),
    (image(OCI, described("")), r"layers\[0\] is "),
    (image(OCI, described(OCI_LAYER_GZIP), described(OCI_LAYER_GZIP, annotations={"a": "b"})), r"layers\[1\] has anno"),
    (image(OCI, described(OCI_LAYER_GZIP, data="eA==")), r"layers\[0\] has data"),
    (image(OCI, described(OCI_LAYER_GZIP, urls=["https://example.com"])), r"layers\[0\] has URLs"),
    (image(OCI, config=described(OCI_EMPTY, b"{}")), "config is .*empty"),
    (image(OCI, config=described(OCI_LAYER_GZIP, b"{}")), "config is .*layer"),
    (image(OCI, config=described(OCI_CONFIG, b"{}", data="e30=")), "config has data"),
    ({"mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": "x", "blobs": []}, "it is an artifact"),
    ({"schemaVersion": 1, "name": "x", "fsLayers": []}, "schema 1"),
]


@pytest.mark.parametrize(("document", "said"), NOTHING_FOR_IT)
def test_what_docker_has_no_place_for_is_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(NotConvertible, match=said):
        convert(parsed(document), DOCKER)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"annotations": {"a": "b"}}, r"manifests\[0\] has annotations"),
        ({"artifactType": "x"}, r"manifests\[0\] has artifactType"),
        ({"platform": None}, r"manifests\[0\] has no platform"),
        ({"mediaType": OCI_INDEX}, r"manifests\[0\] is an index"),
    ],
)
def test_entries_that_docker_has_no_place_for(entry: dict[str, Any], said: str) -> None:
    child = parsed(image(OCI))
    with pytest.raises(NotConvertible, match=said):
        convert(index_of(OCI, child, **entry), DOCKER, {child.digest: convert(child, DOCKER)})


def test_what_is_empty_is_no_loss() -> None:
    manifest = parsed(image(OCI, described(OCI_LAYER_GZIP, annotations={}), annotations={}, artifactType=""))
    assert json.loads(convert(manifest, DOCKER).raw)["annotations"] == {}


def test_what_oci_has_no_type_for() -> None:
    plugin = image(DOCKER, config=described("application/vnd.docker.plugin.v1+json"))
    with pytest.raises(NotConvertible, match=r"config is .*plugin"):
        convert(parsed(plugin), OCI)
    with pytest.raises(NotConvertible, match="schema 1"):
        convert(parsed({"schemaVersion": 1, "fsLayers": []}, DOCKER_SCHEMA1), OCI)
    artifact = parsed({"mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": "x", "blobs": []})
    assert convert(artifact, OCI) is artifact


def test_what_would_be_no_manifest_is_refused() -> None:
    document = image(OCI)
    document["MediaType"] = document.pop("mediaType")  # which readers written in Go take for mediaType
    with pytest.raises(NotConvertible, match="twice"):
        convert(parsed(document, OCI_MANIFEST), DOCKER)
