"""The scope of a prune: what has several names is one thing all the same."""

from __future__ import annotations

import pytest

from image_syncer.config import Configuration, Destination, RegistryBook, Rule, TagSelection
from image_syncer.coordinator.open_image import RequestedImage
from image_syncer.oci import Digest, PlatformFilter, Reference, Repository
from image_syncer.pruning.pruner import PruneScope

DIGEST = Digest(f"sha256:{'a' * 64}")


def scope_of(*rules: Rule) -> PruneScope:
    return PruneScope(Configuration(rules, RegistryBook([])), empty_sources=False)


def rule(source: str, registry: str, name: str = "app", **fields: object) -> Rule:
    return Rule(Repository(source, "app"), TagSelection(), (Destination(Repository(registry, name), **fields),))


@pytest.mark.parametrize("other", ["b.io:443", "b.io:80"])
@pytest.mark.parametrize("owns", [True, False])
def test_a_repository_of_two_names_is_not_pruned_by_what_one_of_them_selects(other: str, owns: bool) -> None:
    fields = {} if owns else {"tags": ("v1",)}
    scope = scope_of(rule("a.io", "b.io"), rule("c.io", other, **fields), rule("d.io", "b.io", "other"))
    reason = scope.why_held(Repository("b.io", "app"))
    assert reason is not None
    assert f"{other}/app" in reason
    assert scope.why_held(Repository(other, "app")) is not None
    assert scope.why_held(Repository("b.io", "other")) is None
    assert scope_of(rule("a.io", "b.io"), rule("c.io", "b.io:5000")).why_held(Repository("b.io", "app")) is None


def test_what_is_brought_by_digest_to_a_layout_stays_whatever_repository_is_pruned() -> None:
    place = "oci:/data/mirror"
    scope = scope_of(rule("a.io", place, "one"))
    source, target = (Reference(Repository(where, "other"), None, DIGEST) for where in ("a.io", place))
    scope.select(RequestedImage(source, (target,), PlatformFilter()))
    assert scope.selected(Repository(place, "one")).digests == {DIGEST}
    assert scope.selected(Repository("oci:/data/else", "one")).digests == frozenset()
