"""Rules for another run, read back from files: what a plan would copy, and what a report left undone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from image_syncer.config import Destination, ForeignLayers, MissingPlatform, Only, Rule, TagSelection
from image_syncer.config.conflicts import OnConflict, parse_on_conflict
from image_syncer.config.model import CatalogRule, Pin
from image_syncer.config.referrers import ReferrerSelection, parse_referrer_selection
from image_syncer.config.rules import parse_pattern, parse_template
from image_syncer.config.tag_filters import CreatedSelection, VersionSelection, check_range
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Digest, ManifestFormat, Platform, PlatformFilter, parse_platform, parse_reference
from image_syncer.reporting.json_file import optional_text_in, texts_in
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config import Configuration
    from image_syncer.oci import Reference, Repository
    from image_syncer.reporting.plan_file import PlanFile, PlannedImage
    from image_syncer.reporting.recorded_report import RecordedReport
    from image_syncer.telemetry.outcome import ImageResult


_PLAN_HINT = "Give the file that plan --save wrote."
_REPORT_HINT = "Give the file that --report of a sync or copy wrote."
_MOST_NAMED = 3

_Work = TypeVar("_Work", bound="RunChoices")
_OLD_HINT = "The release that wrote it did not note its --os and --arch: give them again."


class _OwnChoices(NamedTuple):
    """The choices of a rule beside its names, by their names in `Rule` and `CatalogRule`."""

    platforms: tuple[Platform, ...]
    referrers: ReferrerSelection | None
    only: Only


class RunChoices(Value, frozen=True, kw_only=True):
    """The settings of a run that decide which images arrive, and in which form.

    `platform_filter` is None where there was one and the file does not have it. `policies` are the names of the
    policies of the run.
    """

    platform_filter: PlatformFilter | None
    force: bool
    on_conflict: OnConflict
    missing_platform: MissingPlatform
    foreign_layers: ForeignLayers
    manifest_format: ManifestFormat
    referrers: ReferrerSelection
    policies: tuple[str, ...] = ()

    def check_policies(self, given: Configuration) -> None:
        """Raises ConfigurationError where the run had policies and `given` has none: refused images would be copied."""
        if self.policies and not given.policies:
            names = ", ".join(f"“{name}”" for name in self.policies[:_MOST_NAMED])
            raise ConfigurationError(
                f"the run had policies ({names}), and what is given now has none",
                hint="Give the file that has them: --config FILE, or --auth FILE.",
            )

    def filter_or(self, given: PlatformFilter) -> PlatformFilter:
        """The filter of the command line, else that of the run. Raises ConfigurationError where neither is known."""
        if not given.is_empty:
            return given
        if self.platform_filter is None:
            raise ConfigurationError("the report does not say which platforms were wanted", hint=_OLD_HINT)
        return self.platform_filter


def _with_choices(kind: type[_Work], settings: Mapping[str, Any], noun: str, hint: str, **own: Any) -> _Work:
    """The work of `kind` with its `own` fields, and the choices in the `settings` of a file that `noun` names. Raises
    ConfigurationError where these cannot be used.
    """
    try:
        return kind(  # defaults are the only choice that older releases had
            platform_filter=_filter(settings),
            force=settings.get("force") is True,
            on_conflict=parse_on_conflict(str(settings.get("on_conflict", "overwrite"))),
            missing_platform=MissingPlatform(settings.get("missing_platform", "skip")),
            foreign_layers=ForeignLayers(settings.get("foreign_layers", "leave")),
            manifest_format=ManifestFormat(settings.get("format", "keep")),
            referrers=parse_referrer_selection(str(settings.get("referrers", "none"))),
            policies=texts_in(settings, "policies"),
            **own,
        )
    except ValueError as error:
        raise ConfigurationError(f"{noun}'s settings cannot be used: {error}", hint=hint) from None


def _own_choices(facts: Mapping[str, Any]) -> _OwnChoices:
    """What the `rule` of an image in a file says. Raises ValueError where it cannot be read."""
    platforms = tuple(parse_platform(name) for name in texts_in(facts, "platforms"))
    referrers = facts.get("referrers")
    only = Only(facts.get("only", "all"))
    return _OwnChoices(platforms, None if referrers is None else parse_referrer_selection(str(referrers)), only)


def _filter(settings: Mapping[str, Any]) -> PlatformFilter | None:
    if "os" not in settings and "arch" not in settings:
        return None if settings.get("platforms") else PlatformFilter()
    return PlatformFilter(os_names=texts_in(settings, "os"), architectures=texts_in(settings, "arch"))


class PlannedWork(RunChoices, frozen=True, kw_only=True):
    """`rules` for the images that a plan would copy, each pinned to its digests, and the choices of the plan."""

    rules: tuple[Rule, ...]


def planned_work(plan: PlanFile) -> PlannedWork:
    """The work of `plan`. Raises ConfigurationError where an image cannot be read.

    Referrers have no rule of their own: they are copied with their image.
    """
    images: dict[tuple[Reference, _OwnChoices, str | None], list[PlannedImage]] = {}
    for image in plan.planned:
        if image.referrer_of is not None:
            continue
        try:
            Digest(image.source_digest or "")
            key = (parse_reference(image.source), _own_choices(image.rule or {}), image.source_digest)
        except ValueError as error:
            raise _unusable(image, error) from None
        images.setdefault(key, []).append(image)
    rules = tuple(_rule(source, own, group) for (source, own, _), group in images.items())
    return _with_choices(PlannedWork, plan.settings, "the plan", _PLAN_HINT, rules=rules)


def _rule(source: Reference, own: _OwnChoices, images: list[PlannedImage]) -> Rule:
    digests: dict[str, Digest] = {}
    replaced: dict[str, Digest | None] = {}
    destinations: list[Destination] = []
    for image in images:
        try:
            destination = _destination_of(image, source)
            digests[image.destination] = Digest(image.digest or "")
            replaced[image.destination] = Digest(image.replaced_digest) if image.replaced_digest else None
        except ValueError as error:
            raise _unusable(image, error) from None
        tags = () if destination.tag in (None, source.tag) else (str(destination.tag),)
        destinations.append(Destination(destination.repository, tags))
    pin = Pin(Digest(images[0].source_digest or ""), digests, replaced)
    others = {"origin": "the plan", "pin": pin, **own._asdict()}
    return Rule(source.repository, _selection_of(source), tuple(destinations), **others)


def _selection_of(source: Reference) -> TagSelection:
    return TagSelection(names=(source.tag,)) if source.tag is not None else TagSelection(digest=source.digest)


def _destination_of(image: PlannedImage, source: Reference) -> Reference:
    """Raises ValueError where the run would not find its pinned digest under that destination."""
    destination = parse_reference(image.destination)
    if source.tag is not None and destination.tag is None:
        raise ValueError(f"its destination {image.destination} has no tag")
    if source.tag is not None and destination.digest is not None:
        raise ValueError(f"its destination {image.destination} has a digest beside the tag")
    return destination


def _unusable(image: PlannedImage, error: Exception) -> ConfigurationError:
    return ConfigurationError(f"the plan has an image that cannot be copied: {image.source}: {error}", hint=_PLAN_HINT)


class Unfinished(RunChoices, frozen=True, kw_only=True):
    """`rules` and `catalogs` for what failed or was not tried, and the choices of the run."""

    rules: tuple[Rule, ...]
    catalogs: tuple[CatalogRule, ...] = ()


def find_unfinished(recorded: RecordedReport) -> Unfinished:
    """What the run of the report left undone. Raises `ConfigurationError` where it was no sync, or an image cannot be
    read. An image that is also covered by a whole rule (whose tags could not be listed) is not named twice.
    """
    if recorded.report.kind != "sync":
        raise ConfigurationError("this is the report of a verification, which copies nothing", hint=_REPORT_HINT)
    whole: dict[tuple[Repository, TagSelection, _OwnChoices], dict[Destination, None]] = {}
    catalogs: list[CatalogRule] = []
    single: dict[tuple[Reference, _OwnChoices], dict[Destination, None]] = {}
    for image in recorded.unfinished:
        facts = image.rule or {}
        if facts.get("unusable") is True:
            continue  # trying again cannot help
        try:
            if "catalog" in facts:
                catalogs.append(_catalog(image, facts))
                continue
            source, destination = parse_reference(image.source), parse_reference(image.destination)
            own = _own_choices(facts)
            if source.tag is None and source.digest is None:
                selection = _selection(facts)
                whole.setdefault((source.repository, selection, own), {})[Destination(destination.repository)] = None
            else:
                single.setdefault((source, own), {})[_destination(source, destination)] = None
        except ValueError as error:
            what = f"the report has an image that cannot be tried again: {image.source}: {error}"
            raise ConfigurationError(what, hint=_REPORT_HINT) from None
    rules = [
        Rule(repository, selection, tuple(destinations), **own._asdict())
        for (repository, selection, own), destinations in whole.items()
    ]
    for (source, own), destinations in single.items():
        left = [each for each in destinations if not any(_covers(rule, source, each, own) for rule in rules)]
        if left:
            rules.append(Rule(source.repository, _selection_of(source), tuple(left), **own._asdict()))
    work = {"rules": tuple(rules), "catalogs": tuple(catalogs)}
    return _with_choices(Unfinished, recorded.report.settings, "the report", _REPORT_HINT, **work)


def _catalog(image: ImageResult, facts: Mapping[str, Any]) -> CatalogRule:
    data = facts["catalog"]
    if not isinstance(data, dict) or not isinstance(data.get("pattern"), str):
        raise ValueError("catalog has no pattern")
    flatten = optional_text_in(data, "flatten")
    patterns = (data["pattern"], *texts_in(data, "exclude"))
    exclude_regex, least = _regex(data, "exclude_regex"), _least(data.get("min_repositories", 0))
    try:
        groups, *_ = (re.compile(pattern).groups for pattern in patterns)
    except re.error as error:
        raise ValueError(f"a pattern cannot be used: {error}") from None
    registry, _ = parse_pattern(image.source)
    template = parse_template(image.destination, groups, flatten)
    return CatalogRule(
        registry,
        patterns[0],
        image.source,
        patterns[1:],
        _selection(facts),
        (template,),
        exclude_regex=exclude_regex,
        min_repositories=least,
        **_own_choices(facts)._asdict(),
    )


def _destination(source: Reference, destination: Reference) -> Destination:
    """The destination of a rule. Raises ValueError where neither a tag nor a digest names the image."""
    if destination.tag is None and source.digest is None:
        raise ValueError("the destination has no tag, and the source no digest")
    if destination.tag is None or destination.tag == source.tag:
        return Destination(destination.repository)
    return Destination(destination.repository, tags=(destination.tag,))


def _selection(facts: Mapping[str, Any]) -> TagSelection:
    return TagSelection(
        regex=_regex(facts, "regex"),
        exclude_regex=_regex(facts, "exclude_regex"),
        include=texts_in(facts, "include"),
        exclude=texts_in(facts, "exclude"),
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
    regex = optional_text_in(facts, name)
    try:
        re.compile(regex or "")
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


def _covers(rule: Rule, source: Reference, destination: Destination, own: _OwnChoices) -> bool:
    return (
        rule.tags.needs_listing
        and (rule.source, rule.platforms, rule.referrers, rule.only) == (source.repository, *own)
        and destination in rule.destinations
        and source.tag is not None
        and source.tag in rule.tags.select((source.tag,))
    )
