"""Every kind of registry, end to end against its double: as a source, as a destination, and what its profile is for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import TagSelection
from image_syncer.embedded import DOUBLES, push_to
from image_syncer.registry import GENERIC, PROFILES, Headers, recognise_answer
from registries.stage import OWN_APP, OWN_WEB, TAG, assert_served, set_stage
from registries.trials import PLAIN_KINDS, TRIALS, Trial
from support.doubles import serve_double

if TYPE_CHECKING:
    from support.sync_runs import SyncLab

KINDS = list(DOUBLES)
MOST_UNLIKE = frozenset({"ecr", "ecr-public", "hub", "acr-azure", "nexus", "artifactory"})
"""The kinds whose downloads differ most: these are sources each time."""
ALL_TRIALS = [
    pytest.param(kind, trial, id=f"{kind} {trial.what}", marks=[pytest.mark.slow] if trial.seldom else [])
    for kind in TRIALS
    for trial in TRIALS[kind]
]


@pytest.mark.parametrize(
    "kind", [kind if kind in MOST_UNLIKE else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]
)
def test_as_a_source(lab: SyncLab, kind: str) -> None:
    stage = set_stage(lab, kind, kind)
    images = stage.images()
    for name, image in images.items():
        push_to(stage.double.storage, name, image, [TAG])
    rules = stage.rules_to(lab.destination, stage.double, *images)
    assert lab.run(*rules).outcomes == ["copied"] * len(images)
    assert_served(lab.destination, images)
    again = lab.run(*rules)
    assert again.outcomes == ["unchanged"] * len(images)
    assert (again.at(stage.double).bytes_out, again.at(lab.destination).bytes_in) == (0, 0)
    assert stage.double.counters.authorization_on_companion == 0


@pytest.mark.parametrize("kind", ["gar", "quay", "nexus", "artifactory", "registry2"])
def test_all_tags_of_a_source(lab: SyncLab, kind: str) -> None:
    """However the registry lists them: more of them than its page has, and among things that are no tags."""
    page = {} if kind == "quay" else {"max_page_size": 25}
    stage = set_stage(lab, kind, kind, **page)
    tags = [f"v{number}" for number in range(60)]
    push_to(stage.double.storage, OWN_APP, lab.content.image(1), tags)
    done = lab.run(lab.rule(OWN_APP, TagSelection(), origin=stage.double))
    assert done.outcomes == ["copied"] * len(tags)
    assert sorted(lab.destination.storage.tags(OWN_APP)) == sorted(tags)


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_destination(lab: SyncLab, kind: str) -> None:
    stage = set_stage(lab, kind, kind)
    images = stage.images()
    for name, image in images.items():
        push_to(lab.source.storage, name, image, [TAG])
    stage.found(*images)
    rules = stage.rules_to(stage.double, lab.source, *images)
    assert lab.run(*rules).outcomes == ["copied"] * len(images)
    again = lab.run(*rules)
    assert again.outcomes == ["unchanged"] * len(images)
    assert again.at(stage.double).bytes_in == 0
    assert_served(stage.double, images, kind)


@pytest.mark.extended
def test_azure_gets_a_blob_in_pieces_that_is_too_large_for_it(lab: SyncLab) -> None:
    stage = set_stage(lab, "acr-azure", "acr-azure")
    image = lab.content.image([lab.content.layer(21 * 2**20)])
    push_to(lab.source.storage, OWN_APP, image, [TAG])
    assert lab.run(*stage.rules_to(stage.double, lab.source, OWN_APP)).outcomes == ["copied"]
    assert stage.quirks() == {"body too long"}
    assert_served(stage.double, {OWN_APP: image}, "acr-azure")


@pytest.mark.slow
def test_hub_says_when_no_pulls_are_left(lab: SyncLab) -> None:
    """The run waits as long as it may, and fails in Docker Hub's words."""
    stage = set_stage(lab, "hub", "hub", pull_limit=1)
    for name in (OWN_APP, OWN_WEB):
        push_to(stage.double.storage, name, lab.content.image(1), [TAG])
    assert lab.run(*stage.rules_to(lab.destination, stage.double, OWN_APP)).outcomes == ["copied"]
    done = lab.run(*stage.rules_to(lab.destination, stage.double, OWN_WEB), exit_code=1, retry_for_s=1.0)
    assert "pull rate limit" in str(done.error)
    assert "Docker Hub counts the pulls" in str(done.error)
    assert lab.run(*stage.rules_to(lab.destination, stage.double, OWN_APP)).outcomes == ["unchanged"]


@pytest.mark.parametrize(("kind", "trial"), ALL_TRIALS)
def test_the_profile_knows(lab: SyncLab, kind: str, trial: Trial) -> None:
    trial.run(lab, kind, kind)


@pytest.mark.parametrize(("kind", "trial"), ALL_TRIALS)
def test_a_generic_profile_does_not_know(lab: SyncLab, kind: str, trial: Trial) -> None:
    """The same trial fails: so the quirk is really there, and it is the profile that knows it."""
    with pytest.raises(AssertionError):
        trial.run(lab, kind, GENERIC.name)


@pytest.mark.parametrize("kind", ["harbor", pytest.param("gitlab", marks=pytest.mark.slow)])
def test_a_kind_that_nobody_named_is_known_all_the_same(lab: SyncLab, kind: str) -> None:
    TRIALS[kind][0].run(lab, kind, None)


NOT_RECOGNISED = frozenset({"gar", "acr-aliyun", "registry2", "registry3", "zot"})
"""Known by the name of their host only, or not at all: a double is on loopback."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_answer_tells_the_kind(kind: str) -> None:
    with serve_double(kind) as (_, client):
        answer = client.get("/v2/")
    found = recognise_answer(Headers(tuple(answer.headers.items())))
    assert found.name == (GENERIC.name if kind in NOT_RECOGNISED else kind)


def test_every_kind_is_tried_or_has_nothing_to_try() -> None:
    assert set(TRIALS) | PLAIN_KINDS == set(DOUBLES) == set(PROFILES) - {GENERIC.name}
    for kind in PLAIN_KINDS:
        known = PROFILES[kind]
        assert replace(known, name=GENERIC.name, title=GENERIC.title, hosts=(), marks=()) == GENERIC
