"""What the user wrote: files in the Go tool's formats and in ours, arguments, settings; one model under all.

Pure but for `loader`, which reads the files. Every mistake names its file, line and key, and the mend.
"""

from __future__ import annotations

from image_syncer.config.conflicts import ConflictPolicy, OnConflict, parse_on_conflict
from image_syncer.config.document import MAX_FILE_BYTES
from image_syncer.config.model import Configuration, Destination, Rule
from image_syncer.config.only import Only
from image_syncer.config.rate_schedule import RateSchedule, RateWindow
from image_syncer.config.referrers import NO_REFERRERS, ReferrerSelection, parse_referrer_selection
from image_syncer.config.registry_book import HostSettings, RegistryBook, RegistryEntry, canonical_prefix
from image_syncer.config.registry_limits import NO_LIMITS, Limits
from image_syncer.config.rules import RuleError
from image_syncer.config.settings import ForeignLayers, MissingPlatform, Settings
from image_syncer.config.tag_selection import SOLE_IMAGE, TagSelection

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
