"""Registries that go away in the middle of a run, for a while or for good."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.coordinator import rules
from image_syncer.embedded import Behaviour
from image_syncer.telemetry import Outcome
from support.outages import Outage, after
from support.sync_runs import error_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from image_syncer.config import Rule
    from support.sync_runs import Done, SyncLab

OUTAGE_S = 5.0
SLOW = Behaviour(latency_s=0.02, check_references=False)


@pytest.fixture
def outage(lab: SyncLab) -> Iterator[Outage]:
    made = Outage(SLOW)
    lab.enter(made.registry)
    yield made
    made.close()


def rules_to(lab: SyncLab, outage: Outage, images: int = 30) -> list[Rule]:
    """So many different images for the registry that goes away."""
    names = [f"team/app{number}" for number in range(images)]
    for name in names:
        lab.image(2, name)
    return [lab.rule(name, to=[(outage.registry, name)]) for name in names]


def given_up(done: Done) -> list[str]:
    """The messages of what did not arrive; each must be of a registry that was given up."""
    failed = [image for image in done.images if image.outcome.is_failure]
    assert {error_of(image).kind for image in failed} == {"registry down"}
    return [error_of(image).message for image in failed]


@pytest.mark.extended
def test_a_destination_that_comes_back_costs_no_image(lab: SyncLab, outage: Outage) -> None:
    begun = rules_to(lab, outage)
    done = lab.run(*begun, retries=1, on_image=after(5, lambda: outage.begin_for(OUTAGE_S)))
    assert done.outcomes == ["copied"] * len(begun)
    [warning] = done.report.warnings
    assert f"the registry {outage.registry.address} was down for" in warning


def test_a_source_that_comes_back_costs_no_image(lab: SyncLab, outage: Outage) -> None:
    images = [lab.content.image(2) for _ in range(20)]
    for number, image in enumerate(images):
        lab.push(image, f"team/app{number}", to=outage.registry)
    begun = [lab.rule(f"team/app{number}", origin=outage.registry) for number in range(len(images))]
    done = lab.run(*begun, retries=1, on_image=after(3, lambda: outage.begin_for(1.5)))
    assert done.outcomes == ["copied"] * len(begun)
    for number, image in enumerate(images):
        lab.assert_arrived(image, f"team/app{number}")


def test_one_image_is_waited_for_too(lab: SyncLab, outage: Outage) -> None:
    """With one image there is never a second failure to compare the first with."""
    small = lab.image(1, "team/first")
    image = lab.image(6, "team/app")
    begun = [lab.rule(name, to=[(outage.registry, name)]) for name in ("team/first", "team/app")]
    done = lab.run(*begun, retries=0, on_image=after(1, lambda: outage.begin_for(1.0)))
    assert done.outcomes == ["copied", "copied"]
    lab.assert_arrived(small, "team/first", at=outage.registry)
    lab.assert_arrived(image, "team/app", at=outage.registry)


@pytest.mark.extended
def test_a_destination_that_stays_away_fails_with_one_reason_and_the_others_arrive(
    lab: SyncLab, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "OPEN_IMAGES", 8)
    lost = rules_to(lab, outage, 40)
    names = [f"team/other{number}" for number in range(40)]
    others = [lab.image(2, name) for name in names]
    arrive = [lab.rule(name) for name in names]
    began = time.monotonic()
    done = lab.run(*lost, *arrive, exit_code=1, retries=1, give_up_after_s=3.0, on_image=after(5, outage.begin))
    assert time.monotonic() - began < 90
    for name, image in zip(names, others, strict=True):
        lab.assert_arrived(image, name)
    messages = given_up(done)
    assert len(set(messages)) == 1
    assert f"the registry {outage.registry.address} was given up, it did not answer for 3.0 s" in messages[0]
    ended = [image.outcome for image in done.images]
    assert ended.count(Outcome.NOT_TRIED) > ended.count(Outcome.FAILED) > 0


@pytest.mark.extended
def test_one_destination_of_an_image_does_not_hold_the_other(lab: SyncLab, outage: Outage) -> None:
    names = [f"team/app{number}" for number in range(20)]
    images = [lab.image(2, name) for name in names]
    begun = [lab.rule(name, to=[(outage.registry, name), (lab.destination, name)]) for name in names]
    done = lab.run(*begun, exit_code=1, retries=1, give_up_after_s=1.5, on_image=after(4, outage.begin))
    for name, image in zip(names, images, strict=True):
        lab.assert_arrived(image, name)
    assert len(set(given_up(done))) == 1


@pytest.mark.extended
def test_a_source_that_stays_away_fails_with_one_reason_and_the_others_arrive(lab: SyncLab, outage: Outage) -> None:
    outage.registry.behaviour = replace(SLOW, latency_s=0.2)  # it is gone before all of its images are there
    for number in range(20):
        lab.push(lab.content.image(2), f"team/lost{number}", to=outage.registry)
    lost = [lab.rule(f"team/lost{number}", origin=outage.registry) for number in range(20)]
    names = [f"team/other{number}" for number in range(20)]
    others = [lab.image(2, name) for name in names]
    done = lab.run(
        *lost,
        *(lab.rule(name) for name in names),
        exit_code=1,
        retries=1,
        give_up_after_s=1.5,
        on_image=after(3, outage.begin),
    )
    for name, image in zip(names, others, strict=True):
        lab.assert_arrived(image, name)
    assert len(set(given_up(done))) == 1
    assert {error_of(image).origin.value for image in done.images if image.outcome.is_failure} == {"source"}


def test_a_registry_that_was_never_there_is_given_up_at_once(lab: SyncLab, outage: Outage) -> None:
    begun = rules_to(lab, outage, 5)
    outage.begin()
    began = time.monotonic()
    done = lab.run(*begun, exit_code=1, retries=1)
    assert time.monotonic() - began < 60  # and not ten minutes
    assert {image.outcome.is_failure for image in done.images} == {True}
    assert all("refused" in error_of(image).message or "connect" in error_of(image).message for image in done.images)
