"""Events: what a run tells while it goes on, each a frozen value; for `on_event` and for the asynchronous forms.

Other events may come in later versions: who matches on their classes lets those pass that it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.progress import Snapshot
    from image_syncer.telemetry.report import Report
    from image_syncer.telemetry.transfer_record import TransferRecord

__all__ = [
    "Event",
    "ImageEnded",
    "ProgressMade",
    "RegistryBack",
    "RegistryDown",
    "RegistryGivenUp",
    "RunEnded",
    "TransferEnded",
    "Warned",
]


class ImageEnded(Value, frozen=True):
    """One image has an outcome at one destination. Every image of the run is told once."""

    result: ImageResult


class TransferEnded(Value, frozen=True):
    """A worker is done with one blob, whatever came of it."""

    record: TransferRecord


class ProgressMade(Value, frozen=True):
    """How far the run is now; comes every `Settings.progress_interval_s` seconds."""

    snapshot: Snapshot


class Warned(Value, frozen=True):
    """One of the report's `warnings`, soon after it is known. Those of all events are those of the report, in its
    order.
    """

    text: str


class RegistryDown(Value, frozen=True):
    """A registry ("host:port") does not answer: what needs it waits. `since` is ISO 8601 in UTC."""

    registry: str
    since: str | None


class RegistryBack(Value, frozen=True):
    """It answers again, and what waited goes on."""

    registry: str


class RegistryGivenUp(Value, frozen=True):
    """It did not come back in time (`Settings.give_up_after_s`), or was never there: what needs it fails. `reason` is
    one line for people.
    """

    registry: str
    reason: str


class RunEnded(Value, frozen=True):
    """The run is over, and its files are written; the last event, and there is always one where the run began."""

    report: Report


Event = ImageEnded | TransferEnded | ProgressMade | Warned | RegistryDown | RegistryBack | RegistryGivenUp | RunEnded
"""What a run tells."""
