"""Runs with a journal: what they ask for again, by the registries' own counters, and what they notice all the same."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.config import Destination, MissingPlatform, TagSelection
from image_syncer.coordinator.open_image import BY_JOURNAL
from image_syncer.discovery.publisher import Publisher
from image_syncer.embedded import Behaviour, Fault, FaultKind
from image_syncer.errors import JournalError
from image_syncer.journal.file import JournalFile
from image_syncer.journal.journal import ASIDE
from image_syncer.journal.status import load_status
from image_syncer.oci import Digest, PlatformFilter, Repository

if TYPE_CHECKING:
    from support.sync_runs import SyncLab


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "run.db")


def test_images_that_are_done_cost_one_head_at_the_source(lab: SyncLab, state: str) -> None:
    for tag in ("v1", "v2", "v3"):
        lab.push(lab.content.index(attestations=True), tags=[tag])
    lab.run(state_path=state)
    done = lab.run(state_path=state)
    assert done.outcomes == ["unchanged"] * 3
    assert {image.reason for image in done.images} == {BY_JOURNAL}
    assert done.at(lab.source).requests == {"head manifest": 3}
    assert done.at(lab.destination).requests == {}
    assert all(image.source_digest == image.destination_digest is not None for image in done.images)


@pytest.mark.extended
def test_images_that_were_there_are_done_too(lab: SyncLab, state: str) -> None:
    lab.image()
    lab.run()
    assert lab.run(state_path=state).at(lab.destination).requests == {"head manifest": 1}
    assert lab.run(state_path=state).at(lab.destination).requests == {}


@pytest.mark.extended
def test_with_trust_nobody_is_asked(lab: SyncLab, state: str) -> None:
    lab.image()
    lab.run(state_path=state)
    done = lab.run(state_path=state, trust_state=True)
    assert done.outcomes == ["unchanged"]
    assert done.at(lab.source).requests == done.at(lab.destination).requests == {}


@pytest.mark.extended
def test_a_digest_cannot_move_and_is_not_asked_for(lab: SyncLab, state: str) -> None:
    image = lab.image()
    rule = lab.rule(digest=str(image.digest))
    lab.run(rule, state_path=state)
    done = lab.run(rule, state_path=state)
    assert done.outcomes == ["unchanged"]
    assert done.at(lab.source).requests == done.at(lab.destination).requests == {}


@pytest.mark.extended
def test_a_tag_that_moved_is_copied_again_and_entered_anew(lab: SyncLab, state: str) -> None:
    first = lab.image()
    lab.run(state_path=state)
    second = lab.image()
    done = lab.run(lab.rule(), state_path=state)
    assert done.outcomes == ["copied"]
    lab.assert_arrived(second)
    lab.push(first)  # back to what the journal had first: it must not take that for done
    assert lab.run(lab.rule(), state_path=state).outcomes == ["copied"]
    lab.assert_arrived(first)
    assert lab.run(lab.rule(), state_path=state).at(lab.destination).requests == {}


@pytest.mark.extended
def test_a_record_is_gone_before_its_destination_changes(lab: SyncLab, state: str) -> None:
    """The manifest got there, and nobody was told: what the journal knew before must not be believed."""
    first = lab.image()
    lab.run(state_path=state)
    lab.image()
    lab.destination.behaviour = Behaviour(
        check_references=False, faults=(Fault("put manifest", FaultKind.LOST_ANSWER, times=None),)
    )
    lab.run(lab.rule(), state_path=state, exit_code=1, retries=0)
    lab.destination.behaviour = Behaviour(check_references=False)
    lab.push(first)
    lab.run(lab.rule(), state_path=state)
    lab.assert_arrived(first)


@pytest.mark.extended
def test_the_drop_of_a_record_is_on_the_disk_before_the_manifest_goes_out(
    lab: SyncLab, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.image()
    lab.run(state_path=state)
    second = lab.image()
    publish, found = Publisher.publish, []

    async def look_and_publish(self: Publisher, *what: Any) -> None:
        found.append(load_status(state).images_done)
        await publish(self, *what)

    monkeypatch.setattr(Publisher, "publish", look_and_publish)
    monkeypatch.setattr("image_syncer.journal.file.BATCH_S", 60.0)  # so that it is no matter of luck
    lab.run(lab.rule(), state_path=state)
    assert found == [0]
    assert load_status(state).images_done == 1
    lab.assert_arrived(second)


@pytest.mark.extended
def test_another_source_for_the_same_destination_is_not_taken_for_it(lab: SyncLab, state: str) -> None:
    one, other = lab.image(repository="team/one"), lab.image(repository="team/other")
    to = [(lab.destination, "mirror/app")]
    for repository, image in (("team/one", one), ("team/other", other), ("team/one", one)):
        assert lab.run(lab.rule(repository, to=to), state_path=state).outcomes == ["copied"]
        lab.assert_arrived(image, "mirror/app")


@pytest.mark.extended
def test_an_image_with_several_destinations_goes_only_where_it_is_not(lab: SyncLab, state: str) -> None:
    image = lab.image()
    second = lab.add_registry()
    lab.run(state_path=state)
    both = lab.rule(to=[(lab.destination, "team/app"), (second, "team/app")])
    done = lab.run(both, state_path=state)
    assert done.outcomes == ["copied", "unchanged"]
    assert done.at(lab.destination).requests == {}
    lab.assert_arrived(image, at=second)


@pytest.mark.extended
def test_a_filtered_image_costs_one_head_and_another_filter_is_another_image(lab: SyncLab, state: str) -> None:
    lab.push(lab.content.index())
    only = PlatformFilter(architectures=("amd64",))
    first = lab.run(state_path=state, platform_filter=only)
    assert first.image.source_digest != first.image.destination_digest
    again = lab.run(state_path=state, platform_filter=only)
    assert again.at(lab.source).requests == {"head manifest": 1}
    assert again.at(lab.destination).requests == {}
    assert again.image.destination_digest == first.image.destination_digest
    with pytest.raises(JournalError, match=r"--os and --arch was architecture amd64 and is now not given"):
        lab.run(state_path=state)


@pytest.mark.extended
def test_a_filtered_index_without_a_tag_is_known_by_the_name_that_it_had(lab: SyncLab, state: str) -> None:
    index = lab.push(lab.content.index())
    rule = lab.rule(digest=str(index.digest))
    only = PlatformFilter(architectures=("amd64",))
    assert lab.run(rule, state_path=state, platform_filter=only).outcomes == ["copied"]
    done = lab.run(rule, state_path=state, platform_filter=only)
    assert done.outcomes == ["unchanged"]
    assert done.at(lab.source).requests == done.at(lab.destination).requests == {}


@pytest.mark.extended
def test_verified_blobs_cost_no_request(lab: SyncLab, state: str) -> None:
    shared = [lab.content.layer(), lab.content.layer()]
    lab.push(lab.content.image(shared), tags=["v1"])
    lab.run(state_path=state)
    lab.push(lab.content.image([*shared, lab.content.layer()]), tags=["v2"])
    done = lab.run(lab.rule(tags=["v2"]), state_path=state)
    assert done.outcomes == ["copied"]
    assert done.image.blobs_present == 2
    assert done.at(lab.destination).requests == {
        "head manifest": 1,
        "start upload": 2,  # the new layer, and the config
        "put upload": 2,
        "put manifest": 1,
    }


@pytest.mark.extended
def test_a_verified_blob_is_mounted_into_another_repository(lab: SyncLab, state: str) -> None:
    image = lab.image()
    lab.run(state_path=state)
    lab.push(image, "team/other")
    done = lab.run(lab.rule("team/other"), state_path=state)
    assert done.image.blobs_mounted == len(image.all_blobs())
    assert done.at(lab.source).bytes_out == 0
    lab.assert_arrived(image, "team/other")


def test_blobs_that_the_destination_has_removed_are_brought_again(lab: SyncLab, state: str) -> None:
    lab.destination.behaviour = Behaviour()  # one that looks whether the blobs of a manifest are there
    shared = lab.content.layer()
    lab.push(lab.content.image([shared]), tags=["v1"])
    lab.run(state_path=state)
    lab.destination.storage.delete_blob("team/app", Digest(shared.digest))
    second = lab.push(lab.content.image([shared, lab.content.layer()]), tags=["v2"])
    done = lab.run(lab.rule(tags=["v2"]), state_path=state)
    assert done.outcomes == ["copied"]
    assert (done.image.blobs_moved, done.image.blobs_present) == (3, 0)
    assert done.at(lab.destination).count("put manifest") == 2
    lab.assert_arrived(second, tag="v2")
    # And the journal knows it again.
    lab.push(lab.content.image([shared]), tags=["v3"])
    assert lab.run(lab.rule(tags=["v3"]), state_path=state).at(lab.destination).count("start upload") == 1


def test_a_failed_image_is_tried_again(lab: SyncLab, state: str) -> None:
    image = lab.image()
    lab.destination.behaviour = Behaviour(faults=(Fault("put manifest", status=403),))
    lab.run(state_path=state, exit_code=1)
    lab.destination.behaviour = Behaviour()
    done = lab.run(state_path=state)
    assert done.outcomes == ["copied"]
    assert done.image.blobs_present == len(image.all_blobs())
    assert done.at(lab.destination).requests == {"head manifest": 1, "put manifest": 1}


@pytest.mark.extended
def test_a_source_that_cannot_be_asked_does_not_make_the_journal_forget(lab: SyncLab, state: str) -> None:
    lab.image()
    lab.run(state_path=state)
    lab.source.behaviour = Behaviour(faults=(Fault("head manifest", status=500),))
    assert lab.run(state_path=state, exit_code=1, retries=0).outcomes == ["failed"]
    lab.source.behaviour = Behaviour()
    assert lab.run(state_path=state).at(lab.destination).requests == {}


@pytest.mark.extended
def test_an_image_that_was_copied_whole_is_not_done_for_those_who_want_a_platform(lab: SyncLab, state: str) -> None:
    lab.push(lab.content.index())
    strange = {"state_path": state, "platform_filter": PlatformFilter(architectures=("s390x",))}
    assert lab.run(**strange, missing_platform=MissingPlatform.COPY).outcomes == ["copied"]
    assert lab.run(**strange, missing_platform=MissingPlatform.COPY).outcomes == ["unchanged"]
    with pytest.raises(JournalError, match="--missing-platform was copy and is now not given"):
        lab.run(**strange, missing_platform=MissingPlatform.FAIL)


@pytest.mark.extended
def test_force_is_carried_out_once(lab: SyncLab, state: str) -> None:
    lab.image()
    lab.run()
    assert lab.run(state_path=state, force=True).outcomes == ["copied"]
    assert lab.run(state_path=state, force=True).outcomes == ["unchanged"]
    with pytest.raises(JournalError, match="--force was given and is now not given"):
        lab.run(state_path=state)


@pytest.mark.extended
@pytest.mark.parametrize("table", ["done", "blob", "repository", "fact"])
def test_a_journal_whose_records_are_damaged_is_not_believed(lab: SyncLab, state: str, table: str) -> None:
    image = lab.image()
    lab.run(state_path=state)
    with sqlite3.connect(state) as database:
        database.execute(f"UPDATE {table} SET sum = sum + 1 WHERE {'key' if table == 'fact' else '1'} <> 'header'")
    database.close()
    if table == "fact":
        with pytest.raises(JournalError, match="its header cannot be read"):
            lab.run(state_path=state)
        return
    lab.push(image, tags=["v2"])
    done = lab.run(lab.rule(tags=["v1", "v2"]), state_path=state)
    assert done.outcomes == ["copied", "unchanged"]
    [warning] = done.report.warnings
    assert "damaged record" in warning
    lab.assert_arrived(image, tag="v2")


@pytest.mark.extended
def test_a_journal_that_cannot_be_read_is_set_aside_and_the_run_goes_on(lab: SyncLab, state: str) -> None:
    image = lab.image()
    lab.run(state_path=state)
    with sqlite3.connect(state) as database:
        [(page,)] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'done'").fetchall()
        [(size,)] = database.execute("PRAGMA page_size").fetchall()
    database.close()
    with Path(state).open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 100)
    done = lab.run(state_path=state)
    assert done.outcomes == ["unchanged"]
    assert done.at(lab.destination).requests == {"head manifest": 1}
    [warning] = done.report.warnings
    assert f"was set aside as {state}{ASIDE}" in warning
    again = lab.run(state_path=state)
    assert again.report.warnings == ()
    assert lab.run(state_path=state).at(lab.destination).requests == {}
    lab.assert_arrived(image)


def _fail(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.extended
def test_a_full_disk_costs_the_journal_and_no_image(lab: SyncLab, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lab.image()
    lab.run(state_path=state)
    lab.push(lab.content.image(2), "team/other")
    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "write", _fail)
        done = lab.run(state_path=state)
    assert done.outcomes == ["copied", "unchanged"]
    assert done.at(lab.destination).count("head manifest") == 1  # what was written before is still good
    [warning] = done.report.warnings
    assert "is not written any more: database or disk is full" in warning
    assert done.document["warnings"] == [warning]
    assert lab.run(state_path=state).at(lab.destination).requests == {"head manifest": 1}
    lab.assert_arrived(first)


@pytest.mark.extended
def test_a_journal_that_would_become_wrong_is_set_aside_and_the_image_is_copied(
    lab: SyncLab, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = lab.image()
    lab.run(state_path=state)
    second = lab.image()
    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "write", _fail)
        done = lab.run(lab.rule(), state_path=state)
    assert done.outcomes == ["copied"]
    lab.assert_arrived(second)
    assert any(f"was set aside as {state}{ASIDE}" in warning for warning in done.report.warnings)
    lab.push(first)
    assert lab.run(lab.rule(), state_path=state).outcomes == ["copied"]
    lab.assert_arrived(first)


@pytest.mark.extended
def test_the_destination_of_a_rule_may_be_a_digest_or_a_tag(lab: SyncLab, state: str) -> None:
    image = lab.image()
    rule = lab.rule()
    destination = Destination(Repository(lab.destination.address, "team/app"), tags=("stable",))
    renamed = type(rule)(rule.source, TagSelection(names=("v1",)), (destination,))
    lab.run(renamed, state_path=state)
    assert lab.run(renamed, state_path=state).at(lab.destination).requests == {}
    lab.assert_arrived(image, tag="stable")
