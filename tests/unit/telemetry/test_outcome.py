from __future__ import annotations

import pytest

from image_syncer.errors import NotFoundError, Origin
from image_syncer.telemetry import ImageResult, Outcome


def test_every_outcome_is_as_wanted_or_a_failure_or_neither() -> None:
    wanted = {Outcome.COPIED, Outcome.UNCHANGED, Outcome.EQUAL}
    assert {outcome for outcome in Outcome if outcome.is_as_wanted} == wanted
    failures = {Outcome.FAILED, Outcome.NOT_TRIED, Outcome.DIFFERENT, Outcome.UNCHECKED}
    assert {outcome for outcome in Outcome if outcome.is_failure} == failures


def test_a_result_as_data_leaves_out_what_is_not_known() -> None:
    result = ImageResult("a/b:1", "c/d:1", Outcome.COPIED, bytes_moved=3, seconds=1.23456)
    assert result.as_data() == {
        "source": "a/b:1",
        "destination": "c/d:1",
        "outcome": "copied",
        "bytes_moved": 3,
        "bytes_total": 0,
        "blobs_moved": 0,
        "blobs_mounted": 0,
        "blobs_present": 0,
        "seconds": 1.235,
        "tries": 1,
    }


def test_a_failure_as_data_tells_side_operation_and_tries() -> None:
    error = NotFoundError("no such tag", origin=Origin.SOURCE, operation="head manifest", tries=3)
    data = ImageResult("a/b:1", "c/d:1", Outcome.FAILED, error=error.to_data()).as_data()
    assert (data["error"]["side"], data["error"]["operation"]) == ("source", "head manifest")
    assert data["error"]["tries"] == 3


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_outcome_reads_as_its_value(outcome: Outcome) -> None:
    assert f"{outcome}" == outcome.value


@pytest.mark.parametrize(
    ("destination", "outcome", "pinned"),
    [
        ("reg:5000/a/b:v1", Outcome.COPIED, "reg:5000/a/b@sha256:dd"),
        ("reg:5000/a/b@sha256:dd", Outcome.UNCHANGED, "reg:5000/a/b@sha256:dd"),
        ("reg/a:v1", Outcome.FAILED, None),
        ("reg/a:v1", Outcome.PLANNED, None),
    ],
)
def test_what_is_there_is_named_by_its_digest(destination: str, outcome: Outcome, pinned: str | None) -> None:
    result = ImageResult("x:1", destination, outcome, destination_digest="sha256:dd")
    assert result.pinned == result.as_data().get("pinned") == pinned
    assert ImageResult("x:1", destination, outcome).pinned is None
