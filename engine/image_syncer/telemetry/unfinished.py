"""What a run left undone, as rules for another one, read from its report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from image_syncer.config import Destination, Rule, TagSelection
from image_syncer.config.catalogs import CatalogRule, parse_pattern, parse_template
from image_syncer.config.created import CreatedSelection
from image_syncer.config.versions import VersionSelection, check_range
from image_syncer.errors import ConfigurationError
from image_syncer.oci import (
    InvalidPlatform,
    InvalidReference,
    parse_reference,
)
from image_syncer.telemetry.run_choices import OwnChoices, RunChoices, own_of, read_choices, texts_of
from image_syncer.values import as_dict, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.oci import Reference, Repository
    from image_syncer.telemetry.outcome import ImageResult
    from image_syncer.telemetry.recorded_report import RecordedReport

__all__ = ["Unfinished", "find_unfinished"]

_HINT = "Give the file that --report of a sync or copy wrote."


class Unfinished(RunChoices, frozen=True, kw_only=True):
    """What failed or was not tried: `rules` and `catalogs` that mean just that, and what the run was told."""

    rules: tuple[Rule, ...]
    catalogs: tuple[CatalogRule, ...] = ()


def find_unfinished(recorded: RecordedReport) -> Unfinished:
    """What is left to do of the run that wrote the report. Raises `ConfigurationError` where it is none of a sync, or
    names what cannot be read.

    An image that is covered by a rule which is left as a whole (its tags could not be listed) is not named twice.
    """
    if recorded.report.kind != "sync":
        raise ConfigurationError("this is the report of a verification, which copies nothing", hint=_HINT)
    whole: dict[tuple[Repository, TagSelection, OwnChoices], dict[Destination, None]] = {}
    catalogs: list[CatalogRule] = []
    single: dict[tuple[Reference, OwnChoices], dict[Destination, None]] = {}
    for image in recorded.unfinished:
        facts = image.rule or {}
        if facts.get("unusable") is True:
            continue  # nobody can ask for it, however often
        try:
            if "catalog" in facts:
                catalogs.append(_catalog(image, facts))
                continue
            source, destination = parse_reference(image.source), parse_reference(image.destination)
            own = own_of(facts)
            if source.tag is None and source.digest is None:
                selection = _selection(facts)
                whole.setdefault((source.repository, selection, own), {})[Destination(destination.repository)] = None
            else:
                single.setdefault((source, own), {})[_destination(source, destination)] = None
        except (InvalidReference, InvalidPlatform, ValueError) as error:
            raise _foreign(image, error) from None
    rules = [
        Rule(repository, selection, tuple(destinations), own[0], referrers=own[1], only=own[2])
        for (repository, selection, own), destinations in whole.items()
    ]
    for (source, own), destinations in single.items():
        left = [each for each in destinations if not any(_covers(rule, source, each, own) for rule in rules)]
        if left:
            one = TagSelection(names=(source.tag,)) if source.tag is not None else TagSelection(digest=source.digest)
            rules.append(Rule(source.repository, one, tuple(left), own[0], referrers=own[1], only=own[2]))
    choices = read_choices(recorded.report.settings, "the report", _HINT)
    return Unfinished(rules=tuple(rules), catalogs=tuple(catalogs), **as_dict(choices))


def _catalog(image: ImageResult, facts: Mapping[str, Any]) -> CatalogRule:
    data = facts["catalog"]
    if not isinstance(data, dict) or not isinstance(data.get("pattern"), str):
        raise ValueError("catalog has no pattern")
    flatten = data.get("flatten")
    if flatten is not None and not isinstance(flatten, str):
        raise ValueError("flatten is no text")
    patterns = (data["pattern"], *texts_of(data, "exclude"))
    exclude_regex, least = _regex(data, "exclude_regex"), _least(data.get("min_repositories", 0))
    try:
        groups, *_ = (re.compile(pattern).groups for pattern in patterns)
    except re.error as error:
        raise ValueError(f"a pattern cannot be used: {error}") from None
    registry, _ = parse_pattern(image.source)
    template = parse_template(image.destination, groups, flatten)
    platforms, referrers, only = own_of(facts)
    selection, templates = _selection(facts), (template,)
    rule = CatalogRule(registry, patterns[0], image.source, patterns[1:], selection, templates, platforms)
    return replace(rule, referrers=referrers, only=only, exclude_regex=exclude_regex, min_repositories=least)


def _destination(source: Reference, destination: Reference) -> Destination:
    """A destination without a tag goes by the digest of its image, whatever a filter makes of that."""
    if destination.tag is None and source.digest is None:
        raise ValueError("the destination has no tag, and the source no digest")
    if destination.tag is None or destination.tag == source.tag:
        return Destination(destination.repository)
    return Destination(destination.repository, tags=(destination.tag,))


def _selection(facts: Mapping[str, Any]) -> TagSelection:
    return TagSelection(
        regex=_regex(facts, "regex"),
        exclude_regex=_regex(facts, "exclude_regex"),
        include=texts_of(facts, "include"),
        exclude=texts_of(facts, "exclude"),
        versions=_versions(facts["versions"]) if "versions" in facts else None,
        min_tags=_least(facts.get("min_tags", 0)),
        created=_created(facts["created"]) if "created" in facts else None,
    )


def _created(data: object) -> CreatedSelection:
    if not isinstance(data, dict):
        raise ValueError("created is no object")
    newest, after, within_s = (data.get(name) for name in ("newest", "after", "within_s"))
    if newest is not None and (not isinstance(newest, int) or newest < 1):
        raise ValueError("created has a newest that is no number from 1")
    if not all(time is None or isinstance(time, int | float) for time in (after, within_s)):
        raise ValueError("created has a time that is no number")
    return CreatedSelection(newest, after, within_s)


def _least(data: object) -> int:
    if not isinstance(data, int) or data < 0:
        raise ValueError("the least that is wanted is no number")
    return data


def _regex(facts: Mapping[str, Any], name: str) -> str | None:
    regex = facts.get(name)
    if regex is None:
        return None
    if not isinstance(regex, str):
        raise ValueError(f"{name} is no text")
    try:
        re.compile(regex)
    except re.error as error:
        raise ValueError(f"{name} cannot be used: {error}") from None
    return regex


def _versions(data: object) -> VersionSelection:
    if not isinstance(data, dict):
        raise ValueError("versions is no object")
    within, newest, suffix = data.get("within"), data.get("newest"), data.get("suffix", "")
    if not (isinstance(suffix, str) and (within is None or isinstance(within, str))):
        raise ValueError("versions has what is no text")
    if newest is not None and (not isinstance(newest, int) or newest < 1):
        raise ValueError("newest is no number from 1")
    return VersionSelection(
        None if within is None else check_range(within), data.get("prereleases") is True, newest, suffix
    )


def _covers(rule: Rule, source: Reference, destination: Destination, own: OwnChoices) -> bool:
    return (
        rule.tags.needs_listing
        and (rule.source, rule.platforms, rule.referrers, rule.only) == (source.repository, *own)
        and destination in rule.destinations
        and source.tag is not None
        and source.tag in rule.tags.select((source.tag,))
    )


def _foreign(image: ImageResult, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the report has an image that cannot be tried again: {image.source}: {error}", hint=_HINT
    )
