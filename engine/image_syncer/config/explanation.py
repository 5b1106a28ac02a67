"""Which rule selects an image, or why none does: each condition gives a sentence.

What the policies say of an image that a rule means, as far as names tell.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.config.automaton import automaton_of
from image_syncer.config.catalogs import translate_glob, written_glob
from image_syncer.config.only import Only
from image_syncer.config.policy import refusal_by_name
from image_syncer.config.reason import Reason
from image_syncer.config.rules import RuleError
from image_syncer.units import format_moment
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from image_syncer.config.catalogs import CatalogRule
    from image_syncer.config.created import CreatedSelection
    from image_syncer.config.model import Configuration, Rule
    from image_syncer.config.policy import Policy
    from image_syncer.config.tag_selection import TagSelection
    from image_syncer.oci import Reference

__all__ = [
    "NOTHING_SEEN",
    "Explanation",
    "Reason",
    "Seen",
    "Verdict",
    "explain_image",
    "explain_policies",
    "tags_to_date",
]


def explain_policies(
    policies: Sequence[Policy], source: Reference, destinations: Sequence[Reference]
) -> tuple[list[Reason], list[Reference]]:
    """A reason for each policy that has something to say, and the destinations that names do not close. Where some are
    left, what closes others does not keep the image from being meant.
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
            reasons.append(
                Reason(True, f"policy “{policy.name}”: it goes to {', '.join(subject)} if {' and '.join(conditions)}")
            )
    return reasons, left


MOST_NAMED = 8
"""Of many tags or patterns in one sentence."""


class Verdict(Value, frozen=True):
    """What one rule says of an image: whether it is `meant` (None: the registry's list decides), and why.

    `origin` is where the rule is written ("images.yaml:3"), `source` what it names; `destinations` are where the image
    goes, or would go where the list decides.
    """

    origin: str
    source: str
    reasons: tuple[Reason, ...]
    destinations: tuple[str, ...] = ()

    @property
    def meant(self) -> bool | None:
        """Whether every condition holds."""
        states = [reason.holds for reason in self.reasons]
        return False if False in states else None if None in states else True


class Explanation(Value, frozen=True):
    """What the rules say of `image`: those that name its repository, or a pattern over its registry. `others` is how
    many name other repositories.
    """

    image: str
    verdicts: tuple[Verdict, ...]
    others: int

    @property
    def meant(self) -> bool:
        """Whether some rule means it."""
        return any(verdict.meant for verdict in self.verdicts)

    @property
    def is_open(self) -> bool:
        """Whether the registry's list of tags would tell more."""
        return any(verdict.meant is None for verdict in self.verdicts)


class Seen(Value, frozen=True):
    """What was asked for: all tags of the image's repository (`listed`), and when the images of some of them were
    created (`times`), as `CreatedSelection.select` takes them with `now`; None where it was not.
    """

    listed: Sequence[str] | None = None
    times: Mapping[str, float | None] | None = None
    now: float = 0.0


NOTHING_SEEN = Seen()


def explain_image(configuration: Configuration, image: Reference, seen: Seen = NOTHING_SEEN) -> Explanation:
    """What each rule says of `image`. An image without tag and digest is a whole repository."""
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
    """The tags of which `explain_image` has to know when their images were created, to say all of `image`."""
    selections = [rule.tags for rule in configuration.rules if rule.source == image.repository]
    selections += [
        catalog.tags
        for catalog in configuration.catalogs
        if catalog.registry == image.repository.registry and catalog.means(image.repository.name)
    ]
    wanted: dict[str, None] = {}
    for selection in selections:
        if selection.created is not None and image.tag is not None:
            chosen = selection.select(listed)
            if image.tag in chosen:
                counts = selection.created.newest is not None or selection.min_tags
                wanted |= dict.fromkeys(chosen if counts else [image.tag])
    return list(wanted)


def _verdict(
    rule: Rule,
    source: str,
    reasons: tuple[Reason, ...],
    image: Reference,
    seen: Seen,
    policies: Sequence[Policy],
) -> Verdict:
    verdict = Verdict(rule.origin, source, (*reasons, *_image_reasons(rule.tags, image, seen)))
    if verdict.meant is False:
        return verdict
    if image.tag is None and image.digest is None:
        places = [str(destination.repository) for destination in rule.destinations]
    else:
        named = rule.tags.select(()) if not rule.tags.needs_listing else []
        position = named.index(image.tag) if image.tag in named else 0
        targets = dict.fromkeys(destination.reference_for(image, position) for destination in rule.destinations)
        if rule.only is not Only.ALL:
            where = "has the tag with other content" if rule.only is Only.CHANGED else "does not have the tag"
            taken = Reason(True, f"only: it is copied where the destination {where}")
            verdict = replace(verdict, reasons=(*verdict.reasons, taken))
        asked, left = explain_policies(policies, image, list(targets))
        return Verdict(rule.origin, source, (*verdict.reasons, *asked), tuple(map(str, left)))
    return Verdict(rule.origin, source, verdict.reasons, tuple(dict.fromkeys(places)))


def _catalog_verdict(catalog: CatalogRule, image: Reference, seen: Seen, policies: Sequence[Policy]) -> Verdict:
    name = image.repository.name
    fits = bool(automaton_of(catalog.pattern).fullmatch(name))
    pattern = written_glob(catalog.pattern)
    if translate_glob(pattern) != catalog.pattern:
        said = f"match: “{catalog.pattern}” {'matches' if fits else 'does not match'} the whole name {name}"
    else:
        said = f"the pattern “{pattern}” {'fits' if fits else 'does not fit'} {name}"
    reasons = [Reason(fits, said)]
    if catalog.exclude:
        hit = next((written_glob(each) for each in catalog.exclude if automaton_of(each).fullmatch(name)), None)
        reasons.append(_excluded("exclude", hit, [written_glob(each) for each in catalog.exclude]))
    if catalog.exclude_regex is not None:
        there = bool(automaton_of(catalog.exclude_regex).search(name))
        said = f"exclude_regex: “{catalog.exclude_regex}” is {'found' if there else 'not found'} in {name}"
        reasons.append(Reason(not there, said))
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


def _image_reasons(selection: TagSelection, image: Reference, seen: Seen) -> Iterator[Reason]:
    if image.digest is not None:
        same = image.digest == selection.digest
        named = "the digest" if same else "another digest" if selection.digest is not None else "no digest"
        yield Reason(same, f"the rule names {named}")
    elif image.tag is not None:
        yield from _tag_reasons(selection, image.tag, seen)


def _tag_reasons(selection: TagSelection, tag: str, seen: Seen) -> Iterator[Reason]:
    if selection.digest is not None:
        yield Reason(False, f"the rule names a digest and no tag: {selection.digest}")
        return
    if selection.names:
        named = tag in selection.names
        yield Reason(named, "the source names the tag" if named else f"the source names {_some(selection.names)}")
        return
    conditions = [*_pattern_reasons(selection, tag)]
    versions = selection.versions
    if versions is not None:
        conditions.append(Reason(*versions.explain(tag)))
    yield from conditions or [Reason(True, "the rule means every tag")]
    if selection.needs_listing and all(reason.holds for reason in conditions):
        yield from _list_reasons(selection, tag, seen)


def _list_reasons(selection: TagSelection, tag: str, seen: Seen) -> Iterator[Reason]:
    """Of a tag whose name fits."""
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
        reason, chosen = _created_reason(selection.created, tag, chosen, seen)
        yield reason
    elif selection.created is not None:
        yield Reason(None, "created: when its image was created decides")
        chosen = None
    if selection.min_tags:
        wanted = f"at least {selection.min_tags}"
        if chosen is None:
            yield Reason(True, f"min_tags: the rule fails where it does not select {wanted} tags")
        else:
            yield Reason(
                len(chosen) >= selection.min_tags, f"min_tags: the rule selects {len(chosen)} tags, and wants {wanted}"
            )


def _created_reason(
    created: CreatedSelection, tag: str, chosen: list[str], seen: Seen
) -> tuple[Reason, list[str] | None]:
    """What the time says of `tag`, and what is left of `chosen`; None where the times of some of them are not known."""
    times = seen.times or {}
    time = times.get(tag)
    said = "does not say when it was created" if time is None else f"was created {format_moment(time)}"
    words = f"its image {said}"
    if all(each in times for each in chosen):
        left = created.select(chosen, times, seen.now)
        newest = "" if created.newest is None else f"; the newest {created.newest} are {_some(left) or 'none'}"
        return Reason(tag in left, f"created: {words}{newest}"), left
    bounded = replace(created, newest=None).select([tag], {tag: time}, seen.now)
    return Reason(bool(bounded) if created.newest is None or not bounded else None, f"created: {words}"), None


def _pattern_reasons(selection: TagSelection, tag: str) -> Iterator[Reason]:
    if selection.include:
        fits = next((glob for glob in selection.include if fnmatchcase(tag, glob)), None)
        said = f"“{fits}” fits" if fits is not None else f"none fits of {_some(selection.include)}"
        yield Reason(fits is not None, f"include: {said}")
    if selection.regex is not None:
        found = bool(automaton_of(selection.regex).search(tag))
        yield Reason(found, f"regex: “{selection.regex}” is {'found' if found else 'not found'} in it")
    if selection.exclude:
        hit = next((glob for glob in selection.exclude if fnmatchcase(tag, glob)), None)
        yield _excluded("exclude", hit, selection.exclude)
    if selection.exclude_regex is not None:
        found = bool(automaton_of(selection.exclude_regex).search(tag))
        said = f"exclude_regex: “{selection.exclude_regex}” is {'found' if found else 'not found'} in it"
        yield Reason(not found, said)


def _excluded(key: str, hit: str | None, globs: Sequence[str]) -> Reason:
    return Reason(hit is None, f"{key}: " + (f"“{hit}” fits" if hit is not None else f"none fits of {_some(globs)}"))


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
