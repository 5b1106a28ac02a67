"""The converter of dregsy's files.

The format: https://github.com/xelalexv/dregsy (README.md, doc/design-image-matching.md); its meaning:
internal/pkg/sync/mapping.go and internal/pkg/tags. A tag is selected where one of the items under `tags` selects it;
then every `keep:` must match it, whether it is written out or not (tagset.go, Expand).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from image_syncer.config.converters.draft import DraftRule
from image_syncer.config.converters.foreign import (
    Choice,
    ForeignFields,
    ForeignRange,
    RangeError,
    anchored_where_it_is_not,
    as_whole_match,
    by_precedence,
    in_portions,
    literal_of,
    lose_single_platform,
)
from image_syncer.config.regex import RegexError, matcher_of, translate_regex
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import recognise_host
from image_syncer.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from image_syncer.config.converters.draft import Draft, DraftEntry
    from image_syncer.config.document import Node


_NEWEST = "latest "
_DIGEST = "sha256:"
_SHORT_WITH_END = "^v?[0-9]+(?:\\.[0-9]+)?-"
"""A prerelease of a version of fewer than three numbers, which is no version there (ParseTolerant of blang/semver)."""


class UnsaidError(ValueError):
    """A condition that our format cannot express; says which."""


class DregsyTags(Struct):
    """The tags of a mapping. `written`: what follows the repository at the source and at the destination, for tags and
    digests that need no list; `exact` are the tags of these. `choices`: alternative conditions. `differences`: what our
    format does otherwise, for the user.
    """

    written: list[tuple[str, str]] = field(default_factory=list)
    exact: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def read_dregsy_tags(items: list[str]) -> DregsyTags:
    """Return what the items select together. Raises UnsaidError."""
    found = DregsyTags()
    kinds: dict[str, list[str]] = {"semver": [], "regex": [], "keep": [], "js": []}
    for item in items:
        kind, colon, text = item.partition(":")
        if colon and kind in kinds:
            kinds[kind].append(text.strip())
        elif _DIGEST in item:
            tag, _, digest = item.rpartition("@")
            found.written.append((f"@{digest}", f":{tag}" if tag else ""))
        else:
            found.exact.append(item)
    if kinds["js"]:
        raise UnsaidError("tags that a program chooses (js:)")
    wants_all = not (found.exact or found.written or kinds["semver"] or kinds["regex"])
    written, found.exact = found.exact, _kept(dict.fromkeys(found.exact), kinds["keep"])
    if written and not found.exact:
        found.differences.append("`keep:` leaves none of the tags that are written out")
    if found.exact:
        found.written.insert(0, (f":{','.join(found.exact)}", ""))
    found.choices = [Choice()] if wants_all else [*_of_ranges(kinds["semver"]), *_of_regexes(kinds["regex"])]
    _prune(found, kinds["keep"], is_of_versions=bool(kinds["semver"]) and not kinds["regex"])
    return found


def _of_ranges(texts: list[str]) -> list[Choice]:
    try:
        ranges = [one for text in texts for one in by_precedence(text)]
    except RangeError as error:
        raise UnsaidError(f"the range of versions: {error}") from None
    return [Choice(within=one, without=(_SHORT_WITH_END,)) for one in ranges]


def _of_regexes(texts: list[str]) -> list[Choice]:
    wanted = [anchored_where_it_is_not(text) for text in texts if not text.startswith("!")]
    inverted = [anchored_where_it_is_not(text[1:]) for text in texts if text.startswith("!")]
    joined = [Choice(regex="|".join(portion)) for portion in in_portions(wanted)]
    return joined + [Choice(without=(expression,)) for expression in inverted]


def _kept(tags: Iterable[str], keeps: list[str]) -> list[str]:
    """Return the written tags that every `keep:` matches."""
    kept = list(tags)
    for text in keeps:
        if text.startswith(_NEWEST):
            continue
        try:
            expression = matcher_of(translate_regex(anchored_where_it_is_not(text.removeprefix("!"))))
        except RegexError as error:
            raise UnsaidError(f"tags that match {text}: {error.reason}") from None
        kept = [tag for tag in kept if expression.search(tag) is not text.startswith("!")]
    return kept


def _prune(found: DregsyTags, keeps: list[str], *, is_of_versions: bool) -> None:
    """Narrow the choices by what every tag must match, and by how many are kept."""
    newest = [text.removeprefix(_NEWEST).strip() for text in keeps if text.startswith(_NEWEST)]
    filters = [text for text in keeps if not text.startswith(_NEWEST)]
    wanted = [anchored_where_it_is_not(text) for text in filters if not text.startswith("!")]
    without = tuple(anchored_where_it_is_not(text[1:]) for text in filters if text.startswith("!"))
    if wanted and (len(wanted) > 1 or any(choice.regex for choice in found.choices)):
        raise UnsaidError("tags that have to match two expressions at once")
    if wanted:
        found.choices = [replace(choice, regex=wanted[0]) for choice in found.choices]
    if without:
        found.choices = [replace(choice, without=(*choice.without, *without)) for choice in found.choices]
    if not newest:
        return
    if not found.choices:
        raise UnsaidError("the newest of tags that are written out")
    if not newest[-1].isdigit() or len(found.choices) > 1:
        raise UnsaidError("the newest of several choices together")
    if not is_of_versions:
        found.differences.append(
            "tags that are no versions are not kept beside the newest; name them, or leave `newest`"
        )
        found.choices = [replace(choice, within=ForeignRange("*", prereleases=True)) for choice in found.choices]
    if found.exact:
        found.differences.append("tags that are written out do not count among the newest")
    found.choices = [replace(choice, newest=int(newest[-1])) for choice in found.choices]


_REGEX = "regex:"
_GO_GROUP = lazy_pattern(r"\$(?:\$|\{(?P<braced>\w+)\}|(?P<bare>\w+))", re.ASCII)
_OF_TASK: dict[str, tuple[str, str | None]] = {
    "interval": ("no intervals in our format", "image-syncer watch --every, or a timer that starts runs"),
    "skipExistingTags": ("tags that are there are compared", "sync --on-conflict skip"),
}
_OF_LOCATION: dict[str, tuple[str, str | None]] = {
    "lister": ("repositories are listed by /v2/_catalog, which not every registry has", "name them one by one"),
}
_OF_TOP: dict[str, tuple[str, str | None]] = {
    "lister": ("every repository that is listed counts, and lists are not kept", None),
    "watch": ("a changed file is not noticed", "image-syncer watch, which reads it again on SIGHUP"),
}
_OF_SKOPEO: dict[str, tuple[str, str | None]] = {
    "certs-dir": ("a folder of certificates", "containers' certs.d is read: /etc/containers/certs.d"),
}
_OF_MAPPING: dict[str, tuple[str, str | None]] = {
    "preserve-digests": ("what is copied has its digest anyway", None),
}


def draft_dregsy(draft: Draft, root: Node) -> None:
    """Add the registries and rules of the file to the draft."""
    draft.notes.append(
        "Without `platform`, dregsy copies the image for its own machine out of an index; here all of it"
    )
    draft.notes.append("is copied. For one platform, give the rules `platforms`.")
    top = ForeignFields(draft, root, "")
    if "tasks" not in top:
        draft.findings.error(top.line, None, "there are no `tasks`, which every file of dregsy has")
    top.text("relay")
    top.fields("skopeo").lose_others(draft.notes, _OF_SKOPEO, ("binary", "mode"))
    top.fields("docker").lose_others(draft.notes, {}, ("dockerhost", "api-version"))
    for task in top.items("tasks"):
        _draft_task(draft, task)
    top.lose_others(draft.notes, _OF_TOP)


def _draft_task(draft: Draft, task: ForeignFields) -> None:
    notes: list[str] = []
    if name := task.text("name"):
        notes.append(f"task {name}")
    source = _draft_location(draft, task.fields("source"), is_target=False)
    target = _draft_location(draft, task.fields("target"), is_target=True)
    task_rules = len(draft.rules)
    for mapping in task.items("mappings"):
        _draft_mapping(draft, mapping, source, target)
    task.lose_others(notes, _OF_TASK, ("verbose",))
    if len(draft.rules) > task_rules:
        draft.rules[task_rules].notes[:0] = notes
    else:
        draft.notes += notes


def _draft_location(draft: Draft, fields: ForeignFields, *, is_target: bool) -> str:
    registry = fields.text("registry").rpartition("@")[2]  # an account of public ECR stands before the @
    if not registry:
        draft.findings.error(fields.line, fields.key, "there is no registry", None)
        return ""
    is_new = registry not in draft.registries
    entry = draft.entry(registry, fields.line, fields.key)
    _draft_auth(draft, fields, registry, entry)
    if fields.flag("skip-tls-verify"):
        entry.values["insecure"] = True
    if is_target and recognise_host(registry).name == "ecr":
        entry.values["create_repositories"] = True
    fields.lose_others(entry.notes, _OF_LOCATION, ("auth-refresh",))
    if is_new and not entry.values and not entry.notes:
        del draft.registries[registry]
    return registry


def _draft_auth(draft: Draft, fields: ForeignFields, registry: str, entry: DraftEntry) -> None:
    text = fields.text("auth")
    if text == "none":
        entry.values.setdefault("cloud", "off")
    if text in {"", "none"}:
        return
    place = fields.place("auth")
    data = _decoded(text)
    if data is None:
        draft.findings.error(*place, "not the base64 of {“username”: …, “password”: …}")
        return
    if "username" in entry.values:
        known = draft.credentials.get(registry)
        if known != (data["username"], data["password"]):
            what = "another login for the same registry: one counts here for all of it, the first"
            draft.lose(entry.notes, *place, what, "give a namespace an entry of its own: registry/namespace")
        return
    draft.credentials[registry] = (data["username"], data["password"])
    entry.values["username"] = draft.keep_username(registry, data["username"], place)
    entry.values["password"] = draft.keep_secret(registry, "PASSWORD", data["password"], place)


def _decoded(text: str) -> dict[str, str] | None:
    try:
        data: Any = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in ("username", "password")):
        return None
    return data


def _draft_mapping(draft: Draft, mapping: ForeignFields, source: str, target: str) -> None:
    from_, to, platform = mapping.text("from"), mapping.text("to"), mapping.text("platform")
    notes: list[str] = []
    values: dict[str, object] = {}
    refusal: str | None = None
    tags = DregsyTags()
    if not from_:
        draft.findings.error(mapping.line, mapping.key, "a mapping without `from`")
        return
    try:
        pattern, path = _paths(from_, to, values)
        tags = read_dregsy_tags([*mapping.texts("tags"), *mapping.texts("digests")])
    except UnsaidError as error:
        refusal, tags = str(error), DregsyTags(choices=[Choice()])
        pattern, path = from_.removeprefix(_REGEX).strip("/"), "…"
    for what in tags.differences:
        draft.lose(notes, *mapping.place("tags"), what)
    platforms = [platform] if platform and platform != "all" else []
    if platforms:
        lose_single_platform(draft, notes, mapping, platform)
    mapping.lose_others(notes, _OF_MAPPING)
    first, to_first = f"{source}/{pattern}", f"{target}/{path}"
    written: list[tuple[str, str, dict[str, object]]]
    written = [(f"{first}{end}", f"{to_first}{to_end}", {}) for end, to_end in tags.written]
    if values and tags.written:
        # Our catalog rules have no tags in their source.
        written = [(first, to_first, {"include": tags.exact})]
        refusal = refusal or ("digests in many repositories" if len(tags.exact) < len(tags.written) else None)
    written += [(first, to_first, choice.tags()) for choice in tags.choices]
    for rule_source, destination, conditions in written:
        place = (mapping.line, mapping.key)
        rule = DraftRule(rule_source, [destination], place, dict(conditions), dict(values), platforms, notes)
        notes = []
        draft.rules.append(rule)
        if refusal is not None:
            draft.refuse(rule, refusal)


def _paths(from_: str, to: str, values: dict[str, object]) -> tuple[str, str]:
    """Return the paths after the registry in source and destination. Raises UnsaidError."""
    is_regex, to_regex = from_.startswith(_REGEX), to.startswith(_REGEX)
    expression, _, replacement = to.removeprefix(_REGEX).partition(",")
    if not is_regex:
        path = f"/{from_.lstrip('/')}"
        if to_regex:
            path = _replaced(path, expression, replacement)
        elif to:
            path = to
        return from_.strip("/"), path.strip("/")
    searched = from_.removeprefix(_REGEX)
    if to_regex:
        literal = literal_of(expression)
        if literal is None or not literal or not searched.startswith(expression) or "$" in replacement:
            raise UnsaidError(f"names that are changed by {expression}")
        values["match"] = f"{expression}({searched[len(expression) :]})"
        return "**", f"{replacement.strip('/')}{'/' if replacement.endswith('/') else ''}\\1"
    values["match"] = as_whole_match([anchored_where_it_is_not(searched).removeprefix("^").removesuffix("$")])
    return "**", f"{to.strip('/')}/**" if to.strip("/") else "**"


def _replaced(path: str, expression: str, replacement: str) -> str:
    """Replace in a path as Go's ReplaceAllString does."""

    def filled_in(match: re.Match[str]) -> str:
        def group(one: re.Match[str]) -> str:
            name = one["braced"] or one["bare"]
            if name is None:
                return "$"
            known = name in match.re.groupindex or (name.isdigit() and int(name) <= match.re.groups)
            return (match[int(name) if name.isdigit() else name] or "") if known else ""

        return _GO_GROUP.sub(group, replacement)

    try:
        return re.sub(translate_regex(expression), filled_in, path)
    except RegexError as error:
        raise UnsaidError(f"names that are changed by {expression}: {error.reason}") from None
