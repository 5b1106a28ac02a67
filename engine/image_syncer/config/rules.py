r"""Rules: from the texts of a source and its destinations to a `Rule`, with every condition between the two.

The forms are those of the Go tool's README, "Image sync configuration file". Layouts and archives are written
`oci:DIR:TAG` and `oci-archive:FILE:TAG`: after the second colon follows what follows the registry elsewhere,
`repository:tag` or a tag alone.

The source of a catalog rule is a pattern over the repositories of a registry: `registry.example/team-*/**`. `*` matches
any part of one component, `**` any part of the whole name, `?` one character. In the destination, `\1`, `\2`, … stand
for what `*` and `**` matched, and `**` for the whole name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from image_syncer.config.fields import expand, read_texts
from image_syncer.config.findings import Findings, RuleError, has_userinfo, shown
from image_syncer.config.model import FILLED_IN, SOLE_IMAGE, CatalogRule, Destination, Rule, TagSelection, Template
from image_syncer.config.regex import translate_regex
from image_syncer.errors import ConfigurationError
from image_syncer.oci import (
    InvalidReference,
    canonical_registry,
    is_place,
    is_tag,
    parse_platform,
    parse_reference,
    split_place,
)
from image_syncer.patterns import lazy_pattern
from image_syncer.values import Value, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from image_syncer.config.document import Node, ScalarNode
    from image_syncer.config.fields import Dialect
    from image_syncer.oci import PlaceText, Platform, Reference, Repository


_REGEX_START = ":/"
_SCHEME = lazy_pattern(r"[a-z]+://", re.IGNORECASE)
_BLANK = lazy_pattern(r"\s")
_GLOB = lazy_pattern(r"(?:[\w.-]|[*?]|\[!?[\w.-]+\])+", re.ASCII)
_DEFAULT_TAG = "latest"
_Named = tuple["Reference", tuple[str, ...], "str | None"]
"""What a text names: its repository (and digest), the tags, and a regular expression for tags."""


def parse_source(text: str) -> tuple[Repository, TagSelection]:
    """Parse a source: `repo` (all tags), `repo:t`, `repo:t1,t2`, `repo@digest` or `repo:/regex/`. Raises RuleError."""
    location = layout_of(text, is_source=True)
    reference, tags, regex = _parse_registry_source(text) if location is None else _parse_layout(location, text)
    if regex is not None:
        return reference.repository, TagSelection(regex=parse_regex(regex))
    if reference.digest is not None:
        return reference.repository, TagSelection(digest=reference.digest)
    return reference.repository, TagSelection(names=tags)


def parse_destination(text: str) -> Destination:
    """Parse a destination: `repo`, `repo:tag`, `repo:t1,t2` or `repo@digest`. Raises RuleError."""
    location = layout_of(text, is_source=False)
    if location is None:
        _check_form(text, "destination")
    has_regex = location is None and _REGEX_START in text
    if not has_regex:
        reference, tags, regex = (*_parse_tags(text), None) if location is None else _parse_layout(location, text)
        has_regex = regex is not None
    if has_regex:
        raise RuleError("a destination cannot have a regular expression", "leave out :/…/, the tags stay the same")
    if reference.digest is not None:
        return Destination(reference.repository, digest=reference.digest)
    return Destination(reference.repository, tags=tags)


def layout_of(text: str, *, is_source: bool) -> PlaceText | None:
    """Return the parts of a text that names a layout or archive, None for other texts. Raises RuleError where it has no
    path, or cannot be on that side.
    """
    place = split_place(text)
    if place is None:
        return None
    if place.kind == "bundle":
        raise RuleError(f"“{shown(text)}” is a bundle", "bring it with image-syncer import")
    if place.kind == "docker-archive" and not is_source:
        raise RuleError(f"“{shown(text)}”: archives of docker are read, and not written", "write oci-archive:FILE")
    if not place.path:
        raise RuleError(f"“{shown(text)}” has no path", f"write {place.kind}:PATH, or {place.kind}:PATH:TAG")
    if not place.path.isprintable():
        raise RuleError(f"“{shown(text)}” has a path that cannot be shown", "rename it")
    return place


def _parse_layout(place: PlaceText, text: str) -> _Named:
    head, separator, regex = place.rest.partition(_REGEX_START)
    if place.rest.startswith("/"):
        head, separator, regex = "", "/", place.rest[1:]
    if separator:
        if not regex.endswith("/") or place.digest is not None:
            raise RuleError("the regular expression does not end with a slash", f"write {place.registry}:/expression/")
        # With the colon at its end, a name without a slash is a repository.
        return _parse(f"{place.registry}:{head}:" if head else place.registry), (), regex[:-1]
    first, *more = place.rest.split(",")
    digest = f"@{place.digest}" if place.digest is not None else ""
    reference = _parse(f"{place.registry}:{first}{digest}")
    if more and (reference.tag is None or reference.digest is not None):
        raise RuleError(f"a comma in “{shown(text)}”, where there is no tag", "write oci:DIR:repo:t1,t2")
    return reference, _tags_of(reference, more, "write tags as oci:DIR:repo:t1,t2"), None


def _parse_registry_source(text: str) -> _Named:
    _check_form(text, "source")
    head, separator, regex = text.partition(_REGEX_START)
    if not separator:
        return (*_parse_tags(text), None)
    if not regex.endswith("/"):
        raise RuleError("the regular expression does not end with a slash", "write repo:/expression/")
    reference = _parse(head)
    if reference.tag is not None or reference.digest is not None:
        raise RuleError("a regular expression, and a tag or digest before it", "leave one of them out")
    return reference, (), regex[:-1]


def _parse_tags(text: str) -> tuple[Reference, tuple[str, ...]]:
    head, *more = text.split(",")
    reference = _parse(head)
    if more and reference.digest is not None:
        raise RuleError("more than one digest", "write one rule for each")
    if more and reference.tag is None:
        raise RuleError(f"a comma in “{shown(text)}”, where there is no tag", "write repo:t1,t2")
    return reference, _tags_of(reference, more, "write tags as repo:t1,t2, without the repository again")


def _tags_of(reference: Reference, more: Sequence[str], mend: str) -> tuple[str, ...]:
    for tag in more:
        if not is_tag(tag):
            raise RuleError(f"“{shown(tag)}” is not a tag", mend)
    return (*(() if reference.tag is None else (reference.tag,)), *more)


def _parse(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidReference as error:
        raise RuleError(str(error)) from None


def _check_form(text: str, side: str) -> None:
    if not text:
        raise RuleError(f"the {side} is empty", "write a repository, such as quay.io/org/app")
    if has_userinfo(text):
        raise RuleError(
            f"an @ in the {side}, and no digest after it",
            "write a digest as sha256:… in full; user names and passwords go into the auth file",
        )
    if _SCHEME.match(text):
        raise RuleError(
            f"the {side} “{shown(text)}” is a URL",
            "leave out the scheme; `insecure` in the auth file allows plain HTTP",
        )
    if _BLANK.search(text):
        raise RuleError(f"the {side} “{shown(text)}” holds blanks", "write tags without blanks: repo:v1,v2")


def parse_regex(text: str) -> str:
    """Parse a regular expression for tags, into Python's spelling. Raises RuleError."""
    if "/,/" in text:
        raise RuleError("several regular expressions", "write one, with the alternatives joined by |")
    if "/" in text:
        raise RuleError("a regular expression with a slash, which no tag has", "leave the slash out")
    return translate_regex(text)


def check_globs(globs: tuple[str, ...]) -> None:
    """Raise RuleError for a glob that no tag can match."""
    for glob in globs:
        if not (_GLOB.fullmatch(glob) if re.search(r"[*?\[]", glob) else is_tag(glob)):
            raise RuleError(
                f"“{shown(glob)}” matches no tag",
                "write a tag, or a pattern with *, ? and [abc], in a list if there are several",
            )


def check_destination(selection: TagSelection, destination: Destination) -> None:
    """Check the conditions between a source and a destination. Raises RuleError."""
    if destination.digest is not None:
        if selection.digest is None:
            raise RuleError(
                "the destination has a digest, and the source has none",
                "leave it out, or write the source with the same digest",
            )
        if selection.digest != destination.digest:
            raise RuleError(
                f"the digests differ: the source has {selection.digest.short}, the destination "
                f"{destination.digest.short}",
                "a digest stays what it is: leave it out at the destination, or write a tag",
            )
        return
    if not destination.tags:
        return
    if selection.needs_listing:
        raise RuleError(
            "the destination has tags, and how many tags the source has is not known",
            "leave the tags out at the destination, or name those of the source one by one",
        )
    if selection.most != len(destination.tags):
        count = "one digest" if selection.digest is not None else _counted(len(selection.select(())))
        raise RuleError(
            f"the source has {count}, the destination {_counted(len(destination.tags))}",
            "write as many at the destination, from left to right, or none",
        )


def _counted(count: int) -> str:
    return "1 tag" if count == 1 else f"{count} tags"


MOST_WILDCARDS = 4
"""In one pattern: `re` takes time that grows with its power for names that nearly match."""

_WILDCARDS = lazy_pattern(r"[*?]")
_NAME_PATTERN = lazy_pattern(r"[a-z0-9._/*?-]+", re.ASCII)
_TEMPLATE = lazy_pattern(r"(?:[a-z0-9._/-]|\*\*|\\[0-9])+", re.ASCII)


def is_pattern(source: str) -> bool:
    """Return whether a source is a pattern over repositories, and not the name of one."""
    place = split_place(source)
    pattern = source if place is None else place.rest
    return not pattern.startswith("/") and _WILDCARDS.search(pattern.partition(":/")[0]) is not None


def parse_pattern(text: str) -> tuple[str, str]:
    """Return registry and pattern of a source: `registry.example/team/**`, or `oci:DIR:team/**`. Raises RuleError."""
    registry, pattern = _split(text, is_source=True)
    if not registry:
        raise RuleError(
            f"“{shown(text)}” has a pattern, and does not begin with a registry", "write registry.example.com/team/**"
        )
    if not _NAME_PATTERN.fullmatch(pattern):
        raise RuleError(
            f"“{shown(pattern)}” fits no repository",
            "write such as team/** or team-*/app, in lower case, and choose tags under `tags`",
        )
    if len(re.findall(r"\*\*|\*", pattern)) > MOST_WILDCARDS:
        raise RuleError(
            f"more than {MOST_WILDCARDS} * in a pattern", "write ** for several components, or choose with `match`"
        )
    return registry, pattern


def _split(text: str, *, is_source: bool) -> tuple[str, str]:
    """Return the registry, "" where the text has none, and the rest."""
    place = layout_of(text, is_source=is_source)
    if place is not None:
        return place.registry, place.rest
    host, slash, rest = text.partition("/")
    try:
        registry = canonical_registry(host)
    except InvalidReference:
        registry = ""
    return registry if slash and re.search(r"[.:]|^localhost$", host) else "", rest


def parse_template(text: str, groups: int, flatten: str | None) -> Template:
    """Parse a destination of a catalog rule whose pattern has so many groups. Raises RuleError."""
    registry, path = _split(text, is_source=False)
    if not registry or not _TEMPLATE.fullmatch(path):
        raise RuleError(
            f"“{shown(text)}” is no destination for repositories that a pattern finds",
            r"write registry.example.com/mirror/**, or \1 for what the first * stands for; without a tag",
        )
    used = [int(found["group"] or 0) for found in FILLED_IN.finditer(path)]
    if not used:
        raise RuleError(
            f"every repository that the pattern finds would go into {shown(text)}", f"write {shown(text)}/**"
        )
    if max(used) > groups:
        raise RuleError(
            f"\\{max(used)} in the destination, and the pattern has {groups} parts that vary",
            r"write ** for the whole name, \1 for the first part",
        )
    return Template(registry, path, flatten)


class PlacedRule(Value, frozen=True):
    """A rule and where it was written; `line` counts from 1 (0: in no file), `key` is its path inside the file."""

    rule: Rule
    file: str
    line: int
    key: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else f"{self.file} {self.key}"


def read_source(text: str, line: int | None, key: str, findings: Findings) -> tuple[Repository, TagSelection] | None:
    """Return the source that a text means, None after an error."""
    found = findings.attempt(parse_source, text, line, key)
    if found is None:
        return None
    _, slash, name = str(found[0]).partition("library/")
    if slash and "." in name and text.partition(":")[0] == name:
        mend = "a registry alone is no source: name a repository in it"
        findings.warn(line, key, f"“{shown(text)}” means {found[0]}", mend)
    return found


def read_rule(
    source: tuple[Repository, TagSelection] | None,
    node: Node,
    key: str,
    place: tuple[int, str],
    findings: Findings,
    dialect: Dialect,
    platforms: tuple[Platform, ...] = (),
) -> PlacedRule | None:
    """Return the rule of a source that was read, and the node of its destinations at `key`; None after an error.

    `place` is the line and path of the rule. Mistakes in the destinations are found even where the source has one.
    """
    errors_before = len(findings.errors)
    destinations: dict[Destination, None] = {}
    for item in read_texts(node, key, findings):
        destination = _read_destination(item, key, findings, dialect)
        if destination is None or source is None:
            continue
        try:
            check_destination(source[1], destination)
        except RuleError as error:
            findings.error(item.line, key, error.what, error.mend)
            continue
        if destination in destinations:
            findings.warn(item.line, key, f"the destination “{shown(item.text)}” is written twice", "leave one out")
        destinations[destination] = None
    if source is None or len(findings.errors) > errors_before or not destinations:
        return None
    line, rule_key = place
    rule = Rule(source[0], source[1], tuple(destinations), platforms, findings.place(line, rule_key))
    return PlacedRule(rule, findings.file, line, rule_key)


def _read_destination(item: ScalarNode, key: str, findings: Findings, dialect: Dialect) -> Destination | None:
    written = "" if item.is_null else item.text

    def parse(written: str) -> Destination:
        text = expand(written, dialect.destinations, dialect.environ)
        try:
            return parse_destination(text)
        except RuleError:
            if text == written:
                raise
        # A message must not show values of variables: one of them may be a secret in the wrong place.
        raise RuleError(
            f"“{shown(written)}” is not the name of an image once its variables have their values",
            "print the variables, and compare with quay.io/org/app",
        )

    return findings.attempt(parse, written, item.line, key)


def read_platforms(texts: Iterable[tuple[str, int | None]], key: str, findings: Findings) -> tuple[Platform, ...]:
    """Return the platforms that texts (with their lines) name, each once."""
    found = (findings.attempt(parse_platform, text, line, key) for text, line in texts)
    return tuple(dict.fromkeys(platform for platform in found if platform is not None))


def rule_from_arguments(
    source: str, destination: str, *, all_tags: bool = False, platforms: Sequence[str] = (), directory: str = "."
) -> Rule:
    """Return the rule of one copy, as `image-syncer copy SRC DST` has it. `source` is "repository", "repository:tag",
    "repository:tag,tag", "repository@digest" or "repository:/regular expression/"; `destination` has no expression.

    Unlike in files, a source without tag means `latest`, as for `docker pull`, and in a layout its one image;
    `all_tags` means all of them. `platforms` are "os/architecture" or more. Relative paths of layouts are taken from
    `directory`. Raises ConfigurationError with every mistake.
    """
    findings = Findings("command line")
    wanted = read_platforms([(platform, None) for platform in platforms], "--platform", findings)
    parsed = read_source(source, None, "SRC", findings)
    selection = parsed[1] if parsed else TagSelection()
    if selection == TagSelection() and not all_tags:
        names_none = parsed is not None and is_place(parsed[0].registry) and not parsed[0].name
        selection = TagSelection(names=SOLE_IMAGE if names_none else (_DEFAULT_TAG,))
    elif selection != TagSelection() and all_tags:
        findings.error(None, "SRC", "--all-tags, and a source with a tag or digest", "leave one of them out")
    try:
        target = parse_destination(destination)
        if parsed and not findings.errors:
            check_destination(selection, target)
    except RuleError as error:
        findings.error(None, "DST", error.what, error.mend)
    if findings.errors or parsed is None:
        raise ConfigurationError(findings.errors)
    return resolve_paths(directory, Rule(parsed[0], selection, (target,), wanted, findings.file))


_AnyRule = TypeVar("_AnyRule", bound="Rule | CatalogRule | PlacedRule")


def resolve_paths(directory: str, rule: _AnyRule) -> _AnyRule:
    """Return the rule with full paths of its layouts: relative ones are taken from `directory`."""
    if isinstance(rule, PlacedRule):
        return replace(rule, rule=resolve_paths(directory, rule.rule))
    if isinstance(rule, CatalogRule):
        templates = tuple(replace(each, registry=_full(directory, each.registry)) for each in rule.destinations)
        registry = _full(directory, rule.registry)
        written = rule.written if registry == rule.registry else f"{registry}:{rule.written.split(':', 2)[2]}"
        return replace(rule, registry=registry, written=written, destinations=templates)
    destinations = tuple(replace(each, repository=_moved(directory, each.repository)) for each in rule.destinations)
    return replace(rule, source=_moved(directory, rule.source), destinations=destinations)


def _moved(directory: str, repository: Repository) -> Repository:
    return replace(repository, registry=_full(directory, repository.registry))


def _full(directory: str, registry: str) -> str:
    place = split_place(registry)
    if place is None or place.path.startswith("/"):
        return registry
    moved = split_place(f"{place.kind}:{directory.rstrip('/')}/{place.path}")
    return registry if moved is None else moved.registry
