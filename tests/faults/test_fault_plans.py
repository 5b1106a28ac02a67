"""Faults of every kind at every request of a larger run: all arrives, or is told and leaves nothing half done."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault, FaultKind
from support.sync_runs import TRUSTING

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.sync_runs import SyncLab

READS = ("head manifest", "get manifest", "get blob")
WRITES = ("head manifest", "start upload", "put upload", "put manifest")
IN_A_BLOB = (FaultKind.RESET, FaultKind.SHORT_BODY, FaultKind.WRONG_BYTES)
LAYER_BYTES = 400_000
STATUSES = (500, 502, 503, 504)


def plan(chance: random.Random, operations: tuple[str, ...], times: int) -> tuple[Fault, ...]:
    """`times` faults at each of `operations`, spread over the run."""
    faults = []
    for operation in operations:
        for _ in range(times):
            kinds = [FaultKind.STATUS, FaultKind.RESET]
            if operation == "get blob":
                kinds += IN_A_BLOB
            elif operation in WRITES and operation != "head manifest":
                kinds.append(FaultKind.LOST_ANSWER)
            faults.append(
                Fault(
                    operation,
                    chance.choice(kinds),
                    skip=chance.randrange(3),
                    status=chance.choice(STATUSES),
                    after_bytes=chance.randrange(LAYER_BYTES),
                )
            )
    return tuple(faults)


def push_some(lab: SyncLab) -> dict[tuple[str, str], MadeManifest]:
    """Images of several kinds, with layers in common, by repository and tag."""
    content = lab.content
    base = [content.layer(LAYER_BYTES), content.layer(1000)]
    images = {
        ("team/one", "v1"): content.image([*base, content.layer(LAYER_BYTES)]),
        ("team/one", "v2"): content.index(shared_layers=base, attestations=True),
        ("team/two", "v1"): content.image([*base, content.empty_layer()]),
        ("team/two", "nested"): content.nested_index(),
        ("team/three", "docker"): content.image(3, layer_bytes=LAYER_BYTES, docker=True),
    }
    for (repository, tag), image in images.items():
        lab.push(image, repository, [tag])
    return images


@pytest.mark.parametrize("seed", range(3))
def test_everything_arrives_where_tries_are_enough(lab: SyncLab, seed: int) -> None:
    images = push_some(lab)
    chance = random.Random(seed)
    lab.source.behaviour = Behaviour(faults=plan(chance, READS, 2))
    lab.destination.behaviour = Behaviour(faults=plan(chance, WRITES, 2))
    lab.run(workers=2, retries=20)
    for (repository, tag), image in images.items():
        lab.assert_arrived(image, repository, tag)


@pytest.mark.parametrize("seed", range(3))
def test_what_fails_is_told_and_a_rerun_finishes_the_work(lab: SyncLab, seed: int) -> None:
    images = push_some(lab)
    chance = random.Random(seed)
    lab.source.behaviour = Behaviour(faults=plan(chance, READS, 2))
    lab.destination.behaviour = replace(TRUSTING, faults=plan(chance, WRITES, 2))
    first = lab.run(exit_code=1, workers=2, retries=0)
    lab.source.behaviour, lab.destination.behaviour = Behaviour(), Behaviour()
    done = lab.run(workers=2)
    assert done.outcomes.count("copied") == first.outcomes.count("failed")
    for (repository, tag), image in images.items():
        lab.assert_arrived(image, repository, tag)
