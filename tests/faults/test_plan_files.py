"""A plan says what a sync then does: blobs and bytes exactly, requests within 2 %."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Destination, Rule, TagSelection
from image_syncer.embedded import Behaviour, TokenService
from image_syncer.oci import PlatformFilter, Repository, parse_platform
from image_syncer.reporting.chosen_work import planned_work
from image_syncer.reporting.plan_account import account_for, workload_of
from image_syncer.reporting.plan_file import load_plan
from image_syncer.telemetry import Outcome
from support.sync_runs import PASSWORD, TAG, USER, SyncLab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from image_syncer.embedded import MadeManifest
    from support.sync_runs import Done

IMAGES, REPOSITORIES = 1000, 40


def fill(lab: SyncLab, images: int, repositories: int) -> None:
    """A catalog with bases that are shared everywhere, indexes, and images that have several tags."""
    bases = [lab.content.layer(3000 + 500 * number) for number in range(8)]
    made: list[MadeManifest] = []
    for number in range(images):
        own = lab.content.layer(100 + 7 * number)
        if number % 10 == 0:
            image = lab.content.index(platforms=("linux/amd64", "linux/arm64"), shared_layers=(bases[number % 8],))
        elif number % 25 == 3:
            image = made[-1]
        else:
            image = lab.content.image([bases[number % 8], bases[(number + 3) % 8], own])
        made.append(image)
        lab.push(image, f"team/{number % repositories}", (f"v{number}",))


def rules_to(lab: SyncLab, registries: int, repositories: int) -> list[Rule]:
    """Every repository, to the destination and to further ones."""
    places = [lab.destination, *(lab.add_registry() for _ in range(registries - 1))]
    return [
        Rule(
            Repository(lab.source.address, name),
            TagSelection(),
            tuple(Destination(Repository(place.address, name)) for place in places),
        )
        for name in (f"team/{number}" for number in range(repositories))
    ]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("images", "repositories", "registries"),
    [(200, 20, 1), pytest.param(IMAGES, REPOSITORIES, 1, marks=pytest.mark.slow), (60, 7, 3)],
)
def test_a_sync_does_what_its_plan_says(
    lab: SyncLab, tmp_path: Path, images: int, repositories: int, registries: int
) -> None:
    fill(lab, images, repositories)
    rules = rules_to(lab, registries, repositories)
    path = tmp_path / "plan.json"
    planned = lab.run(*rules, dry_run=True, plan_path=str(path))
    plan = load_plan(str(path))
    account = account_for(plan)
    done = lab.run(*rules, workers=2).report.totals
    assert planned.report.totals.outcomes == {Outcome.PLANNED: images * registries}
    assert (account.images, done.outcomes) == (images * registries, {Outcome.COPIED: images * registries})
    assert (account.bytes_to_move, account.blobs_to_move) == (done.bytes_moved, done.blobs_moved)
    assert account.blobs_to_mount == done.blobs_mounted
    assert planned.report.totals.bytes_planned == account.bytes_to_move
    assert account.requests.keys() == done.requests.keys()
    if registries > 1:  # one download serves several destinations, where they ask for it before it begins
        again = done.requests.pop("get blob") - account.requests["get blob"]
        assert 0 <= again <= account.requests["get blob"] * (registries - 1)
    for kind, count in done.requests.items():
        assert account.requests[kind] == pytest.approx(count, rel=0.02), kind
    if registries == 1:
        assert sum(account.requests.values()) == pytest.approx(done.request_count, rel=0.02)
    told = sum(sum(counts.values()) for counts in account.requests_of.values())
    assert told == sum(account.requests.values()) - account.requests["list tags"]
    work = workload_of(plan)
    assert (len(work.images), work.bytes_to_move()) == (images, account.bytes_to_move)
    assert sum(share.size_bytes for share in account.repositories.values()) == account.bytes_to_move
    assert sum(each.blobs for each in account.sizes) == account.blobs == len(plan.blobs)


@pytest.mark.extended
def test_what_is_there_already_is_not_planned_to_move(lab: SyncLab, tmp_path: Path) -> None:
    first, second = lab.image(3, "a"), lab.content.image(2)
    lab.run(lab.rule("a"))
    third = lab.content.image([first.blobs[1], *(lab.content.layer(900) for _ in range(2))])
    lab.push(third, "a", ("new",))
    lab.push(second, "b", ("new",))
    lab.destination.storage.put_blob("b", [second.blobs[1].read()], second.blobs[1].digest)
    path = tmp_path / "plan.json"
    rules = [lab.rule("a", (TAG, "new")), lab.rule("b", ("new",))]
    lab.run(*rules, dry_run=True, plan_path=str(path), exit_code=None)
    plan = load_plan(str(path))
    account = account_for(plan)
    assert [plan.blobs[place].digest for image in plan.planned for place in image.present] == [
        str(first.blobs[1].digest),
        str(second.blobs[1].digest),
    ]
    done = lab.run(*rules, exit_code=None).report.totals
    assert (account.blobs_to_move, account.blobs_present) == (done.blobs_moved, done.blobs_present)
    assert account.bytes_to_move == done.bytes_moved
    assert account.outcomes == {
        **{one: count for one, count in done.outcomes.items() if one is not Outcome.COPIED},
        Outcome.PLANNED: done.outcomes[Outcome.COPIED],
    }


@pytest.mark.extended
def test_what_several_repositories_share_is_moved_once(lab: SyncLab, tmp_path: Path) -> None:
    shared = lab.content.image(2)
    for name in ("a", "b", "c"):
        lab.push(shared, name)
    path = tmp_path / "plan.json"
    lab.run(dry_run=True, plan_path=str(path))
    account = account_for(load_plan(str(path)))
    assert (account.blobs_to_move, account.blobs_to_mount) == (3, 6)
    assert account.shared[0][2] == 3
    assert account.bytes_named == 3 * account.bytes_distinct == 3 * account.bytes_to_move


def carry_out(lab: SyncLab, path: Path, **settings: object) -> Done:
    work = planned_work(load_plan(str(path)))
    return lab.run(*work.rules, exit_code=None, **{"force": work.force, "referrers": work.referrers, **settings})


def test_a_plan_is_carried_out_as_it_stands_whatever_the_source_has_now(lab: SyncLab, tmp_path: Path) -> None:
    moved, still = lab.image(2, "a"), lab.image(2, "b")
    path = tmp_path / "plan.json"
    lab.run(dry_run=True, plan_path=str(path))
    newer = lab.content.image(3)
    lab.push(newer, "a")
    lab.push(lab.content.image(1), "c", ("unplanned",))
    done = carry_out(lab, path)
    lab.assert_arrived(moved, "a")
    lab.assert_arrived(still, "b")
    assert done.report.totals.outcomes == {Outcome.COPIED: 2}
    assert {image.source_moved for image in done.images} == {None, str(newer.digest)}
    (warning,) = done.report.warnings
    assert f"has moved on, and is now {newer.digest}" in warning
    assert carry_out(lab, path).report.totals.outcomes == {Outcome.UNCHANGED: 2}


@pytest.mark.extended
def test_a_plan_whose_image_is_gone_fails_for_that_image(lab: SyncLab, tmp_path: Path) -> None:
    gone = lab.image(1, "a")
    lab.image(1, "b")
    path = tmp_path / "plan.json"
    lab.run(dry_run=True, plan_path=str(path))
    lab.source.storage.delete_manifest("a", gone.digest)
    done = carry_out(lab, path)
    assert done.report.totals.outcomes == {Outcome.FAILED: 1, Outcome.COPIED: 1}
    assert done.error.kind == "not found"


@pytest.mark.extended
def test_a_destination_that_has_moved_on_is_told(lab: SyncLab, tmp_path: Path) -> None:
    planned, other = lab.image(2, "a"), lab.content.image(1)
    path = tmp_path / "plan.json"
    lab.run(dry_run=True, plan_path=str(path))
    lab.push(other, "a", to=lab.destination)
    done = carry_out(lab, path)
    lab.assert_arrived(planned, "a")
    (image,) = done.images
    assert image.reason == f"the destination had nothing when the plan was made, and {other.digest} before this run"
    assert image.replaced_digest == str(other.digest)


@pytest.mark.extended
def test_what_would_be_pushed_is_what_the_plan_says_or_nothing_is(lab: SyncLab, tmp_path: Path) -> None:
    index = lab.push(lab.content.index(platforms=("linux/amd64", "linux/arm64")), "a")
    path = tmp_path / "plan.json"
    lab.run(dry_run=True, plan_path=str(path))
    done = carry_out(lab, path, platform_filter=PlatformFilter(architectures=("arm64",)))
    assert done.error.message.startswith(f"the plan has {index.digest} for it, and with what is given now it would be")
    assert lab.destination.storage.repositories() == []


@pytest.mark.extended
def test_platforms_and_other_tags_of_a_plan_are_those_of_its_rules(lab: SyncLab, tmp_path: Path) -> None:
    index = lab.push(lab.content.index(platforms=("linux/amd64", "linux/arm64")), "a")
    rule = replace(
        lab.rule("a"),
        platforms=(parse_platform("linux/arm64"),),
        destinations=(Destination(Repository(lab.destination.address, "b"), ("other",)),),
    )
    path = tmp_path / "plan.json"
    lab.run(rule, dry_run=True, plan_path=str(path))
    (done,) = carry_out(lab, path).images
    assert done.outcome is Outcome.COPIED
    assert done.destination == f"{lab.destination.address}/b:other"
    assert done.destination_digest == load_plan(str(path)).planned[0].digest != str(index.digest)


@pytest.fixture
def guarded(lab: SyncLab) -> Callable[[], None]:
    """The destination wants tokens from now on."""

    def begin() -> None:
        lab.destination.behaviour = Behaviour(users={USER: PASSWORD}, bearer=TokenService())
        lab.log_in(lab.destination)

    return begin


@pytest.mark.extended
def test_a_repository_that_is_not_there_has_nothing(lab: SyncLab, tmp_path: Path, guarded: Callable[[], None]) -> None:
    guarded()
    lab.image(2, "a")
    path = tmp_path / "plan.json"
    lab.run(dry_run=True, plan_path=str(path))
    plan = load_plan(str(path))
    assert (plan.planned[0].present, account_for(plan).blobs_to_move) == (frozenset(), 3)


def test_a_plan_that_cannot_be_written_is_a_failure_and_leaves_no_file(lab: SyncLab, tmp_path: Path) -> None:
    lab.image(1)
    path = tmp_path / "plan.json"
    path.mkdir()
    with pytest.raises(Exception, match="the plan cannot be written"):
        lab.run(dry_run=True, plan_path=str(path))
    assert [one.name for one in tmp_path.glob("*.partial")] == []
