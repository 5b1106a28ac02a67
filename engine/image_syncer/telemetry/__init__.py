"""What a run tells: outcomes of images, progress, the report, and logs without secrets.

What only readers of a report need is in `recorded_report` and `timeline`, which no run loads.
"""

from __future__ import annotations

from image_syncer.telemetry.limits import LimitsLog
from image_syncer.telemetry.logs import LOG_LEVELS, configure_logging, get_logger, is_logged
from image_syncer.telemetry.outcome import Difference, ImageResult, Outcome
from image_syncer.telemetry.partial_file import PartialFile
from image_syncer.telemetry.progress import (
    RateMeter,
    RegistryRow,
    Snapshot,
    TransferRow,
    WorkerRow,
)
from image_syncer.telemetry.report import MAX_FAILURES, Report, ReportWriter, Totals
from image_syncer.telemetry.transfer_record import TRANSFER_OUTCOMES, TransferRecord

__all__ = [
    "LOG_LEVELS",
    "MAX_FAILURES",
    "TRANSFER_OUTCOMES",
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
