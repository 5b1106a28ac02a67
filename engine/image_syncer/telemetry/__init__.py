"""What a run tells: outcomes of images, progress, the report, and logs without secrets."""

from __future__ import annotations

from image_syncer.telemetry.image_list import ImageList
from image_syncer.telemetry.logs import LOG_LEVELS, configure_logging, get_logger
from image_syncer.telemetry.outcome import ImageResult, Outcome
from image_syncer.telemetry.partial_file import PartialFile
from image_syncer.telemetry.progress import RateMeter, Snapshot, TransferRow, estimate_time_left
from image_syncer.telemetry.report import MAX_FAILURES, Report, ReportWriter, Totals

__all__ = [
    "LOG_LEVELS",
    "MAX_FAILURES",
    "ImageList",
    "ImageResult",
    "Outcome",
    "PartialFile",
    "RateMeter",
    "Report",
    "ReportWriter",
    "Snapshot",
    "Totals",
    "TransferRow",
    "configure_logging",
    "estimate_time_left",
    "get_logger",
]
