"""What regsync, skopeo sync and dregsy copy, given their file and what registries list: written after their
documentation and sources, and knowing nothing of our own format, so that it can judge what a file is converted to.

regsync: https://regclient.org/usage/regsync, cmd/regsync/root.go and internal/semver of regclient. skopeo:
skopeo-sync(1), cmd/skopeo/sync.go, and the constraints of https://github.com/Masterminds/semver. dregsy: its README,
doc/design-image-matching.md, internal/pkg/tags/tagset.go, and the ranges of https://github.com/blang/semver.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Copies", "planned_by_dregsy", "planned_by_regsync", "planned_by_skopeo"]

Copies = set[tuple[str, str, tuple[str, ...]]]
"""Source, destination and platforms; none: all of them."""
Listed = Mapping[str, Sequence[str]]
"""The tags of each repository that there is, by its whole name."""
_Test = Callable[[str], bool]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]*")


def planned_by_regsync(document: Mapping[str, Any], listed: Listed) -> Copies:
    """Type by type: an image, a repository, or every repository of a registry."""
    copies: Copies = set()
    for step in document["sync"]:
        source, target = step["source"], step["target"]
        platforms = tuple(step.get("platforms") or filter(None, [step.get("platform")]))
        if step["type"] == "image":
            copies.add((_with_tag(_whole(source)), _with_tag(_whole(target)), platforms))
            continue
        pairs = [(_whole(source), _whole(target))]
        if step["type"] == "registry":
            names = [name.removeprefix(f"{source}/") for name in listed if name.startswith(f"{source}/")]
            pairs = [(f"{source}/{name}", f"{target}/{name}") for name in _allowed(step.get("repos", {}), names)]
        for repository, destination in pairs:
            for tag in _regsync_tags(step, listed.get(repository, ())):
                copies.add((f"{repository}:{tag}", f"{destination}:{tag}", platforms))
    return copies


def _regsync_tags(step: Mapping[str, Any], tags: Sequence[str]) -> set[str]:
    sets = list(step.get("tagSets", ()))
    if any(step.get("tags", {}).values()):
        sets.append(step["tags"])
    if not sets:
        return set(tags)
    found: set[str] = set()
    for each in sets:
        ranges = [text for text in each.get("semverRange", ()) if text]
        left = [tag for tag in tags if not ranges or any(_in_regsync_range(tag, text) for text in ranges)]
        found.update(_allowed(each, left))
    return found


def _allowed(lists: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    allow, deny = lists.get("allow") or [], lists.get("deny") or []
    return [
        name
        for name in names
        if (not allow or any(re.search(f"^{one}$", name) for one in allow))
        and not any(re.search(f"^{one}$", name) for one in deny)
    ]


def _in_regsync_range(tag: str, text: str) -> bool:
    numbers, dash, prerelease = tag.removeprefix("v").partition("+")[0].partition("-")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*", numbers):
        return False
    version = _key([int(number) for number in numbers.split(".")], prerelease if dash else "")
    for term in text.split():
        operator, written = _operator(term, ("^", "~", ">=", "<=", ">", "<", "="))
        bound = [int(number) for number in written.removeprefix("v").split(".")]
        if operator in ("^", "~"):
            major, minor, patch = [*bound, 0, 0][:3]
            upper = [major + 1, 0, 0] if major else [0, minor + 1, 0] if minor else [0, 0, patch + 1]
            if not _key(bound) <= version < _key([major, minor + 1, 0] if operator == "~" else upper):
                return False
        elif not _compare(version, operator or "=", _key(bound)):
            return False
    return True


def planned_by_skopeo(document: Mapping[str, Any], listed: Listed, to: str, *, scoped: bool = False) -> Copies:
    """Every image of every registry in the file, below `to`."""
    copies: Copies = set()
    for registry, said in document.items():
        ends: list[tuple[str, str]] = []
        for name, references in (said.get("images") or {}).items():
            known = [one for one in references or () if _DIGEST.fullmatch(one) or re.fullmatch(r"\w[\w.-]{0,127}", one)]
            ends += [(name, f"@{one}" if _DIGEST.fullmatch(one) else f":{one}") for one in known]
            if not references:
                ends += [(name, f":{tag}") for tag in listed.get(_whole(f"{registry}/{name}"), ())]
        for key, test in (("images-by-tag-regex", _matches), ("images-by-semver", _in_constraint)):
            for name, text in (said.get(key) or {}).items():
                tags = listed.get(_whole(f"{registry}/{name}"), ())
                ends += [(name, f":{tag}") for tag in tags if test(text, tag)]
        for name, end in ends:
            source = _whole(f"{registry}/{name}")
            below = source if scoped else source.rpartition("/")[2]
            copies.add((f"{source}{end}", f"{to.rstrip('/')}/{below}{end}", ()))
    return copies


def _matches(expression: str, tag: str) -> bool:
    return re.search(expression, tag) is not None


def _in_constraint(text: str, tag: str) -> bool:
    """Comparisons that all have to hold, and alternatives; what is not written of a version may be anything."""
    match = re.fullmatch(r"v?([0-9]+(?:\.[0-9]+){0,2})(-[0-9A-Za-z.-]+)?", tag)
    if match is None:
        return False
    numbers, prerelease = [*map(int, match[1].split(".")), 0, 0][:3], (match[2] or "")[1:]
    version = _key(numbers, prerelease)
    return any(all(_holds(term, numbers, version, prerelease) for term in _terms(one)) for one in text.split("||"))


def _terms(text: str) -> list[str]:
    return re.sub(r"(?<=[<>=!~^])\s+", "", text.replace(",", " ")).split()


def _holds(term: str, numbers: list[int], version: object, prerelease: str) -> bool:
    operator, written = _operator(term, (">=", "<=", "!=", ">", "<", "=", "~", "^"))
    written, dash, rest = written.partition("-")
    if prerelease and not dash:
        return False  # prereleases are meant only where the comparison has one
    given = [int(number) for number in written.split(".") if number.isdigit()]
    bound = [*given, 0, 0][:3]
    up = [*bound[: len(given) - 1], bound[len(given) - 1] + 1, 0, 0][:3] if given else bound
    is_whole, low = len(given) == len(numbers), _key(bound, rest)
    if operator == "^":
        place = next((at for at in range(3) if bound[at]), min(len(given), 3) - 1)
        return low <= version < _key([*bound[:place], bound[place] + 1, 0, 0][:3], "-")  # type: ignore[operator]
    if operator == "~":
        up = [bound[0], bound[1] + 1, 0] if len(given) > 1 else [bound[0] + 1, 0, 0]
        return low <= version < _key(up, "-")  # type: ignore[operator]
    if not is_whole and operator in {">", "<=", "=", "!=", ""}:
        is_in = numbers[: len(given)] == given
        return {">": not is_in and numbers > bound, "<=": is_in or numbers < bound, "!=": not is_in}.get(
            operator, is_in
        )
    return _compare(version, operator or "=", low)


def planned_by_dregsy(document: Mapping[str, Any], listed: Listed) -> Copies:
    """Task by task, mapping by mapping."""
    copies: Copies = set()
    for task in document["tasks"]:
        source, target = task["source"]["registry"], task["target"]["registry"]
        for mapping in task["mappings"]:
            platform = mapping.get("platform", "")
            platforms = () if platform in {"", "all"} else (platform,)
            for name in _dregsy_names(mapping["from"], source, listed):
                path = _dregsy_path(mapping, f"/{name}")
                repository = f"{source}/{name}"
                for tag in _dregsy_tags(mapping.get("tags") or [], listed.get(repository, ())):
                    copies.add((f"{repository}:{tag}", f"{target}{path}:{tag}", platforms))
                for digest in mapping.get("digests") or []:
                    copies.add((f"{repository}@{digest}", f"{target}{path}@{digest}", platforms))
    return copies


def _dregsy_names(from_: str, registry: str, listed: Listed) -> list[str]:
    if not from_.startswith("regex:"):
        return [from_.strip("/")]
    names = [name.removeprefix(f"{registry}/") for name in listed if name.startswith(f"{registry}/")]
    return [name for name in names if _whole_or_not(from_.removeprefix("regex:"))(name)]


def _dregsy_path(mapping: Mapping[str, Any], path: str) -> str:
    to = mapping.get("to", "")
    if to.startswith("regex:"):
        expression, _, replacement = to.removeprefix("regex:").partition(",")
        return re.sub(expression, re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", replacement), path)
    if not to:
        return path
    to = to if to.startswith("/") else f"/{to}"
    return f"{to}{path}" if mapping["from"].startswith("regex:") else to


def _dregsy_tags(items: Sequence[str], tags: Sequence[str]) -> set[str]:
    kinds: dict[str, list[str]] = {"semver": [], "regex": [], "keep": []}
    exact: list[str] = []
    newest = None
    for item in (one.strip() for one in items):
        kind, colon, text = item.partition(":")
        if found := re.fullmatch(r"keep:\s+latest\s+([0-9]+)", item):
            newest = int(found[1])
        elif colon and kind in kinds:
            kinds[kind].append(text.strip())
        else:
            exact.append(item)
    wants_all = not (exact or kinds["semver"] or kinds["regex"])
    found = set(tags) if wants_all else set(exact)
    found |= {tag for tag in tags if any(_in_blang_range(tag, text) for text in kinds["semver"])}
    found |= {tag for tag in tags if any(_whole_or_not(text)(tag) for text in kinds["regex"])}
    found = {tag for tag in found if all(_whole_or_not(text)(tag) for text in kinds["keep"])}
    if not newest:
        return found
    versions = sorted((tag for tag in found if _blang(tag)), key=_blang_order)
    if versions:
        return (found - set(versions)) | set(versions[-newest:])
    return set(sorted(found)[-newest:])


def _whole_or_not(expression: str) -> _Test:
    """dregsy's expressions: anchored where they are not, `!` in front inverts."""
    body = expression.strip()
    is_inverted, body = body.startswith("!"), body.removeprefix("!")
    head, tail = "" if body.startswith("^") else "^", "" if body.endswith("$") else "$"
    return lambda text: (re.search(f"{head}{body}{tail}", text) is None) is is_inverted


def _in_blang_range(tag: str, text: str) -> bool:
    version = _blang(tag)
    if version is None:
        return False
    for group in text.split("||"):
        terms = [_operator(term, (">=", "<=", "!=", "==", ">", "<", "=", "!")) for term in _terms(group)]
        if all(_in_blang_term(version, operator or "=", written) for operator, written in terms):
            return True
    return False


def _in_blang_term(version: Any, operator: str, written: str) -> bool:
    operator = {"==": "=", "!": "!="}.get(operator, operator)
    given = [int(number) for number in written.split(".") if number.isdigit()]
    if len(given) == len(written.split(".")):
        return _compare(version, operator, _key(given))
    upper = [*given[:-1], given[-1] + 1, 0, 0][:3]
    return bool(_key(given) <= version < _key(upper))  # 1.2.x


def _blang(tag: str) -> Any:
    """Three numbers, or fewer without a prerelease; None where it is no version."""
    numbers, dash, prerelease = tag.removeprefix("v").partition("+")[0].partition("-")
    parts = numbers.split(".", 2)
    if dash and len(parts) < 3:
        return None
    if not all(re.fullmatch(r"[0-9]+", part) for part in parts):
        return None
    identifiers = prerelease.split(".") if dash else []
    for one in identifiers:
        if not re.fullmatch(r"[0-9A-Za-z-]+", one) or (one.isdigit() and not _NUMBER.fullmatch(one)):
            return None
    return _key([int(part) for part in parts], prerelease)


def _blang_order(tag: str) -> Any:
    return _blang(tag)


def has_equal_versions(tags: Iterable[str]) -> bool:
    """Whether dregsy takes two tags for the same version: which of them is the newer one is chance."""
    versions = [version for tag in tags if (version := _blang(tag)) is not None]
    return any(one == other for one, other in itertools.combinations(versions, 2))


@functools.total_ordering
class _Precedence:
    """Of a prerelease (https://semver.org/#spec-item-11); "" is none, and higher than all; "-" is lower than all."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _parts(self) -> tuple[int, list[tuple[bool, int, str]]]:
        if self._text in {"", "-"}:
            return (2 if not self._text else 0), []
        identifiers = self._text.split(".")
        return 1, [(not one.isdigit(), int(one) if one.isdigit() else 0, one) for one in identifiers]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Precedence) and self._parts() == other._parts()

    def __lt__(self, other: _Precedence) -> bool:
        return self._parts() < other._parts()

    def __hash__(self) -> int:
        return hash(self._text)


def _key(numbers: Sequence[int], prerelease: str = "") -> Any:
    padded = [*numbers, *[0] * (6 - len(numbers))]
    return (padded, _Precedence(prerelease))


def _compare(version: Any, operator: str, bound: Any) -> bool:
    tests = {
        "=": version == bound,
        "!=": version != bound,
        ">": version > bound,
        ">=": version >= bound,
        "<": version < bound,
        "<=": version <= bound,
    }
    return bool(tests[operator])


def _operator(term: str, known: Sequence[str]) -> tuple[str, str]:
    operator = next((one for one in known if term.startswith(one)), "")
    return operator, term.removeprefix(operator)


def _whole(name: str) -> str:
    """With the registry, and Docker Hub's `library`."""
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name
    return f"{first}/library/{rest}" if first == "docker.io" and "/" not in rest else f"{first}/{rest}"


def _with_tag(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"
