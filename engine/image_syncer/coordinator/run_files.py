"""The files that a run writes: its report, and the plan of a dry run. Each is there at the end, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from image_syncer.errors import SyncError
from image_syncer.telemetry import Report, ReportWriter
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.config import Settings
    from image_syncer.telemetry import ImageResult, TransferRecord

__all__ = ["RunFiles"]


class RunFiles:
    """Those that `settings` ask for. Raises ConfigurationError where one cannot be made."""

    def __init__(self, settings: Settings) -> None:
        self.report: ReportWriter | None = None
        self.plan: PlanWriter | None = None
        try:
            if settings.report_path:
                self.report = ReportWriter(settings.report_path)
            if settings.plan_path:
                from image_syncer.telemetry.plan_file import PlanWriter

                self.plan = PlanWriter(settings.plan_path)
        except SyncError:
            self.abandon()
            raise

    @property
    def on_transfer(self) -> Callable[[TransferRecord], None] | None:
        """What is to be told of each transfer that ends, for the report."""
        return self.report.add_transfer if self.report is not None else None

    def listener(self, on_image: Callable[[ImageResult], None] | None) -> Callable[[ImageResult], None] | None:
        """What is to be told of each image that ends, for the plan and for `on_image`."""
        plan = self.plan
        if plan is None:
            return on_image

        def tell_both(result: ImageResult) -> None:
            plan.add(result)
            if on_image is not None:
                on_image(result)

        return tell_both

    def close(self, report: Report) -> Report:
        """The run is over. The report, with what is to be said of a file that could not be written."""
        failures = []
        for file in (self.report, self.plan):
            try:
                if file is not None:
                    file.close(report)
            except SyncError as error:  # noqa: PERF203 - what was copied is copied, and wants to be told
                failures.append(str(error))
        return replace(report, unwritten="; ".join(failures)) if failures else report

    def abandon(self) -> None:
        """Leaves no file behind."""
        for file in (self.report, self.plan):
            if file is not None:
                file.abandon()
