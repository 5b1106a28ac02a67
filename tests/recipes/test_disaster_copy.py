"""docs/recipes/disaster-copy.md, with a registry that is lost twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.signed_images import SIGNATURE, fallback_index

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder, MadeManifest
    from recipes.conftest import Hosts
    from recipes.recipe import Recipe

pytestmark = [pytest.mark.real, pytest.mark.extended]

PROD, COPY = "prod.example.com", "copy.example.com"


def test_what_is_lost_comes_back_from_the_copy_and_from_the_disk(
    recipe: Recipe, hosts: Hosts, content: ContentBuilder
) -> None:
    hosts.start(PROD)
    hosts.start(COPY)
    shop, search, scratch = content.index(attestations=True), content.index(), content.image()
    signature = content.artifact(SIGNATURE, subject=shop)
    hosts.push(PROD, "shop", shop, ["1.0", "latest"])
    hosts.push(PROD, "shop", signature)
    hosts.push(PROD, "shop", fallback_index(content, signature), [shop.digest.replace(":", "-")])
    hosts.push(PROD, "team/search", search, ["1.0", "latest"])
    hosts.push(PROD, "scratch/try", scratch, ["1.0"])

    def has(repository: str, *images: MadeManifest) -> bool:
        return all(hosts.has_all_of(repository, image) for image in images)

    recipe.follow("The files")
    recipe.follow("Every night")
    assert hosts.repositories(COPY) == ["shop", "team/search"]
    assert has(f"{COPY}/shop", shop, signature)

    newer = content.index()
    hosts.push(PROD, "shop", newer, ["1.1", "latest"])
    recipe.follow("The night after")
    kept = f"latest-{shop.digest.partition(':')[2][:12]}"
    assert hosts.digest(f"{COPY}/shop:{kept}") == shop.digest
    assert hosts.digest(f"{COPY}/shop:latest") == newer.digest
    recipe.follow("Every month")

    hosts.start(PROD)
    assert hosts.repositories(PROD) == []
    recipe.follow("Restore")
    assert has(f"{PROD}/shop", shop, signature, newer)
    assert has(f"{PROD}/team/search", search)
    assert hosts.tags(f"{PROD}/shop") == hosts.tags(f"{COPY}/shop")

    hosts.start(PROD)
    hosts.start(COPY)
    recipe.follow("Restore from the disk")
    assert has(f"{PROD}/shop", shop, signature, newer)
    assert has(f"{PROD}/team/search", search)
    assert hosts.digest(f"{PROD}/shop:latest") == newer.digest
    assert hosts.repositories(PROD) == ["shop", "team/search"]
    assert json.loads(recipe.read("restored.json"))["exit_code"] == 0
