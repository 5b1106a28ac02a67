"""The catalogue: 30 repositories with five tags each, of every shape that docker-registry takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TYPE_CHECKING

from image_syncer.embedded import ContentBuilder, DemoImage, push_over_http

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest

REPOSITORIES, TAGS = 30, ("v1", "v2", "v3", "v4", "latest")
PUSHERS = 8
_BASE_LAYER_BYTES = 512 * 1024
_LAYER_BYTES = 24 * 1024


def build_catalogue() -> list[DemoImage]:
    """The images, the same each time. Every repository shares a base layer with all others, and has two tags for one
    image.
    """
    builder = ContentBuilder(seed=30)
    base = builder.layer(_BASE_LAYER_BYTES)

    def image() -> MadeManifest:
        return builder.image([base, builder.layer(_LAYER_BYTES)])

    def artifact() -> MadeManifest:
        return builder.artifact(subject=image())

    def attested() -> MadeManifest:
        return builder.index(shared_layers=[base], platforms=("linux/amd64", "linux/arm64"), attestations=True)

    def docker() -> MadeManifest:
        return builder.image(2, layer_bytes=_LAYER_BYTES, docker=True)

    def docker_list() -> MadeManifest:
        return builder.index(platforms=("linux/amd64", "linux/arm/v7"), docker=True)

    def zero_byte_layer() -> MadeManifest:
        return builder.image([base, builder.empty_layer(), builder.layer(_LAYER_BYTES)])

    shapes = (
        image,
        attested,
        docker,
        docker_list,
        artifact,
        zero_byte_layer,
        builder.nested_index,
        builder.pretty_index,
        builder.foreign_image,
    )
    images = []
    for number in range(REPOSITORIES):
        repository = f"team{number % 3}/app{number:02d}"
        made = [shapes[(number + 2 * tag) % len(shapes)]() for tag in range(len(TAGS) - 1)]
        images += [DemoImage(repository, tag, manifest) for tag, manifest in zip(TAGS, (*made, made[-1]), strict=True)]
    return images


def push_catalogue(url: str, images: list[DemoImage]) -> None:
    """Push everything, some repositories at a time."""

    def push(repository_images: list[DemoImage]) -> None:
        for image in repository_images:
            push_over_http(url, image.repository, image.manifest, [image.tag])

    with ThreadPoolExecutor(PUSHERS) as pool:
        list(pool.map(push, by_repository(images).values()))


def by_repository(images: list[DemoImage]) -> dict[str, list[DemoImage]]:
    """The images of each repository."""
    return {name: list(group) for name, group in groupby(images, key=lambda image: image.repository)}
