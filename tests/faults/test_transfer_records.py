"""The report's transfers: one for each job that ended, whatever its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.dispatch import running_jobs
from image_syncer.embedded import Behaviour, Fault, FaultKind
from support.sync_runs import REPOSITORY, TRUSTING

if TYPE_CHECKING:
    from image_syncer.telemetry import TransferRecord
    from support.sync_runs import Done, SyncLab


def transfers_of(done: Done, digest: str) -> list[dict[str, Any]]:
    return [each for each in done.document["transfers"] if each["digest"] == digest]


def test_each_try_of_a_blob_is_one_transfer(lab: SyncLab) -> None:
    image = lab.image(1, layer_bytes=100_000)
    layer = image.blobs[1].digest
    lab.source.behaviour = Behaviour(faults=(Fault("get blob", FaultKind.WRONG_BYTES, match=layer, after_bytes=10),))
    done = lab.run()
    failed, moved = transfers_of(done, layer)
    assert (failed["outcomes"], moved["outcomes"]) == (["failed"], ["moved"])
    assert failed["ended_s"] <= moved["began_s"]
    assert moved["bytes_moved"] == moved["size_bytes"] == image.blobs[1].size
    assert len(done.document["transfers"]) == 3


@pytest.mark.extended
def test_one_transfer_goes_to_all_destinations_of_a_blob(lab: SyncLab) -> None:
    image, other = lab.image(1), lab.add_registry(TRUSTING)
    places = [(lab.destination, REPOSITORY), (other, REPOSITORY)]
    done = lab.run(lab.rule(to=places))
    [transfer] = transfers_of(done, image.blobs[1].digest)
    assert sorted(transfer["destinations"]) == sorted(f"{registry.address}/{name}" for registry, name in places)
    assert transfer["outcomes"] == ["moved", "moved"]
    assert transfer["bytes_moved"] == 2 * transfer["size_bytes"]


@pytest.mark.extended
def test_times_are_those_of_the_run(lab: SyncLab) -> None:
    lab.image(3)
    done = lab.run()
    assert len(done.document["transfers"]) == 4
    for transfer in done.document["transfers"]:
        assert 0 < transfer["began_s"] <= transfer["ended_s"] <= done.report.seconds


@pytest.mark.extended
def test_a_run_that_moves_nothing_has_no_transfers(lab: SyncLab) -> None:
    lab.image()
    lab.run()
    assert lab.run().document["transfers"] == []


@pytest.mark.extended
@pytest.mark.parametrize("asked", [True, False])
def test_records_are_made_for_a_report_only(lab: SyncLab, monkeypatch: pytest.MonkeyPatch, asked: bool) -> None:
    made: list[object] = []
    record = running_jobs.TransferRecord

    def note(**fields: Any) -> TransferRecord:
        made.append(fields)
        return record(**fields)

    monkeypatch.setattr(running_jobs, "TransferRecord", note)
    lab.image(2)
    if asked:
        lab.run()
    else:
        with pytest.raises(FileNotFoundError):  # the lab looks for its report
            lab.run(report_path=None)
    assert len(made) == (3 if asked else 0)
