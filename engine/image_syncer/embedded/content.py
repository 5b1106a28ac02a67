"""Made-up content: blobs, images and indexes of every shape, the same for the same seed on every machine.

Layers begin with the magic of gzip and are noise after it: nothing that copies a layer looks inside. Large
ones are made piece by piece, so that a layer of many gigabytes costs no memory.

Manifests of 2014, made up: Docker "Image Manifest Version 2, Schema 1", signed in form.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING

from image_syncer.embedded.made import MadeBlob, MadeManifest, build_manifest, dump_json
from image_syncer.oci import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_LAYER,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1_SIGNED,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ContentBuilder", "build_schema1"]


_INDENT = 3  # as docker printed it; the signature covers these bytes
_KEY = {"crv": "P-256", "kid": "MADE:UPXX", "kty": "EC", "x": "eA", "y": "eQ"}


def build_schema1(name: str, tag: str, layers: tuple[MadeBlob, ...]) -> MadeManifest:
    """A schema 1 manifest of `layers` (topmost first) with a signature of the right form that proves
    nothing.
    """
    value = {
        "schemaVersion": 1,
        "name": name,
        "tag": tag,
        "architecture": "amd64",
        "fsLayers": [{"blobSum": layer.digest} for layer in layers],
        "history": [{"v1Compatibility": json.dumps({"id": layer.digest.hex})} for layer in layers],
    }
    payload = json.dumps(value, indent=_INDENT).encode()
    tail = b"\n}"
    body = payload[: -len(tail)]
    protected = {"formatLength": len(body), "formatTail": _encode(tail), "time": "2014-10-20T00:00:00Z"}
    signature = {
        "header": {"jwk": _KEY, "alg": "ES256"},
        "signature": _encode(b"made up"),
        "protected": _encode(json.dumps(protected).encode()),
    }
    signatures = json.dumps([signature], indent=_INDENT).encode()
    raw = body + b',\n   "signatures": ' + signatures + tail
    return MadeManifest(raw, DOCKER_SCHEMA1_SIGNED, layers)


def _encode(data: bytes) -> str:
    """base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_CREATED = "2024-01-01T00:00:00Z"
_ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}
_IN_TOTO = "application/vnd.in-toto+json"


class ContentBuilder:
    """Makes content. Two builders with one `seed` that are asked for the same in the same order make the
    same bytes.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._made = 0

    # Blobs

    def layer(self, size_bytes: int = 4096, media_type: str = OCI_LAYER_GZIP, *, algorithm: str = "sha256") -> MadeBlob:
        """A layer like no other, named by its sha256 or sha512."""
        self._made += 1
        return MadeBlob(media_type, size_bytes, seed=_mix(self._seed, self._made), algorithm=algorithm)

    def empty_layer(self) -> MadeBlob:
        """A layer of zero bytes."""
        return MadeBlob(OCI_LAYER, 0, data=b"")

    def empty_config(self) -> MadeBlob:
        """The empty descriptor `{}` (OCI image specification 1.1, "Guidance for an Empty Descriptor")."""
        return MadeBlob(OCI_EMPTY, 2, data=b"{}")

    def json_blob(self, value: object, media_type: str) -> MadeBlob:
        """A blob that is the JSON text of `value`."""
        data = dump_json(value)
        return MadeBlob(media_type, len(data), data=data)

    def config(
        self,
        platform: str = "linux/amd64",
        layers: Sequence[MadeBlob] = (),
        *,
        docker: bool = False,
        created: str | None = _CREATED,
    ) -> MadeBlob:
        """The config of an image for `platform`, which was created at a time (RFC 3339), or does not say when."""
        self._made += 1
        value = {
            **_platform(platform),
            "created": created,
            "config": {"Env": [f"MADE={self._seed}.{self._made}"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
        return self.json_blob(value, DOCKER_CONFIG if docker else OCI_CONFIG)

    # Manifests

    def image(
        self,
        layers: Sequence[MadeBlob] | int = 2,
        *,
        platform: str = "linux/amd64",
        layer_bytes: int = 4096,
        docker: bool = False,
        annotations: Mapping[str, str] | None = None,
        subject: MadeManifest | None = None,
        indent: int | None = None,
        created: str | None = _CREATED,
    ) -> MadeManifest:
        """An image for one platform: `layers` are given, or that many are made. `indent` prints it prettily."""
        media_type = DOCKER_LAYER if docker else OCI_LAYER_GZIP
        if isinstance(layers, int):
            layers = [self.layer(layer_bytes, media_type) for _ in range(layers)]
        config = self.config(platform, layers, docker=docker, created=created)
        value = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor(mediaType=media_type if docker else None) for layer in layers],
            "subject": None if subject is None else subject.descriptor(platform=None),
            "annotations": dict(annotations) if annotations else None,
        }
        return build_manifest(value, (config, *layers), platform=_platform(platform), indent=indent)

    def foreign_image(self) -> MadeManifest:
        """A Docker image with a layer that lies elsewhere, and that no registry needs to have."""
        image = self.image(1, platform="windows/amd64", docker=True)
        foreign = self.layer(media_type=DOCKER_FOREIGN_LAYER)
        value = json.loads(image.raw)
        value["layers"].insert(0, foreign.descriptor(urls=["https://example.invalid/layer"]))
        return build_manifest(value, image.blobs, platform=image.platform)

    def artifact(
        self, artifact_type: str = "application/vnd.example.sbom", *, subject: MadeManifest | None = None
    ) -> MadeManifest:
        """An artifact with the empty config and one small blob, which may refer to `subject`."""
        config, payload = self.empty_config(), self.layer(512, "application/vnd.example.payload")
        value = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": config.descriptor(),
            "layers": [payload.descriptor()],
            "subject": None if subject is None else subject.descriptor(platform=None),
            "annotations": {"org.opencontainers.image.created": _CREATED},
        }
        return build_manifest(value, (config, payload))

    def attestation(self) -> MadeManifest:
        """What BuildKit keeps beside an image: a manifest for the platform unknown/unknown."""
        self._made += 1
        config = self.config("unknown/unknown")
        statement = self.json_blob({"predicate": f"{self._seed}.{self._made}"}, _IN_TOTO)
        value = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.descriptor(),
            "layers": [statement.descriptor(annotations={"in-toto.io/predicate-type": "https://example.invalid/p"})],
        }
        return build_manifest(value, (config, statement), platform=_platform("unknown/unknown"))

    def index(
        self,
        images: Sequence[MadeManifest] = (),
        *,
        platforms: Sequence[str] = ("linux/amd64", "linux/arm64", "linux/arm/v7"),
        shared_layers: Sequence[MadeBlob] = (),
        layer_bytes: int = 4096,
        attestations: bool = False,
        docker: bool = False,
        annotations: Mapping[str, str] | None = None,
        indent: int | None = None,
    ) -> MadeManifest:
        """An index of `images`, or of one image for each of `platforms` (with `shared_layers` in all of
        them).

        With `attestations` an entry follows for each image, as BuildKit writes it.
        """
        media_type = DOCKER_LAYER if docker else OCI_LAYER_GZIP
        children = list(images) or [
            self.image([*shared_layers, self.layer(layer_bytes, media_type)], platform=platform, docker=docker)
            for platform in platforms
        ]
        entries = [child.descriptor() for child in children]
        if attestations:
            for child in children[:]:
                attestation = self.attestation()
                about = {**_ATTESTATION, "vnd.docker.reference.digest": child.digest}
                entries.append(attestation.descriptor(annotations=about))
                children.append(attestation)
        value = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST_LIST if docker else OCI_INDEX,
            "manifests": entries,
            "annotations": dict(annotations) if annotations else None,
        }
        return build_manifest(value, children=tuple(children), indent=indent)

    def pretty_index(self) -> MadeManifest:
        """An index whose bytes nobody gets who writes its JSON anew."""
        return self.index(platforms=("linux/amd64", "linux/arm64"), indent=3)

    def nested_index(self) -> MadeManifest:
        """An index that names an index without a platform, an image, and an artifact without a platform."""
        return self.index([self.index(platforms=("linux/amd64", "linux/s390x")), self.image(), self.artifact()])

    def schema1(self, name: str = "library/old", tag: str = "1.0") -> MadeManifest:
        """A manifest of 2014, with a signature that has the right form and proves nothing."""
        layers = (self.layer(media_type=DOCKER_LAYER), self.layer(media_type=DOCKER_LAYER))
        return build_schema1(name, tag, layers)


def _mix(*parts: int) -> int:
    """A number that differs where any of `parts` does."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))
