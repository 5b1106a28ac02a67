"""What the user wrote: files in the Go tool's formats and in ours, arguments, settings; one model under all.

Pure but for `loader`, which reads the files. Every mistake names its file, line and key, and the mend.
"""

from __future__ import annotations

from image_syncer.config.arguments import rule_from_arguments
from image_syncer.config.catalogs import CatalogRule, Template
from image_syncer.config.conflicts import ConflictPolicy, OnConflict, parse_on_conflict
from image_syncer.config.created import CreatedSelection
from image_syncer.config.document import MAX_FILE_BYTES
from image_syncer.config.explanation import Explanation, Seen, Verdict, explain_image, tags_to_date
from image_syncer.config.forms import ForeignLayers
from image_syncer.config.loader import load_configuration, load_registries
from image_syncer.config.model import Configuration, Destination, Rule
from image_syncer.config.only import Only
from image_syncer.config.policy import (
    NameLists,
    NamePattern,
    OnRefusal,
    Policy,
    PolicyCommand,
    parse_name_pattern,
    refusal_by_name,
)
from image_syncer.config.pruning import DEFAULT_MOST, Pruning, parse_share
from image_syncer.config.rate_schedule import RateSchedule, RateWindow
from image_syncer.config.reason import Reason
from image_syncer.config.referrers import NO_REFERRERS, ReferrerSelection, parse_referrer_selection
from image_syncer.config.registry_book import HostSettings, RegistryBook, RegistryEntry, canonical_prefix
from image_syncer.config.registry_creation import RepositoryTemplate
from image_syncer.config.registry_limits import NO_LIMITS, Limits
from image_syncer.config.rules import RuleError
from image_syncer.config.settings import MissingPlatform, Settings
from image_syncer.config.tag_selection import SOLE_IMAGE, TagSelection
from image_syncer.config.versions import VersionError, VersionSelection, check_range

__all__ = [
    "DEFAULT_MOST",
    "MAX_FILE_BYTES",
    "NO_LIMITS",
    "NO_REFERRERS",
    "SOLE_IMAGE",
    "CatalogRule",
    "Configuration",
    "ConflictPolicy",
    "CreatedSelection",
    "Destination",
    "Explanation",
    "ForeignLayers",
    "HostSettings",
    "Limits",
    "MissingPlatform",
    "NameLists",
    "NamePattern",
    "OnConflict",
    "OnRefusal",
    "Only",
    "Policy",
    "PolicyCommand",
    "Pruning",
    "RateSchedule",
    "RateWindow",
    "Reason",
    "ReferrerSelection",
    "RegistryBook",
    "RegistryEntry",
    "RepositoryTemplate",
    "Rule",
    "RuleError",
    "Seen",
    "Settings",
    "TagSelection",
    "Template",
    "Verdict",
    "VersionError",
    "VersionSelection",
    "canonical_prefix",
    "check_range",
    "explain_image",
    "load_configuration",
    "load_registries",
    "parse_name_pattern",
    "parse_on_conflict",
    "parse_referrer_selection",
    "parse_share",
    "refusal_by_name",
    "rule_from_arguments",
    "tags_to_date",
]
