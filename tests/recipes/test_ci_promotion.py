"""docs/recipes/ci-promotion.md, with builds that are pushed and signed between its sections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.signed_images import SIGNATURE, fallback_index

if TYPE_CHECKING:
    from image_syncer.embedded import ContentBuilder, MadeManifest
    from recipes.conftest import Hosts
    from recipes.recipe import Recipe

pytestmark = [pytest.mark.real, pytest.mark.extended]

DEV, PROD = "dev.example.com", "prod.example.com"


def build(recipe: Recipe, hosts: Hosts, content: ContentBuilder) -> MadeManifest:
    """What the jobs before do: push under a tag that moves, and tell the digest."""
    built = content.index(attestations=True)
    hosts.push(DEV, "team/shop", built, ["main"])
    recipe.write("image.digest", f"{built.digest}\n")
    return built


def sign(hosts: Hosts, content: ContentBuilder, built: MadeManifest) -> MadeManifest:
    signature = content.artifact(SIGNATURE, subject=built)
    hosts.push(DEV, "team/shop", signature)
    hosts.push(DEV, "team/shop", fallback_index(content, signature), [built.digest.replace(":", "-")])
    return signature


def test_what_was_tested_goes_out_and_nothing_else(recipe: Recipe, hosts: Hosts, content: ContentBuilder) -> None:
    hosts.start(DEV)
    hosts.start(PROD)
    recipe.follow("The files")

    tested = build(recipe, hosts, content)
    signature = sign(hosts, content, tested)
    hosts.push(DEV, "team/shop", content.index(), ["main"])  # somebody pushes while it is tested
    *_, pinned = recipe.follow("The first time")
    assert pinned.lines == [f"{PROD}/team/shop@{tested.digest}"]
    assert hosts.digest(f"{PROD}/team/shop:1.4.2") == tested.digest
    assert hosts.has_all_of(f"{PROD}/team/shop", tested)
    assert hosts.has_all_of(f"{PROD}/team/shop", signature)
    assert len(hosts.tags(f"{PROD}/team/shop")) == 2  # the version, and the list of signatures

    *_, pinned = recipe.follow("The second time")
    assert pinned.lines == [f"{PROD}/team/shop@{tested.digest}"]

    another = build(recipe, hosts, content)
    sign(hosts, content, another)
    recipe.follow("A released version")
    unsigned = build(recipe, hosts, content)
    recipe.follow("An image that the policy refuses")
    assert hosts.digest(f"{PROD}/team/shop:1.4.2") == tested.digest
    assert len(hosts.tags(f"{PROD}/team/shop")) == 2
    assert not any(hosts.digest(f"{PROD}/team/shop@{image.digest}") for image in (another, unsigned))

    [refused] = recipe.run_job(".gitlab-ci.yml", "promote", CI_COMMIT_TAG="2.0.0")
    assert refused.code == 1
    assert not (recipe.directory / "deploy.env").exists()
    sign(hosts, content, unsigned)
    assert [done.code for done in recipe.run_job(".gitlab-ci.yml", "promote", CI_COMMIT_TAG="2.0.0")] == [0, 0]
    assert recipe.read("deploy.env") == f"IMAGE={PROD}/team/shop@{unsigned.digest}\n"
    assert hosts.digest(f"{PROD}/team/shop:2.0.0") == unsigned.digest
