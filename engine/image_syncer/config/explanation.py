"""Why an image is meant by the rules, or is not: each condition gives a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from image_syncer.config.automaton import automaton_of
from image_syncer.config.catalogs import translate_glob, written_glob
from image_syncer.config.rules import RuleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from image_syncer.config.catalogs import CatalogRule
    from image_syncer.config.model import Configuration, Rule, TagSelection
    from image_syncer.oci import Reference

__all__ = ["Explanation", "Reason", "Verdict", "explain_image"]

MOST_NAMED = 8
"""Of many tags or patterns in one sentence."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition of a rule: whether it `holds` (None: the registry's list decides, and was not asked for)."""

    holds: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
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


@dataclass(frozen=True, slots=True)
class Explanation:
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


def explain_image(configuration: Configuration, image: Reference, listed: Sequence[str] | None = None) -> Explanation:
    """What each rule says of `image`; `listed` are all tags of its repository, where they were asked for. An image
    without tag and digest is a whole repository.
    """
    named = (Reason(True, "the source names its repository"),)
    verdicts = [
        _verdict(rule, str(rule.source), named, image, listed)
        for rule in configuration.rules
        if rule.source == image.repository
    ]
    verdicts += [
        _catalog_verdict(catalog, image, listed)
        for catalog in configuration.catalogs
        if catalog.registry == image.repository.registry
    ]
    rules = len(configuration.rules) + len(configuration.catalogs)
    return Explanation(str(image), tuple(verdicts), rules - len(verdicts))


def _verdict(
    rule: Rule, source: str, reasons: tuple[Reason, ...], image: Reference, listed: Sequence[str] | None
) -> Verdict:
    verdict = Verdict(rule.origin, source, (*reasons, *_image_reasons(rule.tags, image, listed)))
    if verdict.meant is False:
        return verdict
    if image.tag is None and image.digest is None:
        places = [str(destination.repository) for destination in rule.destinations]
    else:
        named = rule.tags.select(()) if not rule.tags.needs_listing else []
        position = named.index(image.tag) if image.tag in named else 0
        places = [str(destination.reference_for(image, position)) for destination in rule.destinations]
    return Verdict(rule.origin, source, verdict.reasons, tuple(dict.fromkeys(places)))


def _catalog_verdict(catalog: CatalogRule, image: Reference, listed: Sequence[str] | None) -> Verdict:
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
    try:
        rule = catalog.rule_for(name)
    except RuleError as error:
        return Verdict(catalog.origin, catalog.written, (*reasons, Reason(False, error.what)))
    if rule is None:
        return Verdict(catalog.origin, catalog.written, tuple(reasons))
    return _verdict(rule, catalog.written, tuple(reasons), image, listed)


def _image_reasons(selection: TagSelection, image: Reference, listed: Sequence[str] | None) -> Iterator[Reason]:
    if image.digest is not None:
        same = image.digest == selection.digest
        named = "the digest" if same else "another digest" if selection.digest is not None else "no digest"
        yield Reason(same, f"the rule names {named}")
    elif image.tag is not None:
        yield from _tag_reasons(selection, image.tag, listed)


def _tag_reasons(selection: TagSelection, tag: str, listed: Sequence[str] | None) -> Iterator[Reason]:
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
    if not selection.needs_listing or not all(reason.holds for reason in conditions):
        return
    if listed is not None:
        there = tag in listed
        yield Reason(there, "the registry lists the tag" if there else "the registry does not list the tag")
    chosen = None if listed is None else selection.select(listed)
    if versions is not None and versions.newest is not None:
        if chosen is None:
            yield Reason(None, f"newest: whether it is among the newest {versions.newest}, the list of tags decides")
        else:
            yield Reason(tag in chosen, f"newest: the newest {versions.newest} are {_some(chosen) or 'none'}")
    if selection.created is not None:
        yield Reason(None, "created: when its image was created decides, and is not asked for here")
    if selection.min_tags:
        wanted = f"at least {selection.min_tags}"
        if chosen is None or selection.created is not None:
            yield Reason(True, f"min_tags: the rule fails where it does not select {wanted} tags")
        else:
            yield Reason(
                len(chosen) >= selection.min_tags, f"min_tags: the rule selects {len(chosen)} tags, and wants {wanted}"
            )


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
