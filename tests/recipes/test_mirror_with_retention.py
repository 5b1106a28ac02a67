"""docs/recipes/mirror-with-retention.md, with a registry of others in which versions come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.signed_images import SIGNATURE, fallback_index

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder
    from recipes.conftest import Hosts
    from recipes.recipe import Recipe

pytestmark = [pytest.mark.real, pytest.mark.extended]

UPSTREAM, MIRROR = "upstream.example.com", "mirror.example.com"
POSTGRES, NGINX = "library/postgres", "library/nginx"


def test_the_newest_stay_and_nothing_else_goes(recipe: Recipe, hosts: Hosts, content: ContentBuilder) -> None:
    hosts.start(UPSTREAM)
    hosts.start(MIRROR)
    postgres = {tag: content.index() for tag in ("14.9", "15.9", "15.10", "16.0", "17.0-rc1")}
    nginx = {tag: content.image() for tag in ("1.25-alpine", "1.26-alpine", "1.27-alpine", "1.27", "latest")}
    for tag, image in postgres.items():
        hosts.push(UPSTREAM, POSTGRES, image, [tag])
    for tag, image in nginx.items():
        hosts.push(UPSTREAM, NGINX, image, [tag])
    oldest = postgres["15.9"]
    signature = content.artifact(SIGNATURE, subject=oldest)
    hosts.push(UPSTREAM, POSTGRES, signature)
    hosts.push(UPSTREAM, POSTGRES, fallback_index(content, signature), [oldest.digest.replace(":", "-")])
    ours = content.image()
    hosts.push(MIRROR, "team/app", ours, ["1.0"])
    hosts.push(MIRROR, POSTGRES, ours, ["team-pinned"])

    recipe.follow("The file")
    recipe.follow("The first time")
    signed = [oldest.digest.replace(":", "-")]
    assert hosts.tags(f"{MIRROR}/{POSTGRES}") == ["15.10", "15.9", "16.0", *signed, "team-pinned"]
    assert hosts.tags(f"{MIRROR}/{NGINX}") == ["1.26-alpine", "1.27-alpine", "latest"]

    postgres["16.1"] = content.index()
    hosts.push(UPSTREAM, POSTGRES, postgres["16.1"], ["16.1"])
    recipe.follow("A new version comes out")
    assert hosts.digest(f"{MIRROR}/{POSTGRES}:15.9") == oldest.digest
    recipe.follow("Every night")
    assert hosts.tags(f"{MIRROR}/{POSTGRES}") == ["15.10", "16.0", "16.1", "team-pinned"]
    for gone in (*oldest.manifests(), signature):
        assert hosts.digest(f"{MIRROR}/{POSTGRES}@{gone.digest}") is None

    recipe.follow("Reduce the mirror")
    recipe.follow("An error in the file")
    assert hosts.tags(f"{MIRROR}/{POSTGRES}") == ["16.0", "16.1", "team-pinned"]
    assert hosts.tags(f"{MIRROR}/{NGINX}") == ["1.26-alpine", "1.27-alpine", "latest"]
    assert hosts.digest(f"{MIRROR}/team/app:1.0") == hosts.digest(f"{MIRROR}/{POSTGRES}:team-pinned") == ours.digest
    for tag in ("16.0", "16.1"):
        assert hosts.has_all_of(f"{MIRROR}/{POSTGRES}", postgres[tag])
