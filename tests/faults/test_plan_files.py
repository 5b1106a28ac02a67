"""A plan says what a sync then does: blobs and bytes exactly, requests within 2 %."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.config import Destination, Rule, TagSelection
from image_syncer.embedded import Behaviour, TokenService
from image_syncer.oci import Repository
from image_syncer.telemetry import Outcome
from image_syncer.telemetry.plan_account import account_for, workload_of
from image_syncer.telemetry.plan_file import load_plan
from support.sync_runs import PASSWORD, TAG, USER, SyncLab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from image_syncer.embedded import MadeManifest

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


@pytest.mark.parametrize(("images", "repositories", "registries"), [(IMAGES, REPOSITORIES, 1), (60, 7, 3)])
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


@pytest.fixture
def guarded(lab: SyncLab) -> Callable[[], None]:
    """The destination wants tokens from now on."""

    def begin() -> None:
        lab.destination.behaviour = Behaviour(users={USER: PASSWORD}, bearer=TokenService())
        lab.log_in(lab.destination)

    return begin


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
