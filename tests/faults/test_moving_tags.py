"""Tags that move at the source while they are copied: what was planned arrives, and the move is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.coordinator import image_delivery
from image_syncer.embedded import Behaviour, Fault
from image_syncer.embedded.behaviour import FaultKind
from image_syncer.oci import ManifestFormat, PlatformFilter, parse_platform
from support.sync_runs import REPOSITORY, TAG

if TYPE_CHECKING:
    from image_syncer.embedded import MadeManifest
    from support.sync_runs import SyncLab


class Moving:
    """A tag that points to `before` until `at` was done for the first time, and to `after` from then on."""

    def __init__(self, lab: SyncLab, monkeypatch: pytest.MonkeyPatch, at: str, *, children: bool = False) -> None:
        make = lab.content.index if children else lambda: lab.content.image(2)
        self.before: MadeManifest = lab.push(make())
        self.after: MadeManifest = make()
        self.done = False
        storage, name = {
            "HEAD": (lab.source.storage, "tag"),
            "GET": (lab.source.storage, "read_manifest"),
            "blob": (lab.destination.storage, "commit_upload"),
            "PUT": (lab.destination.storage, "put_manifest"),
        }[at]
        real = getattr(storage, name)

        def moving(*words: Any) -> Any:
            answer = real(*words)
            if not self.done:
                self.done = True
                lab.push(self.after)
            return answer

        monkeypatch.setattr(storage, name, moving)


@pytest.mark.parametrize("children", [False, True])
@pytest.mark.parametrize("at", ["HEAD", "GET", "blob", "PUT"])
def test_what_was_planned_arrives_whole_and_the_move_is_told(
    lab: SyncLab, monkeypatch: pytest.MonkeyPatch, at: str, *, children: bool
) -> None:
    moving = Moving(lab, monkeypatch, at, children=children)
    done = lab.run(lab.rule(), verify=True)
    lab.assert_arrived(moving.before)
    image = done.image
    assert (image.outcome.value, image.source_digest) == ("copied", moving.before.digest)
    assert image.source_moved == moving.after.digest
    [warning] = done.document["warnings"]
    assert f"{REPOSITORY}:{TAG} has moved on, and is now" in warning
    assert moving.after.digest in warning
    assert moving.before.digest in warning
    again = lab.run(lab.rule(), verify=True)
    lab.assert_arrived(moving.after)
    assert (again.image.source_moved, again.document["warnings"]) == (None, [])


@pytest.mark.extended
def test_a_quick_copy_costs_no_further_request(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    moving = Moving(lab, monkeypatch, "blob")
    done = lab.run(lab.rule())
    assert done.at(lab.source).count("head manifest") == 1
    assert (done.image.source_moved, done.document["warnings"]) == (None, [])
    lab.assert_arrived(moving.before)


@pytest.mark.extended
def test_a_long_copy_is_asked_about(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_delivery, "ASK_AFTER_S", 0.0)
    moving = Moving(lab, monkeypatch, "blob")
    assert lab.run(lab.rule()).image.source_moved == moving.after.digest


def test_what_has_not_moved_is_not_told(lab: SyncLab) -> None:
    lab.push(lab.content.index())
    done = lab.run(verify=True)
    assert (done.image.source_moved, done.document["warnings"]) == (None, [])
    assert done.at(lab.source).count("head manifest") == 2


@pytest.mark.extended
@pytest.mark.parametrize("how", ["platform", "format"])
def test_what_was_rewritten_is_compared_with_what_the_source_had(lab: SyncLab, how: str) -> None:
    lab.push(lab.content.index(docker=True))
    if how == "platform":
        done = lab.run(verify=True, platform_filter=PlatformFilter((parse_platform("linux/amd64"),)))
    else:
        done = lab.run(verify=True, manifest_format=ManifestFormat.OCI)
    assert done.image.source_digest != done.image.destination_digest
    assert done.image.source_moved is None


@pytest.mark.extended
def test_a_digest_cannot_move(lab: SyncLab) -> None:
    made = lab.push(lab.content.image(1), tags=())
    done = lab.run(lab.rule(digest=made.digest), verify=True)
    assert done.at(lab.source).count("head manifest") == 1


@pytest.mark.extended
@pytest.mark.parametrize("fault", ["gone", "refused", "broken"])
def test_where_nobody_can_tell_the_image_is_copied_all_the_same(
    lab: SyncLab, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    made = lab.image(1)
    monkeypatch.setattr(image_delivery, "ANSWER_WITHIN_S", 0.5 if fault == "broken" else 30.0)
    faults = {
        "gone": Fault("head manifest", status=404, skip=1, times=None),
        "refused": Fault("head manifest", status=403, skip=1, times=None),
        "broken": Fault("head manifest", FaultKind.RESET, skip=1, times=None),
    }
    lab.source.behaviour = Behaviour(faults=(faults[fault],))
    done = lab.run(lab.rule(), verify=True)
    lab.assert_arrived(made)
    assert (done.outcomes, done.image.source_moved) == (["copied"], None)


@pytest.mark.extended
def test_of_many_that_moved_the_first_are_named(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_delivery, "ASK_AFTER_S", 0.0)
    tags = [f"t{number}" for number in range(8)]
    lab.push(lab.content.image(1), tags=tags)
    other, real = lab.content.image(1), lab.destination.storage.put_manifest
    moved: list[bool] = []

    def put(*words: Any) -> None:
        real(*words)
        if not moved:
            moved.append(True)
            lab.push(other, tags=tags)

    monkeypatch.setattr(lab.destination.storage, "put_manifest", put)
    done = lab.run(lab.rule(tags=tags))
    told = [image for image in done.images if image.source_moved]
    assert len(done.document["warnings"]) == min(len(told), 5) + (len(told) > 5)
    assert told
