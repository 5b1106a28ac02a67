"""docs/recipes/migration.md, with people who go on pushing until the cut-over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import ContentBuilder
from support.signed_images import SIGNATURE, fallback_index

if TYPE_CHECKING:
    from recipes.conftest import Hosts
    from recipes.recipe import Recipe

pytestmark = [pytest.mark.real, pytest.mark.extended]

OLD, NEW = "old.example.com", "new.example.com"
MOVED = {
    "team-blue/shop": "blue/shop",
    "team-blue/shop/worker": "blue/shop/worker",
    "team-red/search": "red/search",
    "base/python": "shared/base/python",
}


def test_every_image_gets_to_its_new_place_while_people_go_on_pushing(
    recipe: Recipe, hosts: Hosts, content: ContentBuilder
) -> None:
    hosts.start(OLD)
    hosts.start(NEW)
    images = {name: content.index() for name in (*MOVED, "scratch/try")}
    for name, image in images.items():
        hosts.push(OLD, name, image, ["1.0", "latest"])

    recipe.follow("The file")
    recipe.follow("Checks before the first run")
    planned = [line for line in json.loads(recipe.read("plan.json"))["images"] if line["outcome"] == "would be copied"]
    assert len(planned) == 8
    assert hosts.repositories(NEW) == []

    recipe.follow("The first run")
    assert set(hosts.repositories(NEW)) == set(MOVED.values())
    for old, new in MOVED.items():
        assert hosts.digest(f"{NEW}/{new}:1.0") == hosts.digest(f"{NEW}/{new}:latest") == images[old].digest

    newer = content.index()
    hosts.push(OLD, "team-blue/shop", newer, ["1.1", "latest"])
    searched = images["team-red/search"]
    signature = content.artifact(SIGNATURE, subject=searched)
    listed = searched.digest.replace(":", "-")
    hosts.push(OLD, "team-red/search", signature)
    hosts.push(OLD, "team-red/search", fallback_index(content, signature), [listed])
    recipe.follow("Nightly runs")
    assert hosts.digest(f"{NEW}/blue/shop:latest") == hosts.digest(f"{NEW}/blue/shop:1.1") == newer.digest
    assert hosts.digest(f"{NEW}/red/search:{listed}") == hosts.digest(f"{OLD}/team-red/search:{listed}")

    last = content.image()
    hosts.push(OLD, "base/python", last, ["1.2"])
    hosts.make_read_only(OLD)
    recipe.follow("The cut-over")
    for old, new in MOVED.items():
        assert {tag: hosts.digest(f"{OLD}/{old}:{tag}") for tag in hosts.tags(f"{OLD}/{old}")} == {
            tag: hosts.digest(f"{NEW}/{new}:{tag}") for tag in hosts.tags(f"{NEW}/{new}")
        }
        assert hosts.has_all_of(f"{NEW}/{new}", images[old])
    for where, image in (("blue/shop", newer), ("red/search", signature), ("shared/base/python", last)):
        assert hosts.has_all_of(f"{NEW}/{where}", image)
    assert hosts.digest(f"{NEW}/shared/base/python:1.2") == last.digest
