"""Mistakes of our own, made on purpose: the run ends with exit code 70, and its report says what was done before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from image_syncer.coordinator.image_delivery import ImageDelivery
from image_syncer.coordinator.known_blobs import BoundedKnownBlobs
from image_syncer.coordinator.open_image import OpenImage
from image_syncer.discovery.publisher import Publisher
from image_syncer.dispatch.supervisor import Supervisor
from image_syncer.dispatch.transfers import Transfers
from image_syncer.telemetry import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.telemetry import Snapshot
    from support.sync_runs import SyncLab


def crash(*_arguments: object, **_facts: object) -> None:
    raise ZeroDivisionError("made on purpose")


async def crash_later(*_arguments: object) -> None:
    crash()


@pytest.mark.parametrize(
    ("where", "name", "how"),
    [
        (Publisher, "publish", crash_later),  # the task of an image
        (Transfers, "_want", crash),  # a callback of the loop: nobody would ever hear of the image again
        (Transfers, "on_worker_ready", crash),  # what a worker says
        (Supervisor, "_check", crash_later),  # a task on which nobody waits
        (ImageDelivery, "_count", crash),
    ],
)
def test_a_crash_ends_the_run_with_a_report(
    lab: SyncLab, monkeypatch: pytest.MonkeyPatch, where: type, name: str, how: Callable[..., Any]
) -> None:
    lab.image(1)
    lab.image(1, "team/other")
    monkeypatch.setattr(where, name, how)
    if name == "on_worker_ready":
        # The supervisor takes a crash of its listener for the worker's end, and tries with others.
        monkeypatch.setattr(Transfers, "on_worker_lost", crash)
    done = lab.run(exit_code=70)
    assert done.report.internal_error == "ZeroDivisionError: made on purpose"
    assert done.document["internal_error"] == done.report.internal_error
    assert done.outcomes == ["not tried", "not tried"]
    assert {image.reason for image in done.images} == {
        "an internal error of image-syncer ended the run: ZeroDivisionError: made on purpose"
    }
    assert "in crash" in done.log
    assert lab.destination.storage.repositories() in ([], ["team/app"], ["team/app", "team/other"])


@pytest.mark.extended
def test_what_was_done_before_a_crash_is_in_the_report(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    first = lab.image(1)
    lab.run()
    lab.image(1, "team/other")
    monkeypatch.setattr(Publisher, "publish", crash_later)
    done = lab.run(exit_code=70)
    assert done.outcomes == ["not tried", "unchanged"]
    lab.assert_arrived(first)


@pytest.mark.extended
def test_what_crashes_at_the_very_end_does_not_cost_the_report(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    image = lab.image(1)
    monkeypatch.setattr(Transfers, "stop", crash_later)
    monkeypatch.setattr(BoundedKnownBlobs, "close", crash)
    done = lab.run(exit_code=70)
    assert done.outcomes == ["copied"]
    assert done.report.internal_error == "ZeroDivisionError: made on purpose"
    lab.assert_arrived(image)


def test_an_image_that_gets_lost_is_found(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.image(1)
    lab.image(1, "team/other")
    enter = OpenImage.enter

    def forget(self: OpenImage, destination: Any, outcome: Outcome, **facts: Any) -> None:
        if destination.repository.name == "team/other":
            self._open.clear()
        else:
            enter(self, destination, outcome, **facts)

    monkeypatch.setattr(OpenImage, "enter", forget)
    done = lab.run(exit_code=70)
    assert done.report.internal_error == "the ledger does not add up: 2 images were planned, 1 has an outcome"
    assert done.outcomes == ["copied"]
    assert done.report.summary_line().startswith("internal error · 1 image: 1 copied")


@pytest.mark.extended
def test_a_display_that_fails_is_not_worth_a_run(lab: SyncLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.sync_runs._MISTAKES_OF_OURS", ())
    image = lab.image(1)
    calls: list[Snapshot] = []

    def fail(snapshot: Snapshot) -> None:
        calls.append(snapshot)
        crash()

    done = lab.run(on_progress=fail)
    lab.assert_arrived(image)
    assert len(calls) == 1
    assert done.report.warnings == ("progress could not be shown any more: ZeroDivisionError: made on purpose",)


@pytest.mark.extended
def test_a_destination_that_is_written_twice_is_one(lab: SyncLab) -> None:
    lab.image(1)
    to = [(lab.destination, "team/app"), (lab.destination, "team/app")]
    assert lab.run(lab.rule(to=to)).outcomes == ["copied"]
