"""Explanations: which rule selects an image, or why none does, with a sentence for each condition."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.config.findings import RuleError
from image_syncer.config.model import Only
from image_syncer.config.policy import refusal_by_name
from image_syncer.config.regex import matcher_of, translate_glob, written_glob
from image_syncer.units import format_moment
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from image_syncer.config.model import CatalogRule, Configuration, Rule, TagSelection
    from image_syncer.config.policy import Policy
    from image_syncer.config.tag_filters import CreatedSelection
    from image_syncer.oci import Reference


_MOST_NAMED = 8
"""Tags or patterns in one sentence."""


class Reason(Value, frozen=True):
    """One condition of a rule: whether it `holds` (None: it depends on the registry's list, which was not read)."""

    holds: bool | None
    text: str


class Verdict(Value, frozen=True):
    """What one rule says of an image, and why. `origin` is where the rule is written ("images.yaml:3"), `source` is
    what it names; `destinations` are where the image goes, or would go if the list had it.
    """

    origin: str
    source: str
    reasons: tuple[Reason, ...]
    destinations: tuple[str, ...] = ()

    @property
    def meant(self) -> bool | None:
        """Whether every condition holds; None: it depends on the registry's list."""
        states = [reason.holds for reason in self.reasons]
        return False if False in states else None if None in states else True


class Explanation(Value, frozen=True):
    """The verdicts of all rules for the repository of `image`, or for patterns over its registry. `others` is the
    number of rules for other repositories.
    """

    image: str
    verdicts: tuple[Verdict, ...]
    others: int

    @property
    def meant(self) -> bool:
        """Whether a rule selects the image."""
        return any(verdict.meant for verdict in self.verdicts)

    @property
    def is_open(self) -> bool:
        """Whether it depends on the registry's list of tags."""
        return any(verdict.meant is None for verdict in self.verdicts)


class SeenTags(Value, frozen=True):
    """What the registry said: all tags of the image's repository (`listed`), and the creation times of some images
    (`times`, with `now` as `CreatedSelection.select` has them); None where it was not asked.
    """

    listed: Sequence[str] | None = None
    times: Mapping[str, float | None] | None = None
    now: float = 0.0


_NOTHING_SEEN = SeenTags()


def explain_image(configuration: Configuration, image: Reference, seen: SeenTags = _NOTHING_SEEN) -> Explanation:
    """Explain what each rule does with `image`. An image without tag and digest is a whole repository."""
    named = (Reason(True, "the source names its repository"),)
    policies = configuration.policies
    verdicts = [
        _verdict(rule, str(rule.source), named, image, seen, policies)
        for rule in configuration.rules
        if rule.source == image.repository
    ]
    verdicts += [
        _catalog_verdict(catalog, image, seen, policies)
        for catalog in configuration.catalogs
        if catalog.registry == image.repository.registry
    ]
    rules = len(configuration.rules) + len(configuration.catalogs)
    return Explanation(str(image), tuple(verdicts), rules - len(verdicts))


def tags_to_date(configuration: Configuration, image: Reference, listed: Sequence[str]) -> list[str]:
    """Return the tags whose creation times `explain_image` needs for a complete answer."""
    if image.tag is None:
        return []
    selections = [rule.tags for rule in configuration.rules if rule.source == image.repository]
    selections += [
        catalog.tags
        for catalog in configuration.catalogs
        if catalog.registry == image.repository.registry and catalog.means(image.repository.name)
    ]
    wanted: dict[str, None] = {}
    for selection in selections:
        chosen = [] if selection.created is None else selection.select(listed)
        if selection.created is not None and image.tag in chosen:
            needs_all = selection.created.newest is not None or selection.min_tags
            wanted |= dict.fromkeys(chosen if needs_all else [image.tag])
    return list(wanted)


def _verdict(
    rule: Rule, source: str, reasons: tuple[Reason, ...], image: Reference, seen: SeenTags, policies: Sequence[Policy]
) -> Verdict:
    verdict = Verdict(rule.origin, source, (*reasons, *_image_reasons(rule.tags, image, seen)))
    if verdict.meant is False:
        return verdict
    if image.tag is None and image.digest is None:
        places = dict.fromkeys(str(destination.repository) for destination in rule.destinations)
        return replace(verdict, destinations=tuple(places))
    named = rule.tags.select(()) if not rule.tags.needs_listing else []
    position = named.index(image.tag) if image.tag in named else 0
    targets = dict.fromkeys(destination.reference_for(image, position) for destination in rule.destinations)
    asked, left = _policy_reasons(policies, image, list(targets))
    if rule.only is not Only.ALL:
        where = "has the tag with other content" if rule.only is Only.CHANGED else "does not have the tag"
        asked.insert(0, Reason(True, f"only: it is copied where the destination {where}"))
    return replace(verdict, reasons=(*verdict.reasons, *asked), destinations=tuple(map(str, left)))


def _policy_reasons(
    policies: Sequence[Policy], source: Reference, destinations: Sequence[Reference]
) -> tuple[list[Reason], list[Reference]]:
    """Return the reasons of policies, and the destinations that they allow by name. A refusal counts against the image
    only where no destination is left.
    """
    refused = {place: found for place in destinations if (found := refusal_by_name(policies, source, place))}
    left = [place for place in destinations if place not in refused]
    reasons = [
        Reason(bool(left), f"policy “{policy.name}”: it does not go to {place}: {why}")
        for place, (policy, why) in refused.items()
    ]
    for policy in policies:
        conditions = list(policy.conditions())
        subject = [str(place) for place in left if policy.holds_for(place)]
        if conditions and subject:
            what = f"it goes to {', '.join(subject)} if {' and '.join(conditions)}"
            reasons.append(Reason(True, f"policy “{policy.name}”: {what}"))
    return reasons, left


def _catalog_verdict(catalog: CatalogRule, image: Reference, seen: SeenTags, policies: Sequence[Policy]) -> Verdict:
    name = image.repository.name
    fits = matcher_of(catalog.pattern).fullmatch(name)
    pattern = written_glob(catalog.pattern)
    if translate_glob(pattern) != catalog.pattern:
        said = f"match: “{catalog.pattern}” {'matches' if fits else 'does not match'} the whole name {name}"
    else:
        said = f"the pattern “{pattern}” {'fits' if fits else 'does not fit'} {name}"
    reasons = [Reason(fits, said)]
    if catalog.exclude:
        hit = next((written_glob(each) for each in catalog.exclude if matcher_of(each).fullmatch(name)), None)
        reasons.append(_exclusion(hit, [written_glob(each) for each in catalog.exclude]))
    if catalog.exclude_regex is not None:
        reasons.append(_regex_reason("exclude_regex", catalog.exclude_regex, name, name, is_wanted=False))
    if catalog.min_repositories:
        least = f"at least {catalog.min_repositories} repositories"
        reasons.append(Reason(True, f"min_repositories: the rule fails where it does not mean {least}"))
    try:
        rule = catalog.rule_for(name)
    except RuleError as error:
        return Verdict(catalog.origin, catalog.written, (*reasons, Reason(False, error.what)))
    if rule is None:
        return Verdict(catalog.origin, catalog.written, tuple(reasons))
    return _verdict(rule, catalog.written, tuple(reasons), image, seen, policies)


def _image_reasons(selection: TagSelection, image: Reference, seen: SeenTags) -> Iterator[Reason]:
    if image.digest is not None:
        same = image.digest == selection.digest
        named = "the digest" if same else "another digest" if selection.digest is not None else "no digest"
        yield Reason(same, f"the rule names {named}")
    elif image.tag is None:
        return
    elif selection.digest is not None:
        yield Reason(False, f"the rule names a digest and no tag: {selection.digest}")
    elif selection.names:
        named = "the tag" if image.tag in selection.names else _some(selection.names)
        yield Reason(image.tag in selection.names, f"the source names {named}")
    else:
        conditions = [*_name_reasons(selection, image.tag)]
        yield from conditions or [Reason(True, "the rule means every tag")]
        if selection.needs_listing and all(reason.holds for reason in conditions):
            yield from _list_reasons(selection, image.tag, seen)


def _name_reasons(selection: TagSelection, tag: str) -> Iterator[Reason]:
    if selection.include:
        fits = next((glob for glob in selection.include if fnmatchcase(tag, glob)), None)
        said = f"“{fits}” fits" if fits is not None else f"none fits of {_some(selection.include)}"
        yield Reason(fits is not None, f"include: {said}")
    if selection.regex is not None:
        yield _regex_reason("regex", selection.regex, tag, "it", is_wanted=True)
    if selection.exclude:
        hit = next((glob for glob in selection.exclude if fnmatchcase(tag, glob)), None)
        yield _exclusion(hit, selection.exclude)
    if selection.exclude_regex is not None:
        yield _regex_reason("exclude_regex", selection.exclude_regex, tag, "it", is_wanted=False)
    if selection.versions is not None:
        yield Reason(*selection.versions.explain(tag))


def _regex_reason(key: str, regex: str, text: str, shown: str, *, is_wanted: bool) -> Reason:
    found = matcher_of(regex).search(text)
    return Reason(found is is_wanted, f"{key}: “{regex}” is {'found' if found else 'not found'} in {shown}")


def _exclusion(hit: str | None, globs: Sequence[str]) -> Reason:
    return Reason(hit is None, "exclude: " + (f"“{hit}” fits" if hit is not None else f"none fits of {_some(globs)}"))


def _list_reasons(selection: TagSelection, tag: str, seen: SeenTags) -> Iterator[Reason]:
    """Yield the reasons that need the registry's list, for a tag whose name matches."""
    listed, versions = seen.listed, selection.versions
    if listed is not None:
        there = tag in listed
        yield Reason(there, "the registry lists the tag" if there else "the registry does not list the tag")
    chosen = None if listed is None else selection.select(listed)
    if versions is not None and versions.newest is not None:
        if chosen is None:
            yield Reason(None, f"newest: whether it is among the newest {versions.newest}, the list of tags decides")
        else:
            yield Reason(tag in chosen, f"newest: the newest {versions.newest} are {_some(chosen) or 'none'}")
    if chosen is not None and tag not in chosen:
        return
    if selection.created is not None and chosen is not None and seen.times is not None:
        reason, chosen = _created_reason(selection.created, tag, chosen, seen.times, seen.now)
        yield reason
    elif selection.created is not None:
        yield Reason(None, "created: when its image was created decides")
        chosen = None
    if selection.min_tags:
        wanted = f"at least {selection.min_tags}"
        if chosen is None:
            yield Reason(True, f"min_tags: the rule fails where it does not select {wanted} tags")
        else:
            what = f"min_tags: the rule selects {len(chosen)} tags, and wants {wanted}"
            yield Reason(len(chosen) >= selection.min_tags, what)


def _created_reason(
    created: CreatedSelection, tag: str, chosen: list[str], times: Mapping[str, float | None], now: float
) -> tuple[Reason, list[str] | None]:
    """Return the reason of the creation time, and the selected tags; None where some times are unknown."""
    time = times.get(tag)
    said = "does not say when it was created" if time is None else f"was created {format_moment(time)}"
    words = f"created: its image {said}"
    if all(each in times for each in chosen):
        left = created.select(chosen, times, now)
        newest = "" if created.newest is None else f"; the newest {created.newest} are {_some(left) or 'none'}"
        return Reason(tag in left, f"{words}{newest}"), left
    bounded = replace(created, newest=None).select([tag], {tag: time}, now)
    return Reason(bool(bounded) if created.newest is None or not bounded else None, words), None


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
