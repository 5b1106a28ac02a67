"""Which side is ahead of a tag that differs: by what each has of the other, else by when images were created."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, Fault
from support.sync_runs import REPOSITORY

if TYPE_CHECKING:
    from image_syncer.telemetry import ImageResult
    from support.sync_runs import SyncLab

OLD, NEW = "2024-01-02T03:04:05Z", "2025-01-02T03:04:05Z"


def look(lab: SyncLab, **settings: object) -> ImageResult:
    done = lab.run(dry_run=True, tell_ahead=True, retries=0, **settings)
    assert done.at(lab.destination).count("put manifest") == 0
    assert [image["ahead"] for image in done.document["images"]] == [done.image.ahead]
    return done.image


def test_the_source_has_moved_on(lab: SyncLab) -> None:
    before = lab.content.image(1)
    lab.push(before, tags=())
    lab.push(before, to=lab.destination)
    lab.image()
    found = look(lab)
    assert (found.ahead, found.replaced_digest) == ("source", before.digest)
    assert "it has the destination's image, too" in (found.ahead_because or "")


def test_the_destination_has_moved_on(lab: SyncLab) -> None:
    lab.push(lab.image(), tags=(), to=lab.destination)
    lab.push(lab.content.image(1), to=lab.destination)
    found = look(lab)
    assert found.ahead == "destination"
    assert "it has the source's image, too" in (found.ahead_because or "")


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize(("at_source", "ahead"), [(NEW, "source"), (OLD, "destination")])
def test_the_later_image_is_the_newer_one(lab: SyncLab, at_source: str, ahead: str, *, index: bool) -> None:
    at_destination = OLD if at_source == NEW else NEW
    images = [lab.content.image(1, created=time) for time in (at_source, at_destination)]
    if index:
        images = [lab.content.index([image]) for image in images]
    lab.push(images[0])
    lab.push(images[1], to=lab.destination)
    found = look(lab)
    other = "destination" if ahead == "source" else "source"
    assert (found.ahead, found.ahead_because) == (
        ahead,
        f"its image was created 2025-01-02 03:04:05 UTC, that of the {other} 2024-01-02 03:04:05 UTC",
    )


@pytest.mark.parametrize(
    ("times", "because"),
    [
        ((NEW, NEW), "both images say that they were created 2025-01-02 03:04:05 UTC"),
        ((NEW, None), "one of the images does not say when it was created"),
        ((None, None), "neither image says when it was created"),
    ],
)
def test_nobody_can_tell(lab: SyncLab, times: tuple[str | None, str | None], because: str) -> None:
    for time, registry in zip(times, (lab.source, lab.destination), strict=True):
        lab.push(lab.content.image(1, created=time), to=registry)
    found = look(lab)
    assert (found.ahead, found.ahead_because) == ("unknown", because)


def test_a_side_that_does_not_tell_keeps_the_difference_from_nobody(lab: SyncLab) -> None:
    lab.image()
    there = lab.push(lab.content.image(1), to=lab.destination)
    lab.destination.behaviour = Behaviour(faults=(Fault("get manifest", status=403, times=None),))
    found = look(lab)
    assert (found.ahead, found.replaced_digest) == ("unknown", there.digest)
    assert (found.ahead_because or "").startswith("that could not be found out: ")


def test_it_is_asked_for_where_it_is_wanted_only(lab: SyncLab) -> None:
    lab.image()
    lab.push(lab.content.image(1), to=lab.destination)
    done = lab.run(lab.rule(REPOSITORY), dry_run=True)
    assert done.image.ahead is None
    assert done.at(lab.destination).count("get manifest") == 0
