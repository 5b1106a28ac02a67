"""docs/recipes/air-gapped-delivery.md: of the two registries, never more than one can be reached."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.programs import find_program
from support.signed_images import SIGNATURE, discover, fallback_index

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder
    from recipes.conftest import Hosts
    from recipes.recipe import Recipe

pytestmark = [pytest.mark.real, pytest.mark.extended]

OUTSIDE, INSIDE = "outside.example.com", "inside.example.com"
SHOP, SEARCH = "product/shop", "product/search"


def test_what_was_released_arrives_behind_the_gap(recipe: Recipe, hosts: Hosts, content: ContentBuilder) -> None:
    find_program("skopeo")
    hosts.start(OUTSIDE)
    hosts.start(INSIDE)
    base = [content.layer(300_000)]
    old, shop = content.image(), content.index(shared_layers=base, attestations=True)
    search, newer = content.index(shared_layers=base), content.index(shared_layers=base)
    signature = content.artifact(SIGNATURE, subject=shop)
    hosts.push(OUTSIDE, SHOP, old, ["1.0"])
    hosts.push(OUTSIDE, SHOP, shop, ["2.0"])
    hosts.push(OUTSIDE, SHOP, signature)
    hosts.push(OUTSIDE, SHOP, fallback_index(content, signature), [shop.digest.replace(":", "-")])
    hosts.push(OUTSIDE, SEARCH, search, ["2.0"])

    recipe.follow("The files")
    with hosts.cut_off(INSIDE):
        recipe.follow("Outside: the first delivery")
    with hosts.cut_off(OUTSIDE):
        recipe.follow("Inside: the first import")
    assert hosts.repositories(INSIDE) == [SEARCH, SHOP]
    assert hosts.digest(f"{INSIDE}/{SHOP}:2.0") == shop.digest
    for repository, image in ((SHOP, shop), (SHOP, signature), (SEARCH, search)):
        assert hosts.has_all_of(f"{INSIDE}/{repository}", image)
    assert [each["digest"] for each in discover(hosts.client(INSIDE), SHOP, shop.digest)] == [signature.digest]

    hosts.push(OUTSIDE, SHOP, newer, ["2.1"])
    with hosts.cut_off(INSIDE):
        recipe.follow("Outside: the next month")
    with hosts.cut_off(OUTSIDE):
        recipe.follow("Inside: the next month")
    assert hosts.digest(f"{INSIDE}/{SHOP}:2.1") == newer.digest
    assert hosts.has_all_of(f"{INSIDE}/{SHOP}", newer)
    bundle = json.loads(recipe.read("disk/july/bundle.json"))
    assert not any("offset" in bundle["blobs"][layer.digest] for layer in base)
    pinned = {image["pinned"] for image in json.loads(recipe.read("arrived.json"))["images"]}
    assert {f"{INSIDE}/{SHOP}@{newer.digest}", f"{INSIDE}/{SEARCH}@{search.digest}"} <= pinned

    part = recipe.directory / "disk" / "july" / "part-0001.tar"
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(damaged)
    with hosts.cut_off(OUTSIDE):
        recipe.follow("A damaged disk")
        recipe.follow("Without image-syncer inside")
    assert hosts.digest(f"{INSIDE}/by-hand/shop:2.0") == shop.digest
    assert hosts.has_all_of(f"{INSIDE}/by-hand/shop", shop)
