"""Generated content: blobs, images and indexes of every form, the same for the same seed, and their delivery.

Layers begin with the magic of gzip and are noise after it: nothing that copies a layer reads it. Large ones are made in
pieces, so a layer of many gigabytes needs no memory. Delivery over HTTP uses the standard library, so that the engine
does not judge itself.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from image_syncer.embedded.manifests import describe_manifest
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
    Digest,
    parse_manifest,
)
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from image_syncer.embedded.storage import Storage


_TIMEOUT_S = 60.0
_GZIP_MAGIC = b"\x1f\x8b\x08\x00"
_PIECE_BYTES = 2**20
_COUNTER_BYTES = 8
_INDENT = 3  # of docker's schema 1; the signature covers these bytes
_KEY = {"crv": "P-256", "kid": "MADE:UPXX", "kty": "EC", "x": "eA", "y": "eQ"}
_CREATED = "2024-01-01T00:00:00Z"
_ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}
_IN_TOTO = "application/vnd.in-toto+json"


class ContentBuilder:
    """Generates content. Two builders with one `seed` and the same calls in the same order give the same bytes."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._made = 0

    # Blobs

    def layer(self, size_bytes: int = 4096, media_type: str = OCI_LAYER_GZIP, *, algorithm: str = "sha256") -> MadeBlob:
        """Return a new layer, with a digest of sha256 or sha512."""
        self._made += 1
        return MadeBlob(media_type, size_bytes, seed=_mix(self._seed, self._made), algorithm=algorithm)

    def empty_layer(self) -> MadeBlob:
        """Return a layer of zero bytes."""
        return MadeBlob(OCI_LAYER, 0, data=b"")

    def empty_config(self) -> MadeBlob:
        """Return the empty blob `{}` (OCI image specification 1.1, "Guidance for an Empty Descriptor")."""
        return MadeBlob(OCI_EMPTY, 2, data=b"{}")

    def json_blob(self, value: object, media_type: str) -> MadeBlob:
        """Return a blob with `value` as JSON."""
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
        """Return the config of an image for `platform`, with its time of creation (RFC 3339) or without one."""
        self._made += 1
        value = {
            **_platform(platform),
            "created": created,
            "config": {"Env": [f"MADE={self._seed}.{self._made}"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
        return self.json_blob(value, DOCKER_CONFIG if docker else OCI_CONFIG)

    # Manifests

    def image(  # noqa: PLR0913 - public signature
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
        """Return an image for one platform with these `layers`, or a number of new ones; `indent` formats its JSON."""
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
        """Return a Docker image with a foreign layer, which no registry needs to have."""
        image = self.image(1, platform="windows/amd64", docker=True)
        foreign = self.layer(media_type=DOCKER_FOREIGN_LAYER)
        value = json.loads(image.raw)
        value["layers"].insert(0, foreign.descriptor(urls=["https://example.invalid/layer"]))
        return build_manifest(value, image.blobs, platform=image.platform)

    def artifact(
        self, artifact_type: str = "application/vnd.example.sbom", *, subject: MadeManifest | None = None
    ) -> MadeManifest:
        """Return an artifact with the empty config and one small blob, perhaps a referrer of `subject`."""
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
        """Return an attestation as BuildKit writes it: a manifest for the platform unknown/unknown."""
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

    def index(  # noqa: PLR0913 - public signature
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
        """Return an index of `images`, or of new ones for `platforms`, which contain `shared_layers`.

        With `attestations`, it has one for each image, as BuildKit writes it.
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
        """Return an index whose bytes change if its JSON is written again."""
        return self.index(platforms=("linux/amd64", "linux/arm64"), indent=3)

    def nested_index(self) -> MadeManifest:
        """Return an index of an index without a platform, an image, and an artifact without a platform."""
        return self.index([self.index(platforms=("linux/amd64", "linux/s390x")), self.image(), self.artifact()])

    def schema1(self, name: str = "library/old", tag: str = "1.0") -> MadeManifest:
        """Return a schema 1 manifest, with a signature that is only formally valid."""
        layers = (self.layer(media_type=DOCKER_LAYER), self.layer(media_type=DOCKER_LAYER))
        return build_schema1(name, tag, layers)


def _mix(*parts: int) -> int:
    """Return a hash of `parts` as a number."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


class MadeBlob(Value, frozen=True, dict=True):
    """A blob: either `data`, or `size` bytes of noise from `seed`."""

    media_type: str
    size: int
    seed: int = 0
    data: bytes | None = None
    algorithm: str = "sha256"

    __repr__ = repr_without("data")

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes, at most 1 MiB at a time."""
        if self.data is not None:
            yield self.data
            return
        # Noise is slow, so all pieces have the same noise after a counter.
        noise = bytearray(random.Random(self.seed).randbytes(min(self.size, _PIECE_BYTES)))  # noqa: S311 - no secret
        noise[: len(_GZIP_MAGIC)] = _GZIP_MAGIC[: self.size]
        for number, begin in enumerate(range(0, self.size, _PIECE_BYTES)):
            if number:
                noise[:_COUNTER_BYTES] = number.to_bytes(_COUNTER_BYTES, "big")
            yield bytes(noise[: self.size - begin])

    def read(self) -> bytes:
        """Return all bytes of a small blob."""
        return b"".join(self.pieces())

    @cached_property
    def digest(self) -> Digest:
        """The digest of the bytes."""
        running = hashlib.new(self.algorithm)
        for piece in self.pieces():
            running.update(piece)
        return Digest(f"{self.algorithm}:{running.hexdigest()}")

    def descriptor(self, **more: object) -> dict[str, Any]:
        """Return the descriptor of the blob, with `more` fields (None: left out)."""
        return _describe(self.media_type, self.digest, self.size, more)


class MadeManifest(Value, frozen=True, dict=True):
    """A manifest with its blobs and children."""

    raw: bytes
    media_type: str
    blobs: tuple[MadeBlob, ...] = ()
    children: tuple[MadeManifest, ...] = ()
    platform: Mapping[str, Any] | None = None

    __repr__ = repr_without("raw")

    @cached_property
    def digest(self) -> Digest:
        """The digest of the manifest in a registry."""
        return parse_manifest(self.raw, self.media_type).digest

    def manifests(self) -> list[MadeManifest]:
        """Return the manifest and all below it, each once, children first."""
        found = {item.digest: item for child in self.children for item in child.manifests()}
        found.setdefault(self.digest, self)
        return list(found.values())

    def all_blobs(self) -> list[MadeBlob]:
        """Return the blobs of this manifest and of all below it, each once."""
        return list({blob.digest: blob for item in self.manifests() for blob in item.blobs}.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of all distinct blobs."""
        return sum(blob.size for blob in self.all_blobs())

    def descriptor(self, **more: object) -> dict[str, Any]:
        """Return the descriptor of the manifest, with `more` fields (None: left out)."""
        return _describe(self.media_type, self.digest, len(self.raw), {"platform": self.platform, **more})


def build_manifest(
    value: Mapping[str, object],
    blobs: tuple[MadeBlob, ...] = (),
    *,
    children: tuple[MadeManifest, ...] = (),
    platform: Mapping[str, Any] | None = None,
    indent: int | None = None,
) -> MadeManifest:
    """Return the manifest with the fields of `value` (None: left out); `indent` formats its JSON."""
    present = {name: item for name, item in value.items() if item is not None}
    return MadeManifest(dump_json(present, indent), str(value["mediaType"]), blobs, children, platform)


def dump_json(value: object, indent: int | None = None) -> bytes:
    """Return `value` as JSON, compact without `indent`."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, indent=indent, separators=separators).encode()


def _describe(media_type: str, digest: str, size: int, more: Mapping[str, object]) -> dict[str, Any]:
    present = {name: item for name, item in more.items() if item is not None}
    return {"mediaType": media_type, "digest": digest, "size": size, **present}


def build_schema1(name: str, tag: str, layers: tuple[MadeBlob, ...]) -> MadeManifest:
    """Return a schema 1 manifest (Docker "Image Manifest Version 2, Schema 1") of `layers`, the topmost first.

    Its signature is only formally valid.
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


def push_to(storage: Storage, repository: str, manifest: MadeManifest, tags: Iterable[str] = ()) -> None:
    """Store `manifest` with everything below it in `storage`, without a server."""
    for blob in manifest.all_blobs():
        if storage.blob_size(repository, blob.digest) is None:
            storage.put_blob(repository, blob.pieces(), blob.digest)
    for item in manifest.manifests():
        described = describe_manifest(parse_manifest(item.raw, item.media_type))
        storage.put_manifest(repository, described, item.raw)
        for tag in tags if item is manifest else ():
            storage.put_manifest(repository, described, item.raw, tag)


def push_over_http(
    base_url: str,
    repository: str,
    manifest: MadeManifest,
    tags: Iterable[str] = (),
    *,
    credential: tuple[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> None:
    """Push `manifest` with everything below it to the registry at `base_url` ("http://127.0.0.1:5000").

    `credential` is a name and a password for Basic. Existing blobs are skipped. Raises RuntimeError if the registry
    refuses, OSError if it cannot be reached.
    """
    with closing(_Client(base_url, credential, ssl_context)) as client:
        for blob in manifest.all_blobs():
            client.push_blob(repository, blob)
        for item in manifest.manifests():
            names = [item.digest, *tags] if item is manifest else [item.digest]
            for name in names:
                headers = {"Content-Type": item.media_type}
                client.send("PUT", f"/v2/{repository}/manifests/{name}", {201}, item.raw, headers)


class _Client:
    def __init__(self, base_url: str, credential: tuple[str, str] | None, ssl_context: ssl.SSLContext | None) -> None:
        parts = urlsplit(base_url)
        self._connection = (
            http.client.HTTPSConnection(parts.netloc, timeout=_TIMEOUT_S, context=ssl_context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
        )
        self._headers = {}
        if credential is not None:
            secret = base64.b64encode(":".join(credential).encode()).decode()
            self._headers["Authorization"] = f"Basic {secret}"

    def close(self) -> None:
        self._connection.close()

    def push_blob(self, repository: str, blob: MadeBlob) -> None:
        path = f"/v2/{repository}/blobs"
        status, _ = self.send("HEAD", f"{path}/{blob.digest}", {200, 404})
        if status == http.client.OK:
            return
        _, headers = self.send("POST", f"{path}/uploads/", {202})
        parts = urlsplit(headers["location"])
        query = f"{parts.query}&" if parts.query else ""
        length = {"Content-Length": str(blob.size), "Content-Type": "application/octet-stream"}
        self.send("PUT", f"{parts.path}?{query}digest={blob.digest}", {201}, blob.pieces(), length)

    def send(
        self,
        method: str,
        path: str,
        wanted: set[int],
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage]:
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status not in wanted:
            text = answer[:200].decode("utf-8", "replace")
            raise RuntimeError(f"{method} {path.partition('?')[0]}: {response.status} {text}")
        return response.status, response.headers
