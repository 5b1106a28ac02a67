"""Events: what a run tells while it goes on, each a frozen value; for `on_event` and for the asynchronous forms.

Other events may come in later versions: who matches on their classes lets those pass that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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


@dataclass(frozen=True)
class ImageEnded:
    """One image has an outcome at one destination. Every image of the run is told once."""

    result: ImageResult


@dataclass(frozen=True)
class TransferEnded:
    """A worker is done with one blob, whatever came of it."""

    record: TransferRecord


@dataclass(frozen=True)
class ProgressMade:
    """How far the run is now; comes every `Settings.progress_interval_s` seconds."""

    snapshot: Snapshot


@dataclass(frozen=True)
class Warned:
    """One of the report's `warnings`, soon after it is known. Those of all events are those of the report, in its
    order.
    """

    text: str


@dataclass(frozen=True)
class RegistryDown:
    """A registry ("host:port") does not answer: what needs it waits. `since` is ISO 8601 in UTC."""

    registry: str
    since: str | None


@dataclass(frozen=True)
class RegistryBack:
    """It answers again, and what waited goes on."""

    registry: str


@dataclass(frozen=True)
class RegistryGivenUp:
    """It did not come back in time (`Settings.give_up_after_s`), or was never there: what needs it fails. `reason` is
    one line for people.
    """

    registry: str
    reason: str


@dataclass(frozen=True)
class RunEnded:
    """The run is over, and its files are written; the last event, and there is always one where the run began."""

    report: Report


Event = ImageEnded | TransferEnded | ProgressMade | Warned | RegistryDown | RegistryBack | RegistryGivenUp | RunEnded
"""What a run tells."""
