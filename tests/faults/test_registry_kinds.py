"""What a registry cannot do is known by its profile, or learnt once and remembered in the journal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, RateLimit
from image_syncer.errors import RateLimitedError
from image_syncer.registry import (
    GENERIC,
    PROFILES,
    Mounts,
    Operation,
)
from image_syncer.registry.profiles.profile import Limit
from support.sync_runs import PASSWORD, TRUSTING, USER

if TYPE_CHECKING:
    from pathlib import Path

    from support.sync_runs import SyncLab

FOREVER = None
MIB = 2**20
NO_HEAD = Fault("head manifest", status=405, times=FOREVER)


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state.db")


# Manifests


@pytest.mark.extended
def test_a_source_without_head_is_asked_by_get_at_once_the_next_time(lab: SyncLab, state: str) -> None:
    lab.source.behaviour = Behaviour(faults=(NO_HEAD,))
    lab.image(1, "team/one")
    assert lab.run(state_path=state).at(lab.source).count("head manifest") == 1
    image = lab.image(1, "team/two")
    done = lab.run(lab.rule("team/two"), state_path=state)
    assert (done.at(lab.source).count("head manifest"), done.at(lab.source).count("get manifest")) == (0, 1)
    lab.assert_arrived(image, "team/two")


@pytest.mark.extended
def test_a_destination_without_head_is_asked_by_get(lab: SyncLab, state: str) -> None:
    lab.image(1)
    lab.run()
    lab.destination.behaviour = replace(TRUSTING, faults=(NO_HEAD,))
    done = lab.run(state_path=state)
    assert done.outcomes == ["unchanged"]
    assert done.at(lab.destination).requests == {"head manifest": 1, "get manifest": 1}
    other = lab.image(1, "team/other")
    done = lab.run(lab.rule("team/other"), state_path=state)
    assert done.at(lab.destination).count("head manifest") == 0
    lab.assert_arrived(other, "team/other")


@pytest.mark.extended
def test_profile_that_knows_better_spares_the_head(lab: SyncLab) -> None:
    image = lab.image(1)
    for registry in (lab.source, lab.destination):
        lab.enter(registry, profile=replace(GENERIC, heads_manifests=False))
    done = lab.run()
    assert [done.at(registry).count("head manifest") for registry in (lab.source, lab.destination)] == [0, 0]
    lab.assert_arrived(image)
    assert lab.run().outcomes == ["unchanged"]


# Mounts


def shared_image(lab: SyncLab, repositories: list[str]) -> None:
    image = lab.content.image(3)
    for name in repositories:
        lab.push(image, name)


@pytest.mark.parametrize("status", [400, 401, 405, 500])
def test_mounts_that_are_refused_are_tried_no_more(lab: SyncLab, state: str, status: int) -> None:
    lab.destination.behaviour = replace(TRUSTING, mount_status=status)
    names = [f"team/{number}" for number in range(4)]
    shared_image(lab, names)
    lab.run(state_path=state)
    other = lab.image(3, "other/app")
    shared_image(lab, ["other/one", "other/two"])
    done = lab.run(*(lab.rule(f"other/{name}") for name in ("app", "one", "two")), state_path=state)
    lab.assert_arrived(other, "other/app")
    # One POST for each blob: neither one that is refused, nor one for the session after it.
    assert done.at(lab.destination).count("start upload") == done.at(lab.destination).count("put upload") == 12
    assert done.at(lab.destination).count("head blob") <= 12  # until the first of a repository was not there


@pytest.mark.extended
def test_where_nothing_is_mounted_nobody_waits_for_a_mount(lab: SyncLab) -> None:
    lab.destination.behaviour = replace(TRUSTING, mounts=False)
    lab.enter(lab.destination, profile=replace(GENERIC, mounts=Mounts.NOWHERE, mounts_from_itself=False))
    shared_image(lab, ["team/one", "team/two"])
    done = lab.run()
    assert done.at(lab.destination).count("put upload") == 8
    assert done.at(lab.destination).count("start upload") == 8
    assert not any(image.blobs_mounted for image in done.images)


@pytest.mark.extended
def test_where_nothing_is_mounted_one_download_serves_several_repositories(lab: SyncLab) -> None:
    lab.enter(lab.destination, profile=replace(GENERIC, mounts=Mounts.NOWHERE))
    image = lab.push(lab.content.image([lab.content.layer(3 * MIB)]))
    names = ["team/one", "team/two", "team/three"]
    done = lab.run(lab.rule(to=[(lab.destination, name) for name in names]))
    assert done.at(lab.destination).count("put upload") == 6
    for name in names:
        lab.assert_arrived(image, name)


@pytest.mark.extended
def test_blobs_are_mounted_within_an_owner_only(lab: SyncLab) -> None:
    lab.enter(lab.destination, profile=replace(GENERIC, mounts=Mounts.SAME_OWNER))
    shared_image(lab, ["me/one", "me/two", "you/one", "you/two"])
    done = lab.run()
    assert done.at(lab.destination).count("put upload") == 8
    assert sum(image.blobs_mounted for image in done.images) == 8


@pytest.mark.extended
def test_blobs_that_are_there_are_found_by_head_where_mounts_do_not_tell(lab: SyncLab) -> None:
    lab.destination.behaviour = replace(TRUSTING, mounts=False)
    lab.enter(lab.destination, profile=PROFILES["ecr"])
    image = lab.content.image(4)
    lab.push(image)
    lab.run()
    storage = lab.destination.storage
    storage.delete_tag("team/app", "v1")
    storage.delete_manifest("team/app", image.digest)
    done = lab.run()
    assert done.at(lab.destination).count("head blob") == 5
    assert done.at(lab.destination).count("put upload") == 0
    lab.assert_arrived(image)


# Uploads


@pytest.mark.extended
def test_pieces_are_never_tried_where_the_profile_knows_that_they_are_refused(lab: SyncLab) -> None:
    image = lab.push(lab.content.image([lab.content.layer(3 * MIB)]))
    lab.enter(lab.destination, pieces_above=MIB, profile=PROFILES["gar"])
    done = lab.run()
    assert done.at(lab.destination).count("patch upload") == 0
    lab.assert_arrived(image)


def test_pieces_have_the_size_of_the_profile(lab: SyncLab) -> None:
    image = lab.push(lab.content.image([lab.content.layer(9 * MIB)]))
    lab.enter(lab.destination, pieces_above=MIB, profile=PROFILES["acr-azure"])
    done = lab.run()
    assert done.at(lab.destination).count("patch upload") == 3
    lab.assert_arrived(image)


@pytest.mark.extended
@pytest.mark.parametrize("cancels", [True, False])
def test_uploads_are_cancelled_where_that_works(lab: SyncLab, cancels: bool) -> None:
    image = lab.content.image([lab.content.layer(3 * MIB)])
    lab.push(image)
    lab.source.storage.delete_blob("team/app", image.blobs[1].digest)
    lab.enter(lab.destination, profile=replace(GENERIC, cancels_uploads=cancels))
    done = lab.run(exit_code=1)
    assert (done.at(lab.destination).count("cancel upload") > 0) is cancels


# Limits


@pytest.mark.extended
def test_published_limit_of_an_operation_is_kept_and_nothing_is_refused(lab: SyncLab) -> None:
    profile = replace(GENERIC, limits=(Limit(frozenset({Operation.PUT_MANIFEST}), 10.0),))
    lab.enter(lab.destination, profile=profile)
    image = lab.content.image(1)
    tags = [f"v{number}" for number in range(20)]
    lab.push(image, tags=tags)
    lab.destination.behaviour = replace(TRUSTING, rate_limits=(RateLimit(("put manifest",), burst=10, per_s=10.0),))
    done = lab.run(lab.rule(tags=tags))
    assert done.at(lab.destination).statuses.get("put manifest 429", 0) == 0
    assert done.report.seconds > 1
    assert f"{lab.destination.address} (put manifest)" in done.document["limits"]


# Recognition


def test_a_registry_is_recognised_by_its_challenge_and_its_refusal_explained(lab: SyncLab) -> None:
    lab.image(1)
    lab.destination.behaviour = replace(TRUSTING, users={USER: PASSWORD}, basic_realm="harbor")
    lab.log_in(lab.destination)
    body = '{"errors":[{"code":"NOT_FOUND","message":"project team not found"}]}'
    missing = Fault("start upload", status=404, body=body, times=FOREVER)
    lab.destination.behaviour = replace(lab.destination.behaviour, faults=(missing,))
    done = lab.run(exit_code=1)
    assert "The project team does not exist, and a push does not create it: create it in Harbor" in str(done.error)


@pytest.mark.extended
def test_blobs_do_not_wait_for_a_limit_on_manifests(lab: SyncLab) -> None:
    """Docker Hub counts pulls by their manifests; who has got one may have its blobs."""
    for name in ("first", "second"):
        lab.image(2, name)
    limit = RateLimit(("get manifest",), burst=1, per_s=0.0, retry_after_s=2)
    lab.source.behaviour = Behaviour(rate_limits=(limit,))
    lab.enter(lab.source, profile=PROFILES["hub"])
    done = lab.run(lab.rule("first"), lab.rule("second"), retries=0, retry_for_s=1.0, exit_code=1)
    assert done.outcomes == ["copied", "failed"]
    assert isinstance(done.error, RateLimitedError)
