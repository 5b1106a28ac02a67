"""What a run reports: outcomes of images, progress, the report, and logs without secrets."""

from __future__ import annotations

from image_syncer.telemetry.logs import configure_logging, get_logger, is_logged
from image_syncer.telemetry.outcome import Difference, ImageResult, Outcome
from image_syncer.telemetry.partial_file import PartialFile
from image_syncer.telemetry.progress import RateMeter, RegistryRow, Snapshot, TransferRow, WorkerRow
from image_syncer.telemetry.report import MAX_FAILURES, LimitsLog, Report, ReportWriter, Totals, TransferRecord

__all__ = [
    "MAX_FAILURES",
    "Difference",
    "ImageResult",
    "LimitsLog",
    "Outcome",
    "PartialFile",
    "RateMeter",
    "RegistryRow",
    "Report",
    "ReportWriter",
    "Snapshot",
    "Totals",
    "TransferRecord",
    "TransferRow",
    "WorkerRow",
    "configure_logging",
    "get_logger",
    "is_logged",
]
