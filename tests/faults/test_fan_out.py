"""One source, three destinations: how often the source is read, and what a slow destination costs the others."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.sync_runs import TRUSTING, Done, SyncLab

from image_syncer.embedded import Behaviour, MadeManifest

MIB = 2**20
LAYER = 32 * MIB
SLOW = Behaviour(bandwidth_bytes_per_s=6 * MIB)
CRAWLING = Behaviour(bandwidth_bytes_per_s=MIB // 2)


def three_ways(lab: SyncLab, slow: Behaviour, **settings: Any) -> tuple[MadeManifest, Done]:
    """One image with one large layer, from the source to two quick destinations and a slow one."""
    image = lab.image(1, layer_bytes=LAYER)
    others = [lab.add_registry(TRUSTING), lab.add_registry(slow)]
    to = [(registry, "team/app") for registry in (lab.destination, *others)]
    done = lab.run(lab.rule(to=to), window_bytes=MIB, **settings)
    for registry, name in to:
        lab.assert_arrived(image, name, at=registry)
    return image, done


def layer_reads(done: Done, lab: SyncLab) -> int:
    """How often the source was asked for a blob, the configuration (once, it is small) not counted."""
    return done.at(lab.source).count("get blob") - 1


def test_the_source_is_read_once_while_the_slowest_stays_within_the_bound(lab: SyncLab) -> None:
    image, done = three_ways(lab, SLOW, fan_out_lag_s=120)
    assert layer_reads(done, lab) == 1
    assert done.at(lab.source).bytes_out == sum(blob.size for blob in image.all_blobs())
    assert [len(transfer["destinations"]) for transfer in done.document["transfers"]] == [3, 3]


@pytest.mark.extended
def test_a_destination_beyond_the_bound_is_split_off_and_the_source_read_twice(lab: SyncLab) -> None:
    def hurry(_: object) -> None:
        slow = lab.registries[-1]
        if slow.counters.requests.get("put upload", 0) > 1:
            slow.behaviour = TRUSTING  # for the next upload; a body that has begun keeps its pace

    image, done = three_ways(lab, CRAWLING, fan_out_lag_s=1, on_progress=hurry, progress_interval_s=0.05)
    assert layer_reads(done, lab) == 2
    slow = lab.registries[-1]
    assert done.at(slow).count("put upload") == 3  # the configuration, the one that was broken off, its own
    assert done.at(slow).count("cancel upload") == 1
    split, alone = sorted(
        (transfer for transfer in done.document["transfers"] if transfer["size_bytes"] >= LAYER),
        key=lambda transfer: -len(transfer["destinations"]),
    )
    assert sorted(split["outcomes"]) == ["moved", "moved", "split off"]
    assert (alone["outcomes"], len(alone["destinations"])) == (["moved"], 1)
    assert alone["began_s"] < split["ended_s"]  # it does not wait for the others to be done
    assert done.report.totals.bytes_moved == 3 * sum(blob.size for blob in image.all_blobs())


@pytest.mark.extended
def test_destinations_that_are_all_slow_are_not_split(lab: SyncLab) -> None:
    lab.destination.behaviour = Behaviour(bandwidth_bytes_per_s=8 * MIB)
    image = lab.image(1, layer_bytes=LAYER)
    other = lab.add_registry(Behaviour(bandwidth_bytes_per_s=8 * MIB))
    to = [(lab.destination, "team/app"), (other, "team/app")]
    done = lab.run(lab.rule(to=to), window_bytes=MIB, fan_out_lag_s=3)
    assert layer_reads(done, lab) == 1
    lab.assert_arrived(image, at=other)
