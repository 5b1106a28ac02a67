"""Tags that have other content at the destination: overwritten, left, refused, or kept under another tag."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from image_syncer import load_report
from image_syncer.config import parse_on_conflict
from image_syncer.embedded import Behaviour, Fault
from image_syncer.reporting.chosen_work import find_unfinished
from image_syncer.telemetry import Outcome
from support.sync_runs import REPOSITORY

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.sync_runs import SyncLab

TAGS = ["same", "other", "new"]


@pytest.fixture
def images(lab: SyncLab) -> dict[str, MadeManifest]:
    """At the source under TAGS; at the destination one is the same, one is another, one is not there."""
    made = {tag: lab.push(lab.content.image(1), tags=(tag,)) for tag in TAGS}
    lab.push(made["same"], tags=("same",), to=lab.destination)
    made["before"] = lab.push(lab.content.index(), tags=("other",), to=lab.destination)
    return made


def outcomes(lab: SyncLab, policy: str, *, exit_code: int = 0, **settings: object) -> dict[str, tuple[Outcome, str]]:
    done = lab.run(
        lab.rule(tags=TAGS), exit_code=exit_code, on_conflict=parse_on_conflict(policy), retries=0, **settings
    )
    return {image.source.rpartition(":")[2]: (image.outcome, image.reason or "") for image in done.images}


def tag(lab: SyncLab, name: str) -> str | None:
    return lab.destination.storage.tag(REPOSITORY, name)


def test_skip(lab: SyncLab, images: dict[str, MadeManifest]) -> None:
    found = outcomes(lab, "skip")
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "same": Outcome.UNCHANGED,
        "other": Outcome.SKIPPED,
        "new": Outcome.COPIED,
    }
    assert str(images["before"].digest) in found["other"][1]
    assert (tag(lab, "other"), tag(lab, "new")) == (images["before"].digest, images["new"].digest)


@pytest.mark.extended
def test_skip_moves_no_byte_of_what_is_skipped(lab: SyncLab, images: dict[str, MadeManifest]) -> None:
    done = lab.run(lab.rule(tags=["other"]), on_conflict=parse_on_conflict("skip"))
    assert done.at(lab.source).count("get blob") == 0
    assert done.at(lab.destination).count("put manifest") == 0
    assert images["other"].digest != tag(lab, "other")


def test_fail(lab: SyncLab, images: dict[str, MadeManifest]) -> None:
    found = outcomes(lab, "fail", exit_code=1)
    assert found["other"][0] is Outcome.FAILED
    assert "--on-conflict fail lets none be overwritten" in found["other"][1]
    assert (tag(lab, "other"), tag(lab, "new")) == (images["before"].digest, images["new"].digest)
    left = find_unfinished(load_report(str(lab.report_path)))
    assert str(left.on_conflict) == "fail"


@pytest.mark.parametrize("force", [False, True])
def test_backup(lab: SyncLab, images: dict[str, MadeManifest], *, force: bool) -> None:
    found = outcomes(lab, "backup:{tag}.{digest}", force=force)
    before = images["before"]
    kept = f"other.{before.digest.hex[:12]}"
    assert found["other"] == (Outcome.COPIED, f"what was there is kept under the tag {kept}")
    assert found["same"][0] is (Outcome.COPIED if force else Outcome.UNCHANGED)
    assert found["same"][1] == found["new"][1] == ""
    assert (tag(lab, "other"), tag(lab, kept)) == (images["other"].digest, before.digest)
    assert sorted(lab.destination.storage.tags(REPOSITORY)) == sorted([*TAGS, kept])


@pytest.mark.extended
def test_a_backup_that_is_there_already(lab: SyncLab, images: dict[str, MadeManifest]) -> None:
    before = images["before"]
    lab.push(before, tags=("keep-other",), to=lab.destination)
    done = lab.run(lab.rule(tags=["other"]), on_conflict=parse_on_conflict("backup:keep-{tag}"))
    assert done.at(lab.destination).count("put manifest") == 1
    assert tag(lab, "other") == images["other"].digest


@pytest.mark.extended
def test_a_backup_tag_that_is_taken(lab: SyncLab, images: dict[str, MadeManifest]) -> None:
    lab.push(images["same"], tags=("keep-other",), to=lab.destination)
    found = outcomes(lab, "backup:keep-{tag}", exit_code=1)
    assert found["other"] == (Outcome.FAILED, found["other"][1])
    assert "the tag keep-other has other content" in found["other"][1]
    assert tag(lab, "other") == images["before"].digest


@pytest.mark.extended
@pytest.mark.parametrize("tags", [["v1", "v1-old"], ["v1-old", "v1"]])
def test_a_backup_and_an_image_of_the_run_do_not_share_a_tag(lab: SyncLab, tags: list[str]) -> None:
    before = lab.push(lab.content.image(1), tags=("v1",), to=lab.destination)
    made = {name: lab.push(lab.content.image(1), tags=(name,)) for name in tags}
    lab.destination.behaviour = replace(lab.destination.behaviour, latency_s=0.05)  # all look before any writes
    done = lab.run(lab.rule(tags=tags), exit_code=1, retries=0, on_conflict=parse_on_conflict("backup:{tag}-old"))
    assert done.outcomes == ["copied", "failed"]
    copied = next(image.source.rpartition(":")[2] for image in done.images if image.outcome is Outcome.COPIED)
    assert tag(lab, copied) == made[copied].digest
    assert (tag(lab, "v1"), tag(lab, "v1-old")) in [
        (before.digest, made["v1-old"].digest),  # nothing was kept, and so nothing overwritten
        (made["v1"].digest, before.digest),
    ]


@pytest.mark.extended
def test_the_tag_of_a_backup_is_another_one(lab: SyncLab) -> None:
    before = lab.content.image(1)
    name = before.digest.hex[:12]
    lab.push(before, tags=(name,), to=lab.destination)
    lab.push(lab.content.image(1), tags=(name,))
    lab.run(lab.rule(tags=[name]), exit_code=1, retries=0, on_conflict=parse_on_conflict("backup:{digest}"))
    assert tag(lab, name) == before.digest


@pytest.mark.extended
@pytest.mark.parametrize("status", [403, 405])
def test_a_registry_that_answers_no_head_is_asked_by_get(
    lab: SyncLab, images: dict[str, MadeManifest], status: int
) -> None:
    lab.destination.behaviour = Behaviour(faults=(Fault("head manifest", status=status, times=None),))
    assert outcomes(lab, "skip")["other"][0] is Outcome.SKIPPED
    assert tag(lab, "other") == images["before"].digest


@pytest.mark.extended
def test_a_dry_run_says_what_is_left_as_it_is(lab: SyncLab, images: dict[str, MadeManifest]) -> None:
    found = outcomes(lab, "skip", dry_run=True)
    assert [found[name][0] for name in TAGS] == [Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.PLANNED]
    assert tag(lab, "other") == images["before"].digest
