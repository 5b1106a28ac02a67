"""Events: what a run reports while it runs, each a frozen value; for `on_event` and for the asynchronous forms.

Later versions may add events: a program that matches on their classes ignores those that it does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.values import Value

if TYPE_CHECKING:
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.progress import Snapshot
    from image_syncer.telemetry.report import Report, TransferRecord


class ImageEnded(Value, frozen=True):
    """One image has an outcome at one destination. Every image of the run has one such event."""

    result: ImageResult


class TransferEnded(Value, frozen=True):
    """A worker has ended one transfer of a blob, successful or not."""

    record: TransferRecord


class ProgressMade(Value, frozen=True):
    """A snapshot of the run, every `Settings.progress_interval_s` seconds."""

    snapshot: Snapshot


class Warned(Value, frozen=True):
    """One of the report's `warnings`, in their order, soon after it is known."""

    text: str


class RegistryDown(Value, frozen=True):
    """A registry ("host:port") does not answer: images that need it wait. `since` is ISO 8601 in UTC."""

    registry: str
    since: str | None


class RegistryBack(Value, frozen=True):
    """The registry answers again, and the waiting images continue."""

    registry: str


class RegistryGivenUp(Value, frozen=True):
    """The registry did not answer in time (`Settings.give_up_after_s`): images that need it fail. `reason` is one line
    for people.
    """

    registry: str
    reason: str


class RunEnded(Value, frozen=True):
    """The run has ended, and its files are written; always the last event of a run that began."""

    report: Report


Event = ImageEnded | TransferEnded | ProgressMade | Warned | RegistryDown | RegistryBack | RegistryGivenUp | RunEnded
"""Any event of a run."""
