"""Manifests of 2014: copied as they are, and skipped where they are not taken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from support.sync_runs import SyncLab


def test_a_destination_that_takes_none(lab: SyncLab) -> None:
    old, new = lab.push(lab.content.schema1()), lab.push(lab.content.image(1), "team/new")
    lab.destination.behaviour = replace(Behaviour(), accepts_schema1=False)
    done = lab.run()
    found = {image.source.rpartition("/")[2]: image for image in done.images}
    skipped = found["app:v1"]
    assert (skipped.outcome.value, found["new:v1"].outcome.value) == ("skipped", "copied")
    assert "takes no schema 1 manifests" in str(skipped.reason)
    assert "400 MANIFEST_INVALID: schema 1 is no longer taken" in str(skipped.reason)
    assert (skipped.source_digest, skipped.destination_digest, skipped.pinned) == (old.digest, None, None)
    assert skipped.blobs_moved == len(old.blobs)
    assert lab.destination.storage.tag(REPOSITORY, TAG) is None
    lab.assert_arrived(new, "team/new")


@pytest.mark.extended
def test_one_of_two_destinations_takes_it(lab: SyncLab) -> None:
    old, other = lab.push(lab.content.schema1()), lab.add_registry()
    lab.destination.behaviour = replace(Behaviour(), accepts_schema1=False)
    done = lab.run(lab.rule(to=[(lab.destination, REPOSITORY), (other, REPOSITORY)]))
    assert done.outcomes == ["copied", "skipped"]
    lab.assert_arrived(old, at=other)


@pytest.mark.extended
@pytest.mark.parametrize(
    ("status", "code"), [(415, ""), (400, "MANIFEST_UNVERIFIED"), (404, "UNSUPPORTED"), (405, "UNSUPPORTED")]
)
def test_the_words_of_other_registries(lab: SyncLab, status: int, code: str) -> None:
    lab.push(lab.content.schema1())
    body = f'{{"errors": [{{"code": "{code}"}}]}}' if code else ""
    lab.destination.behaviour = Behaviour(faults=(Fault("put manifest", status=status, body=body, times=None),))
    assert lab.run().outcomes == ["skipped"]


@pytest.mark.extended
@pytest.mark.parametrize(("status", "code"), [(403, "DENIED"), (413, ""), (500, "UNKNOWN")])
def test_what_else_keeps_it_from_arriving_is_a_failure(lab: SyncLab, status: int, code: str) -> None:
    lab.push(lab.content.schema1())
    body = f'{{"errors": [{{"code": "{code}"}}]}}' if code else ""
    lab.destination.behaviour = Behaviour(faults=(Fault("put manifest", status=status, body=body, times=None),))
    assert lab.run(exit_code=1, retries=0).outcomes == ["failed"]


@pytest.mark.extended
def test_other_kinds_that_are_refused_are_failures(lab: SyncLab) -> None:
    lab.image(1)
    body = '{"errors": [{"code": "MANIFEST_INVALID"}]}'
    lab.destination.behaviour = Behaviour(faults=(Fault("put manifest", status=400, body=body, times=None),))
    assert lab.run(exit_code=1).outcomes == ["failed"]
