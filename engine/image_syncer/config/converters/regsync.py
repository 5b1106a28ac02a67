"""The converter of regsync's files.

The format: https://regclient.org/usage/regsync; its tags: `processRepo` and `filterTagList` in regclient's
cmd/regsync/root.go. A set of tags is what all of its conditions select (`semverRange`, then `allow`, then `deny`); the
sets are added.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from image_syncer.config.converters.draft import DraftRule, as_reference
from image_syncer.config.converters.foreign import (
    Choice,
    ForeignFields,
    ForeignRange,
    RangeError,
    anchored,
    as_globs,
    as_whole_match,
    by_precedence,
    in_portions,
    lose_single_platform,
)
from image_syncer.oci import InvalidReference, parse_reference
from image_syncer.patterns import lazy_pattern

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.config.converters.draft import Draft, DraftEntry
    from image_syncer.config.document import Node


_TEMPLATE = lazy_pattern(r"\{\{")
_VARIABLE = lazy_pattern(r"""\{\{-?\s*env\s+["'`](?P<name>[A-Za-z_][A-Za-z0-9_]*)["'`]\s*-?\}\}""")
_TIMES = "image-syncer watch --every, or a timer that starts runs"
_DIRECTORY = "ocidir://"
"""Before the path of an OCI image layout (https://regclient.org/usage/regsync), which is `oci:PATH` here."""
_LOST: dict[str, tuple[str, str | None]] = {
    "backup": ("what is overwritten is kept by an option, not by a rule", "sync --on-conflict backup:{tag}-{digest}"),
    "interval": ("no intervals in our format", _TIMES),
    "schedule": ("no schedule in our format", _TIMES),
    "ratelimit": ("registries that ask for a pause are given it, whatever their limit", None),
    "parallel": ("how much moves at once is found out, or set by options", "sync --proc, or max_connections"),
    "referrerFilters": ("which referrers are carried along is said by an option", "referrers: of the rule"),
    "referrerSource": ("referrers come from the repository of their image", None),
    "referrerTarget": ("referrers go into the repository of their image", None),
    "forceRecursive": ("an image that is there is not copied again", "sync --force"),
    "includeExternal": ("layers that lie elsewhere are copied by an option", "sync --foreign-layers copy"),
    "mediaTypes": ("images are not chosen by their media type", None),
    "hooks": ("no commands around an image", None),
    "blobLimit": ("memory is bounded by options", "sync --memory"),
    "userAgent": ("no other name for the client", "headers of the registry: User-Agent"),
}
_OF_CREDS: dict[str, tuple[str, str | None]] = {
    "hostname": ("the name of a registry is where it is", "resolve, if the name does not lead there"),
    "pathPrefix": ("names are not prefixed", "write it into the names, or into mirrors"),
    "regcert": ("a certificate in the file itself", "write it to a file, and name that as ca_file"),
    "clientCert": ("a certificate in the file itself", "write it to a file, and name that as client_cert"),
    "clientKey": ("a key in the file itself", "write it to a file, and name that as client_key"),
    "credHelper": ("helpers are named in docker's configuration", "credHelpers in ~/.docker/config.json"),
    "token": ("identity tokens are not in our format", "log in with docker login"),
    "blobChunk": ("pieces have the size that the registry's kind wants", "profile: {piece_bytes: …}"),
    "priority": ("mirrors are asked in the order of the list", None),
    "api": ("every registry is asked in the same way", None),
    "scheme": ("https first, always", "insecure"),
}
_NUMBERS = {"reqPerSec": "requests_per_s", "reqConcurrent": "max_connections", "blobMax": "pieces_above"}
_RANGES = (
    "semverRange: 1.2.3.4 and 2024-01 are versions for regsync. Here they are none, and are left out: no more than",
    "three numbers, and no zero in front of a number behind the hyphen.",
)
_SILENT = ("fastCopy", "fastCheck", "referrerSlow", "cacheCount", "cacheTime")
"""Settings that save requests, and change no copy."""


def draft_regsync(draft: Draft, root: Node) -> None:
    """Add the registries and rules of the file to the draft."""
    top = ForeignFields(draft, root, "")
    version = top.text("version")
    if version not in {"", "1"}:
        draft.findings.error(*top.place("version"), "this version of regsync's files is not known")
    for one in top.items("creds"):
        _draft_creds(draft, one)
    if "sync" not in top:
        draft.findings.error(top.line, None, "there is no `sync`, which every file of regsync has")
    defaults = top.fields("defaults")
    if defaults.flag("skipDockerConfig"):
        what = "docker's configuration is always read"
        draft.lose(draft.notes, *defaults.place("skipDockerConfig"), what, "DOCKER_CONFIG=/nowhere before the command")
    carried = {name: defaults.flag(name) is True for name in ("referrers", "digestTags")}
    defaults.lose_others(draft.notes, _LOST, _SILENT)
    for one in top.items("sync"):
        _draft_sync(draft, one, carried)
    top.lose_others(draft.notes, {}, [name for name in top.names() if name.startswith("x-")])


def _draft_creds(draft: Draft, fields: ForeignFields) -> None:
    name = _filled(draft, fields, "registry")
    if not name:
        draft.lose(draft.notes, fields.line, fields.key, "credentials without a registry that can be known")
        return
    entry = draft.entry(name, fields.line, fields.key)
    if user := fields.text("user"):
        entry.values["username"] = _secret(draft, fields, "user", user, (name, "USERNAME"))
    if password := fields.text("pass"):
        entry.values["password"] = _secret(draft, fields, "pass", password, (name, "PASSWORD"))
    _draft_connection(draft, fields, entry)
    if mirrors := fields.texts("mirrors"):
        entry.values["mirrors"] = mirrors
    for key, own in _NUMBERS.items():
        text = fields.text(key)
        number = float(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text) else 0
        if number:
            entry.values[own] = text if own == "requests_per_s" else max(int(number), 2)
    fields.lose_others(entry.notes, _OF_CREDS, ("credExpire", "repoAuth"))


def _draft_connection(draft: Draft, fields: ForeignFields, entry: DraftEntry) -> None:
    tls = fields.text("tls") or "enabled"
    if tls == "disabled":
        entry.values["insecure"] = True
        entry.notes.append("tls: disabled is plain HTTP; insecure tries TLS first, and takes any certificate")
    elif tls == "insecure":
        entry.values["skip_tls_verify"] = True
    elif tls != "enabled":
        draft.findings.error(*fields.place("tls"), "none of enabled, insecure and disabled")


def _secret(draft: Draft, fields: ForeignFields, key: str, text: str, kind: tuple[str, str]) -> str:
    variable = _VARIABLE.fullmatch(text.strip())
    if variable:
        return as_reference(variable["name"])
    if _TEMPLATE.search(text):
        draft.lose(draft.notes, *fields.place(key), "a template: set the variable to what it gives")
        return draft.keep_secret(*kind, "${", fields.place(key))  # as a variable in any case: the text is no secret
    is_secret = kind[1] == "PASSWORD" or "${" in text
    return draft.keep_secret(*kind, text, fields.place(key)) if is_secret else text


def _filled(draft: Draft, fields: ForeignFields, key: str) -> str:
    """Return a name without templates; "" after a warning."""
    text = fields.text(key)
    if not _TEMPLATE.search(text):
        return text
    draft.lose(draft.notes, *fields.place(key), "a template in a name", "write the name")
    return ""


def _draft_sync(draft: Draft, fields: ForeignFields, carried: Mapping[str, bool]) -> None:
    source, kind = fields.text("source"), fields.text("type")
    target = _VARIABLE.sub(lambda match: as_reference(match["name"]), fields.text("target"))
    notes: list[str] = []
    values: dict[str, object] = {}
    refusal: tuple[str, str | None] | None = None
    if kind not in {"image", "repository", "registry"}:
        draft.findings.error(*fields.place("type"), "none of image, repository and registry")
    for name, text in (("source", source), ("target", target)):
        if _TEMPLATE.search(text):
            refusal = (f"a template in the {name}", "write the name")
        elif text.startswith(_DIRECTORY) and kind == "registry":
            refusal = (f"the {name} is one layout, and no registry", None)
        elif text.startswith(_DIRECTORY) and not text.startswith(f"{_DIRECTORY}/"):
            what = f"the path of the {name} is meant from the folder of the new file, and not from where the tool runs"
            draft.lose(notes, *fields.place(name), what, "write it in full")
    platforms = _platforms(draft, fields, notes)
    _draft_referrers(draft, fields, carried, values, notes)
    if kind == "registry":
        repos = fields.fields("repos")
        refusal = refusal or _draft_repositories(repos, values)
        source, target = f"{source}/**", f"{target}/**"
    choices: list[Choice] = [Choice()]
    source, target = (
        f"oci:{text.removeprefix(_DIRECTORY)}" if text.startswith(_DIRECTORY) else text for text in (source, target)
    )
    if kind == "image":
        source, target = _with_tag(source), _with_tag(target)
    else:
        try:
            choices = _choices(fields)
        except RangeError as error:
            refusal = (f"the range of versions cannot be said in our format: {error}", "write it as `versions`")
    if any(choice.within for choice in choices) and _RANGES[0] not in draft.notes:
        draft.notes += _RANGES
    fields.lose_others(notes, _LOST, _SILENT)
    for choice in choices:
        rule = DraftRule(source, [target], (fields.line, fields.key), choice.tags(), dict(values), platforms, notes)
        notes = []
        draft.rules.append(rule)
        if refusal is not None:
            draft.refuse(rule, *refusal)


def _draft_referrers(
    draft: Draft, fields: ForeignFields, carried: Mapping[str, bool], values: dict[str, object], notes: list[str]
) -> None:
    """Add which referrers are copied, with cosign's tags of digests where regsync copies them."""
    said = {name: fields.flag(name) for name in carried}
    wanted = {name: carried[name] if flag is None else flag for name, flag in said.items()}
    if wanted["referrers"]:
        values["referrers"] = "all" if wanted["digestTags"] else "cosign=false"
    elif wanted["digestTags"]:
        what = "tags that are named after a digest are carried along with referrers only"
        draft.lose(notes, *fields.place("digestTags"), what, "referrers: all")


def _platforms(draft: Draft, fields: ForeignFields, notes: list[str]) -> list[str]:
    platforms = fields.texts("platforms")
    if single := fields.text("platform"):
        lose_single_platform(draft, notes, fields, single)
        platforms = [single]
    return platforms


def _draft_repositories(repos: ForeignFields, values: dict[str, object]) -> tuple[str, str | None] | None:
    """Add the selection of repositories; return a refusal where our format cannot express it."""
    if allow := repos.texts("allow"):
        values["match"] = as_whole_match(allow)
    globs: list[str] = []
    for expression in repos.texts("deny"):
        found = as_globs(expression)
        if found is None:
            what = f"repositories that {expression} denies: our `exclude` has patterns, and no expressions"
            return what, "write patterns such as team/**"
        globs += found
    if globs:
        values["exclude"] = globs
    return None


def _choices(fields: ForeignFields) -> list[Choice]:
    sets = list(fields.items("tagSets"))
    own = fields.fields("tags")
    if any(name in own for name in ("allow", "deny", "semverRange")):
        sets.append(own)
    choices: list[Choice] = []
    for each in sets:
        allow, deny = each.texts("allow"), each.texts("deny")
        texts = [text for text in each.texts("semverRange") if text]
        ranges: list[ForeignRange | None] = [one for text in texts for one in by_precedence(text)]
        regexes: list[str | None] = [anchored(portion) for portion in in_portions(allow)]
        without = (anchored(deny),) if deny else ()
        choices += [Choice(regex, one, without) for regex in regexes or [None] for one in ranges or [None]]
    return choices or [Choice()]


def _with_tag(text: str) -> str:
    if text.startswith("oci:"):
        return text if ":" in text.removeprefix("oci:") else f"{text}:latest"
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return text  # the proof of the draft refuses it
    return text if reference.tag or reference.digest else f"{text}:latest"
