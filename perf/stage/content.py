"""Images for the benchmark, as files that a static web server can serve as a registry.

Layers begin with gzip's magic bytes, because some tools compress what does not look compressed; the rest is one random
block over and over, each time with a stamp of its own, so no two layers are equal and no block of a layer repeats.
Files are hard links: a blob that stands in ten repositories is written, and hashed, once.

    ROOT/v2/<repository>/manifests/<tag>         ROOT/v2/<repository>/blobs/sha256:<hex>
    ROOT/v2/<repository>/manifests/sha256:<hex>  ROOT/v2/<repository>/tags/list
    ROOT/v2/_catalog                             ROOT/content.json  (what the servers need to know of it all)
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["INDEX_NAME", "MANIFEST_TYPE", "Content", "ContentSpec", "build_content"]

INDEX_NAME = "content.json"
"""Under the root: repositories, their tags with digest and size, and the sizes of all blobs."""

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

BLOCK_BYTES = 4 * 2**20
"""What is random; longer than the window of any compressor that a registry client uses by default."""

GZIP_HEAD = bytes.fromhex("1f8b0800000000000003")
"""A whole gzip header: magic, deflate, no flags, no time, Unix."""

LEAST_LAYER_BYTES = 64
"""A layer has to hold the header and the stamp that makes it one of a kind."""

LAYERS_A_SHARE = 10
"""How often a layer of the common pool is used, about."""


@dataclass(frozen=True)
class ContentSpec:
    """What to build. Sizes in bytes; counts of tags are per repository, counts of layers per image."""

    repositories: int = 1
    tags: int = 4
    layers: int = 1
    layer_bytes: int = 256 * 2**20
    log_normal: tuple[float, float] | None = None
    """Median in bytes and sigma; then `layer_bytes` counts for nothing."""
    shared_layers: int = 0
    """Of the layers, so many are bases: the same ones in all images with the same base."""
    bases: int = 1
    """How many sets of shared layers there are; image after image takes the next one."""
    shared_fraction: float = 0.0
    """Or: this part of all layers comes from a common pool, in which each layer is used about ten times."""
    seed: int = 7


@dataclass(frozen=True)
class Content:
    """What was built, and where."""

    root: Path
    repositories: tuple[str, ...]
    tags: dict[str, tuple[str, ...]]
    images: int
    blob_copies: int
    """Layers and configurations, summed over the images: what has to exist at a destination."""
    distinct_blobs: int
    distinct_bytes: int


class _Blob(NamedTuple):
    digest: str
    size: int
    path: Path


@dataclass
class _Builder:
    spec: ContentSpec
    root: Path
    blobs: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, dict[str, list[object]]] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.spec.seed)  # noqa: S311 - content, no secret
        self.block = bytearray(self.chance.randbytes(BLOCK_BYTES))
        self.store = self.root / "blobs"
        self.store.mkdir(parents=True)

    def new_layer(self) -> _Blob:
        size = self.spec.layer_bytes
        if self.spec.log_normal is not None:
            median, sigma = self.spec.log_normal
            size = int(self.chance.lognormvariate(math.log(median), sigma))
        self.made += 1
        return self._write(self._pieces(max(size, LEAST_LAYER_BYTES), self.made))

    def _pieces(self, size: int, layer: int) -> Iterator[memoryview]:
        for number, start in enumerate(range(0, size, BLOCK_BYTES)):
            stamp = b"%s %d %d %d " % (GZIP_HEAD, self.spec.seed, layer, number)
            self.block[: len(stamp)] = stamp
            yield memoryview(self.block)[: min(BLOCK_BYTES, size - start)]

    def _write(self, pieces: Iterator[memoryview] | list[bytes]) -> _Blob:
        digest, size = hashlib.sha256(), 0
        unnamed = self.store / "unnamed"
        with unnamed.open("wb", buffering=0) as file:
            for piece in pieces:
                digest.update(piece)
                size += file.write(piece)
        named = f"sha256:{digest.hexdigest()}"
        path = unnamed.rename(self.store / named)
        self.blobs[named] = size
        return _Blob(named, size, path)

    def add_image(self, repository: str, tag: str, layers: list[_Blob]) -> None:
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"image": f"{repository}:{tag}", "seed": str(self.spec.seed)}},
            # Nobody who copies unpacks, so what the layers would be when unpacked may be called by their own names.
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
        config_blob = self._write([json.dumps(config).encode()])
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": config_blob.digest, "size": config_blob.size},
            "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size} for layer in layers],
        }
        text = json.dumps(manifest, indent=1).encode()
        digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
        folder = self.root / "v2" / repository
        for name in ("blobs", "manifests", "tags"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "manifests" / digest).write_bytes(text)
        (folder / "manifests" / tag).hardlink_to(folder / "manifests" / digest)
        for blob in (config_blob, *layers):
            link = folder / "blobs" / blob.digest
            if not link.exists():
                link.hardlink_to(blob.path)
        self.manifests.setdefault(repository, {})[tag] = [digest, len(text)]


def build_content(spec: ContentSpec, root: Path) -> Content:
    """Write the images of `spec` under `root`, a directory that is new or empty; the same spec gives the same bytes.

    Takes about a second a gigabyte, for the digests and the writing. Give a directory of a tmpfs, so that a server
    reads memory and no disk; it needs `distinct_bytes` of it.
    """
    builder = _Builder(spec, root)
    names = [(f"bench/r{number:04}", f"v{tag:05}") for number in range(spec.repositories) for tag in range(spec.tags)]
    bases = [[builder.new_layer() for _ in range(spec.shared_layers)] for _ in range(spec.bases)]
    own = spec.layers - spec.shared_layers
    slots = round(len(names) * own * spec.shared_fraction)
    pool = [builder.new_layer() for _ in range(max(own, math.ceil(slots / LAYERS_A_SHARE)) if slots else 0)]
    given = 0
    for done, (repository, tag) in enumerate(names, start=1):
        # Shares are dealt evenly over the images, so that any part of the catalog is like the whole.
        from_pool = round(done * own * spec.shared_fraction) - given
        given += from_pool
        layers = [*bases[(done - 1) % spec.bases], *builder.chance.sample(pool, from_pool)]
        layers += [builder.new_layer() for _ in range(own - from_pool)]
        builder.add_image(repository, tag, layers)
    return _finish(builder, len(names))


def _finish(builder: _Builder, images: int) -> Content:
    root, manifests = builder.root, builder.manifests
    for repository, tags in manifests.items():
        listing = {"name": repository, "tags": sorted(tags)}
        (root / "v2" / repository / "tags" / "list").write_text(json.dumps(listing))
    (root / "v2" / "_catalog").write_text(json.dumps({"repositories": sorted(manifests)}))
    (root / INDEX_NAME).write_text(json.dumps({"manifests": manifests, "blobs": builder.blobs}))
    return Content(
        root=root,
        repositories=tuple(manifests),
        tags={repository: tuple(tags) for repository, tags in manifests.items()},
        images=images,
        blob_copies=images * (builder.spec.layers + 1),
        distinct_blobs=len(builder.blobs),
        distinct_bytes=sum(builder.blobs.values()),
    )
