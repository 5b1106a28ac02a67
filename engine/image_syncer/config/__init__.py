"""Configuration: files in the Go tool's formats and in ours, arguments and settings, as one model.

Pure except for `loader` and `file_reading`, which read the files. Every mistake has its file, line, key and mend.
"""

from __future__ import annotations

from image_syncer.config.conflicts import ConflictPolicy, OnConflict, parse_on_conflict
from image_syncer.config.document import MAX_FILE_BYTES
from image_syncer.config.findings import RuleError
from image_syncer.config.model import SOLE_IMAGE, Configuration, Destination, Only, Rule, TagSelection
from image_syncer.config.rate_schedule import RateSchedule, RateWindow
from image_syncer.config.referrers import NO_REFERRERS, ReferrerSelection, parse_referrer_selection
from image_syncer.config.registry_book import (
    NO_LIMITS,
    HostSettings,
    Limits,
    RegistryBook,
    RegistryEntry,
    canonical_prefix,
)
from image_syncer.config.settings import ForeignLayers, MissingPlatform, Settings

__all__ = [
    "MAX_FILE_BYTES",
    "NO_LIMITS",
    "NO_REFERRERS",
    "SOLE_IMAGE",
    "Configuration",
    "ConflictPolicy",
    "Destination",
    "ForeignLayers",
    "HostSettings",
    "Limits",
    "MissingPlatform",
    "OnConflict",
    "Only",
    "RateSchedule",
    "RateWindow",
    "ReferrerSelection",
    "RegistryBook",
    "RegistryEntry",
    "Rule",
    "RuleError",
    "Settings",
    "TagSelection",
    "canonical_prefix",
    "parse_on_conflict",
    "parse_referrer_selection",
]
