"""How many requests a run makes, by the registries' own counters: the floor, and nothing above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, FaultKind, TokenService
from image_syncer.oci import PlatformFilter, parse_platform
from support.sync_runs import PASSWORD, USER

if TYPE_CHECKING:
    from support.sync_runs import SyncLab


def reads(blobs: int, *, manifests: int = 1, tags: int = 1) -> dict[str, int]:
    """What a source is asked for, where everything moves."""
    return {"head manifest": tags, "get manifest": manifests, "get blob": blobs}


def writes(blobs: int, *, manifests: int = 1, tags: int = 1) -> dict[str, int]:
    """What a destination is asked for, where everything moves."""
    return {"head manifest": tags, "start upload": blobs, "put upload": blobs, "put manifest": manifests}


@pytest.mark.parametrize("layers", [1, 5])
def test_a_cold_image_takes_four_requests_and_three_for_each_blob(lab: SyncLab, layers: int) -> None:
    image = lab.image(layers)
    blobs = layers + 1
    done = lab.run()
    source, destination = done.at(lab.source), done.at(lab.destination)
    assert source.requests == reads(blobs)
    assert destination.requests == writes(blobs)
    assert source.total_requests + destination.total_requests == 4 + 3 * blobs
    assert done.report.totals.requests == {**reads(blobs), **writes(blobs), "head manifest": 2}
    assert source.bytes_out == destination.bytes_in == image.size_bytes == done.report.totals.bytes_moved
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_cold_index_of_three_platforms_takes_ten_and_three_for_each_distinct_blob(lab: SyncLab) -> None:
    index = lab.push(lab.content.index(shared_layers=[lab.content.layer(), lab.content.layer()]))
    blobs = len(index.all_blobs())
    assert blobs == 2 + 3 * 2  # two layers in common; a layer and a config for each platform
    done = lab.run()
    source, destination = done.at(lab.source), done.at(lab.destination)
    assert source.requests == reads(blobs, manifests=4)
    assert destination.requests == writes(blobs, manifests=4)
    assert source.total_requests + destination.total_requests == 10 + 3 * blobs
    lab.assert_arrived(index)


def test_unchanged_tags_take_two_requests_each_and_no_body(lab: SyncLab) -> None:
    for tag in ("v1", "v2", "v3"):
        lab.push(lab.content.index(attestations=True), tags=[tag])
    lab.run()
    done = lab.run()
    assert done.outcomes == ["unchanged"] * 3
    assert done.at(lab.source).requests == done.at(lab.destination).requests == {"head manifest": 3}
    assert done.at(lab.source).bytes_out == done.at(lab.destination).bytes_in == 0


@pytest.mark.extended
def test_an_index_that_a_filter_leaves_unchanged_takes_one_request_more(lab: SyncLab) -> None:
    lab.push(lab.content.index(platforms=("linux/amd64", "linux/arm64", "linux/s390x")))
    wanted = PlatformFilter((parse_platform("linux/amd64"), parse_platform("linux/arm64")))
    first = lab.run(platform_filter=wanted)
    assert first.outcomes == ["copied"]
    assert first.image.source_digest != first.image.destination_digest
    done = lab.run(platform_filter=wanted)
    assert done.outcomes == ["unchanged"]
    assert done.image.destination_digest == first.image.destination_digest
    assert done.at(lab.source).requests == {"head manifest": 1, "get manifest": 1}
    assert done.at(lab.destination).requests == {"head manifest": 1}


def test_a_second_repository_of_a_registry_mounts_what_the_first_one_got(lab: SyncLab) -> None:
    image = lab.content.image(3)
    for repository in ("team/one", "team/two"):
        lab.push(image, repository)
    done = lab.run()
    source, destination = done.at(lab.source), done.at(lab.destination)
    assert source.count("get blob") == 4
    assert destination.requests == {**writes(4, manifests=2, tags=2), "start upload": 8}
    assert destination.bytes_in == source.bytes_out == image.size_bytes
    assert destination.statuses["start upload 201"] == destination.statuses["start upload 202"] == 4
    assert (done.report.totals.blobs_moved, done.report.totals.blobs_mounted) == (4, 4)
    for repository in ("team/one", "team/two"):
        lab.assert_arrived(image, repository)


@pytest.mark.extended
def test_several_tags_of_one_digest_move_its_blobs_once(lab: SyncLab) -> None:
    image = lab.push(lab.content.index(), tags=["v1", "v1.2", "latest"])
    blobs = len(image.all_blobs())
    done = lab.run()
    destination = done.at(lab.destination)
    assert destination.requests == writes(blobs, manifests=3 + 3, tags=3)  # each child once, the index once a tag
    assert done.at(lab.source).count("get blob") == blobs
    for tag in ("v1", "v1.2", "latest"):
        lab.assert_arrived(image, tag=tag)


@pytest.mark.extended
def test_a_rerun_after_a_failure_moves_nothing_twice(lab: SyncLab) -> None:
    image = lab.image(4, layer_bytes=20_000)
    missing = image.blobs[-1]  # small blobs go in the order of the manifest
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", times=None, match=missing.digest, status=403),))
    lab.run(exit_code=1, proc=1)  # one after the other: the last is the one that fails
    lab.source.behaviour = Behaviour()
    done = lab.run()
    source, destination = done.at(lab.source), done.at(lab.destination)
    assert source.count("get blob") == destination.count("put upload") == 1
    assert source.bytes_out == destination.bytes_in == missing.size
    assert destination.statuses["start upload 201"] == 4
    assert (done.image.blobs_moved, done.image.blobs_present) == (1, 4)
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_rerun_after_the_manifest_was_refused_moves_no_byte(lab: SyncLab) -> None:
    image = lab.image(3)
    lab.destination.behaviour = Behaviour(faults=(Fault("put manifest", status=400, times=None),))
    lab.run(exit_code=1)
    lab.destination.behaviour = Behaviour()
    done = lab.run()
    assert done.at(lab.source).requests == {"head manifest": 1, "get manifest": 1}
    assert done.at(lab.destination).requests == {"head manifest": 1, "start upload": 4, "put manifest": 1}
    assert done.report.totals.bytes_moved == 0
    lab.assert_arrived(image)


@pytest.mark.extended
def test_a_blob_whose_answer_was_lost_is_not_sent_again(lab: SyncLab) -> None:
    image = lab.image(2)
    lab.destination.behaviour = Behaviour(faults=(Fault("put upload", FaultKind.LOST_ANSWER),))
    done = lab.run()
    assert done.at(lab.destination).statuses["put upload 201"] == 2
    assert done.at(lab.destination).bytes_in == image.size_bytes
    assert done.image.blobs_present == 1
    lab.assert_arrived(image)


@pytest.mark.extended
@pytest.mark.parametrize("layers", [1, 8])
def test_one_token_serves_one_repository_and_right_however_many_blobs(lab: SyncLab, layers: int) -> None:
    image = lab.image(layers)
    guarded = Behaviour(users={USER: PASSWORD}, bearer=TokenService(), check_references=False)
    lab.source.behaviour = lab.destination.behaviour = guarded
    lab.log_in(lab.source, lab.destination)
    done = lab.run(workers=2)
    source, destination = done.at(lab.source), done.at(lab.destination)
    assert (source.count("get token"), source.refused) == (1, 1)
    assert (destination.count("get token"), destination.refused) == (2, 1)  # one to pull for HEAD, one to push
    assert source.requests == {**reads(layers + 1), "head manifest": 2, "get token": 1}
    lab.assert_arrived(image)


@pytest.mark.extended
def test_tokens_grow_with_repositories_and_not_with_tags(lab: SyncLab) -> None:
    for repository in ("team/one", "team/two"):
        for number in range(4):
            lab.push(lab.content.image(), repository, [f"v{number}"])
    guarded = Behaviour(users={USER: PASSWORD}, bearer=TokenService(), check_references=False)
    lab.source.behaviour = lab.destination.behaviour = guarded
    lab.log_in(lab.source, lab.destination)
    done = lab.run(workers=2)
    assert (done.at(lab.source).tokens, done.at(lab.source).refused) == (2, 1)
    assert (done.at(lab.destination).tokens, done.at(lab.destination).refused) == (4, 1)


@pytest.mark.extended
def test_basic_takes_one_refusal_for_a_registry(lab: SyncLab) -> None:
    image = lab.image(3)
    lab.source.behaviour = Behaviour(users={USER: PASSWORD})
    lab.destination.behaviour = Behaviour(users={USER: PASSWORD}, check_references=False)
    lab.log_in(lab.source, lab.destination)
    done = lab.run(workers=2)
    assert done.at(lab.source).refused == done.at(lab.destination).refused == 1
    assert done.at(lab.source).requests == {**reads(4), "head manifest": 2}
    assert done.at(lab.destination).requests == {**writes(4), "head manifest": 2}
    lab.assert_arrived(image)


def test_two_destinations_are_fed_by_one_download(lab: SyncLab) -> None:
    other = lab.add_registry()
    image = lab.image(3, layer_bytes=100_000)
    done = lab.run(lab.rule(to=[(lab.destination, "a/one"), (other, "b/two")]))
    assert done.outcomes == ["copied", "copied"]
    assert done.at(lab.source).requests == reads(4)
    assert done.at(lab.source).bytes_out == image.size_bytes
    for registry, repository in ((lab.destination, "a/one"), (other, "b/two")):
        assert done.at(registry).requests == writes(4)
        lab.assert_arrived(image, repository, at=registry)


@pytest.mark.extended
def test_two_destinations_are_fed_by_one_download_also_where_the_workers_wait_for_work(lab: SyncLab) -> None:
    slow, other = lab.add_registry(Behaviour(latency_s=0.5)), lab.add_registry()
    image = lab.push(lab.content.image(3, layer_bytes=100_000), to=slow)
    lab.image(repository="team/first")  # its blobs get the workers started, and are there before the other's are known
    both = [(lab.destination, "a/one"), (other, "b/two")]
    done = lab.run(lab.rule("team/first"), lab.rule(origin=slow, to=both), streams=16)
    assert done.at(slow).count("get blob") == 4
    assert done.at(slow).bytes_out == image.size_bytes


@pytest.mark.extended
def test_two_repositories_of_one_destination_are_fed_by_one_upload(lab: SyncLab) -> None:
    image = lab.image(3)
    done = lab.run(lab.rule(to=[(lab.destination, "a/one"), (lab.destination, "b/two")]))
    assert done.at(lab.source).requests == reads(4)
    assert done.at(lab.destination).bytes_in == image.size_bytes
    assert done.at(lab.destination).requests == {**writes(4, manifests=2, tags=2), "start upload": 8}


def test_a_dry_run_changes_nothing_and_starts_no_worker(lab: SyncLab) -> None:
    image = lab.image(3)
    done = lab.run(dry_run=True)
    assert done.outcomes == ["would be copied"]
    assert done.report.totals.bytes_planned == image.size_bytes
    assert done.at(lab.source).requests == {"head manifest": 1, "get manifest": 1}
    assert done.at(lab.destination).requests == {"head manifest": 1}
    assert "worker" not in done.log


@pytest.mark.extended
def test_force_writes_the_manifest_again_and_moves_no_blob(lab: SyncLab) -> None:
    lab.image(2)
    lab.run()
    done = lab.run(force=True)
    assert done.outcomes == ["copied"]
    assert done.at(lab.source).requests == {"head manifest": 1, "get manifest": 1}
    assert done.at(lab.destination).requests == {"head manifest": 1, "start upload": 3, "put manifest": 1}


def test_tags_that_are_listed_come_in_pages(lab: SyncLab) -> None:
    image = lab.content.image(1)
    lab.push(image, tags=[f"v{number:03}" for number in range(5)])
    lab.source.behaviour = Behaviour(max_page_size=2)
    done = lab.run(lab.rule(tags=()))
    assert done.outcomes == ["copied"] * 5
    assert done.at(lab.source).count("list tags") == 3
