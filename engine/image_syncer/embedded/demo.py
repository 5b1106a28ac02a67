"""The demo: images of every form that matters, and an audit of what arrived of them.

The audit uses Python's HTTP client and hashlib: it shares nothing with the engine, whose work it checks.
"""

from __future__ import annotations

import hashlib
import http.client
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct, field

from image_syncer.embedded.content import ContentBuilder, build_manifest
from image_syncer.oci import OCI_INDEX
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.embedded.content import MadeManifest


MIB = 2**20
_BASE_LAYER_BYTES = 4 * MIB
_TIMEOUT_S = 60.0
_PIECE_BYTES = MIB
_ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


class DemoImage(Value, frozen=True):
    """One tag of the demo with its manifest."""

    repository: str
    tag: str
    manifest: MadeManifest


def build_demo_images(big_blob_bytes: int = 256 * MIB) -> tuple[DemoImage, ...]:
    """Return the images of the demo, always the same ones, with one blob of `big_blob_bytes`.

    They have indexes for several platforms, an attestation without a platform, an index in an index, a formatted index,
    an artifact, an empty layer, and layers that repositories share.
    """
    builder = ContentBuilder(seed=1)
    base = builder.layer(_BASE_LAYER_BYTES)
    model = builder.image([base, builder.layer(big_blob_bytes)])
    images = [
        DemoImage("demo/web", tag, builder.index(shared_layers=[base], layer_bytes=MIB, attestations=True))
        for tag in ("1.0", "1.1", "latest")
    ]
    images += [
        DemoImage("demo/api", "2.0", _attested_index(builder, builder.image([base, builder.layer(MIB)]))),
        DemoImage("demo/api", "2.1", builder.nested_index()),
        DemoImage("demo/tools", "docker", builder.image(3, layer_bytes=MIB, docker=True)),
        DemoImage("demo/tools", "empty-layer", builder.image([base, builder.empty_layer()])),
        DemoImage("demo/tools", "pretty", builder.pretty_index()),
        DemoImage("demo/model", "v1", model),
        DemoImage("demo/model", "sbom", builder.artifact(subject=model)),
    ]
    return tuple(images)


def _attested_index(builder: ContentBuilder, image: MadeManifest) -> MadeManifest:
    """Return an index of an image and its attestation, whose entry has no platform: a bug of the Go tool."""
    attestation = builder.attestation()
    about = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest,
    }
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [image.descriptor(), attestation.descriptor(platform=None, annotations=about)],
    }
    return build_manifest(value, children=(image, attestation))


class Audit(Struct):
    """The result of an audit: what it read (sizes in bytes), and every mistake as a sentence."""

    manifests: int = 0
    blobs: int = 0
    size_bytes: int = 0
    mistakes: list[str] = field(default_factory=list)


def audit_registry(base_url: str, images: Iterable[DemoImage]) -> Audit:
    """Read `images` with everything below them from the registry at `base_url`, and check every byte.

    A tag must have the bytes of its manifest, everything below it those of its digest and size. Raises OSError or
    `http.client.HTTPException` if the registry cannot be read.
    """
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    with closing(connection):
        reader = _DemoReader(connection)
        for image in images:
            reader.check_tag(image)
    return reader.audit


class _DemoReader:
    """Reads from tags to blobs, each content of a repository once."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.audit = Audit()
        self._connection = connection
        self._seen: set[tuple[str, str]] = set()

    def check_tag(self, image: DemoImage) -> None:
        name = f"{image.repository}:{image.tag}"
        body = self._read_manifest(name, image.repository, image.tag)
        if body == image.manifest.raw:
            self._check_below(image.repository, body)
        elif body is not None:
            self.audit.mistakes.append(f"{name} is not the manifest that was made for it")

    def _check_below(self, repository: str, body: bytes) -> None:
        document: dict[str, Any] = json.loads(body)
        for child in document.get("manifests", ()):
            if self._is_new(repository, child["digest"]):
                name = f"{repository}@{child['digest']}"
                content = self._read_manifest(name, repository, child["digest"])
                if content is None:
                    continue
                actual = hashlib.new(_algorithm(child), content).hexdigest()
                if self._is_right(name, child, actual, len(content)):
                    self._check_below(repository, content)
        for blob in filter(None, (document.get("config"), *document.get("layers", ()))):
            if self._is_new(repository, blob["digest"]):
                self._check_blob(repository, blob)

    def _read_manifest(self, name: str, repository: str, reference: str) -> bytes | None:
        answer = self._get(f"/v2/{repository}/manifests/{reference}", {"Accept": _ACCEPT})
        body = answer.read()
        self.audit.manifests += 1
        if answer.status != http.client.OK:
            self.audit.mistakes.append(f"{name} is not there ({answer.status})")
            return None
        return body

    def _check_blob(self, repository: str, blob: dict[str, Any]) -> None:
        name = f"{repository}@{blob['digest']}"
        answer = self._get(f"/v2/{repository}/blobs/{blob['digest']}", {})
        running, size_bytes = hashlib.new(_algorithm(blob)), 0
        while piece := answer.read(_PIECE_BYTES):
            running.update(piece)
            size_bytes += len(piece)
        self.audit.blobs += 1
        self.audit.size_bytes += size_bytes
        if answer.status != http.client.OK:
            self.audit.mistakes.append(f"{name} is not there ({answer.status})")
            return
        self._is_right(name, blob, running.hexdigest(), size_bytes)

    def _is_right(self, name: str, descriptor: dict[str, Any], actual: str, size_bytes: int) -> bool:
        if descriptor["digest"].partition(":")[2] != actual:
            self.audit.mistakes.append(f"{name} has other bytes than its digest says")
        elif descriptor["size"] != size_bytes:
            self.audit.mistakes.append(f"{name} has {size_bytes} bytes, not {descriptor['size']}")
        else:
            return True
        return False

    def _is_new(self, repository: str, digest: str) -> bool:
        key = (repository, digest)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _get(self, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        self._connection.request("GET", path, headers=headers)
        return self._connection.getresponse()


def _algorithm(descriptor: dict[str, Any]) -> str:
    return str(descriptor["digest"]).partition(":")[0]
