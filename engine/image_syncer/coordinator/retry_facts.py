"""What the report has to say of what failed, beyond its names, so that `retry` can do it again without the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_syncer.config import Only
from image_syncer.config.catalogs import CatalogRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config import ReferrerSelection, Rule
    from image_syncer.oci import Platform

__all__ = ["image_facts", "rule_facts"]


def image_facts(
    platforms: Iterable[Platform], referrers: ReferrerSelection | None = None, only: Only = Only.ALL
) -> dict[str, Any] | None:
    """Of one image: platforms, referrers and `only` of its rule; None where the rule has nothing of its own."""
    facts: dict[str, Any] = {}
    if names := [str(platform) for platform in platforms]:
        facts["platforms"] = names
    if referrers is not None:
        facts["referrers"] = str(referrers)
    if only is not Only.ALL:
        facts["only"] = str(only)
    return facts or None


def rule_facts(rule: Rule | CatalogRule) -> dict[str, Any]:
    """Of a rule whose tags, or whose repositories, are not known: which of those that the registry lists it means;
    empty for all of them.
    """
    facts: dict[str, Any] = image_facts(rule.platforms, rule.referrers, rule.only) or {}
    if isinstance(rule, CatalogRule):
        facts["catalog"] = {"pattern": rule.pattern, "exclude": list(rule.exclude)}
        if rule.exclude_regex is not None:
            facts["catalog"]["exclude_regex"] = rule.exclude_regex
        if rule.min_repositories:
            facts["catalog"]["min_repositories"] = rule.min_repositories
        if (flatten := rule.destinations[0].flatten) is not None:
            facts["catalog"]["flatten"] = flatten
    regexes = {"regex": rule.tags.regex, "exclude_regex": rule.tags.exclude_regex}
    facts |= {name: regex for name, regex in regexes.items() if regex is not None}
    if (versions := rule.tags.versions) is not None:
        facts["versions"] = {
            "within": versions.within,
            "prereleases": versions.prereleases,
            "newest": versions.newest,
            "suffix": versions.suffix,
        }
    if (created := rule.tags.created) is not None:
        facts["created"] = {"newest": created.newest, "after": created.after, "within_s": created.within_s}
    if rule.tags.min_tags:
        facts["min_tags"] = rule.tags.min_tags
    facts |= {
        name: list(globs) for name, globs in (("include", rule.tags.include), ("exclude", rule.tags.exclude)) if globs
    }
    return facts
