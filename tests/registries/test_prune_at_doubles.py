"""A prune at each kind of registry, with its logins and its rules: the selected tag stays whole, whatever it allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Configuration, RegistryBook, Settings, TagSelection
from image_syncer.config.pruning import Pruning
from image_syncer.embedded import DOUBLES
from image_syncer.oci import Digest
from image_syncer.registry import PROFILES
from image_syncer.registry.referrers import cosign_tags
from image_syncer.runs import prune
from registries.stage import OWN_APP, TAG, assert_served, set_stage

if TYPE_CHECKING:
    from support.sync_runs import SyncLab


MOST_UNLIKE = ("registry2", "harbor", "gar", "acr-azure", "ghcr")
"""How they log people in, and what they delete: these are pruned each time."""


@pytest.mark.parametrize(
    "kind", [kind if kind in MOST_UNLIKE else pytest.param(kind, marks=pytest.mark.slow) for kind in DOUBLES]
)
def test_what_is_not_selected_goes_where_the_registry_deletes_and_the_rest_is_whole(lab: SyncLab, kind: str) -> None:
    stage = set_stage(lab, kind, kind if kind in PROFILES else None)
    deletes = stage.double.behaviour.deletes
    stage.found(OWN_APP)
    kept, gone = lab.content.index(), lab.content.index()
    lab.push(kept, OWN_APP, [TAG])
    lab.push(kept, OWN_APP, [TAG, "latest"], to=stage.double)
    lab.push(gone, OWN_APP, ["old", "older"], to=stage.double)
    for image in (kept, gone):
        lab.push(lab.content.image(1), OWN_APP, [next(iter(cosign_tags(Digest(image.digest))))], to=stage.double)
    rule = lab.rule(OWN_APP, TagSelection(), to=[(stage.double, OWN_APP)])
    configuration = Configuration((rule,), RegistryBook(list(lab._entries.values())))
    report = prune(configuration, Settings(retries=1, pruning=Pruning(delete=True, most=None)))
    assert report.internal_error is None
    assert report.pruned is not None
    assert report.pruned.held == []
    outcomes = {tags: each.outcome for each in report.pruned.deletions if (tags := each.tags)}
    tags = set(stage.double.storage.tags(OWN_APP))
    assert {TAG, next(iter(cosign_tags(Digest(kept.digest))))} <= tags
    if deletes:
        assert outcomes.pop(("latest",)) == ("left" if "latest" in tags else "deleted")
        assert set(outcomes.values()) == {"deleted"}
        assert not tags & {"old", "older"}
        assert len(tags - {"latest"}) == 2
    else:
        assert set(outcomes.values()) <= {"failed", "left"}
        assert len(tags) == 6
    assert report.exit_code == int(not deletes or "latest" in tags)
    assert_served(stage.double, {OWN_APP: kept}, kind)
