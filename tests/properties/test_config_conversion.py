"""Properties of conversions: the Go tool's files mean the same in our format, and foreign ranges what they meant."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from image_syncer.config import TagSelection
from image_syncer.config.converters import ConversionOptions, convert_files
from image_syncer.config.converters.foreign import by_precedence
from image_syncer.config.loader import load_configuration
from image_syncer.config.tag_filters import VersionSelection, check_range
from image_syncer.errors import ConfigurationError

words = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,6}", fullmatch=True)
hosts = st.sampled_from(
    ["a.example", "b.example:5000", "docker.io", "index.docker.io", "localhost", "[::1]:5000", "$R", "${R}"]
)
repositories = st.lists(words, min_size=1, max_size=3).map("/".join)
endings = st.one_of(
    st.just(""),
    tags.map(":{}".format),
    st.lists(tags, min_size=1, max_size=3).map(lambda some: ":" + ",".join(some)),
    st.sampled_from([f"@sha256:{'ab' * 32}", ":/^v?1\\.[0-9]+$/", ":/a|b/", r":/\d{2}/"]),
)
names = st.builds(lambda host, name, end: f"{host}/{name}{end}", hosts, repositories, endings)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff"), max_size=12)
secrets = texts | st.sampled_from(
    ["$U", "${U}", "a${U}", "$1", "pa$$word", "x${", "no", "1.10", "~", "- a", "#", "a: b"]
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "username": secrets,
        "password": secrets,
        "insecure": st.booleans(),
        "max_connections": st.integers(2, 99),
        "rate": st.sampled_from(["50MB/s", "mon-fri 08:00-18:00=50MB/s,500MB/s"]),
        "profile": st.sampled_from(["harbor", {"kind": "ecr", "mounts": "anywhere", "page_size": 7}]),
        "headers": st.dictionaries(st.sampled_from(["X-A", "X-B"]), words, max_size=2),
        "create_repositories": st.sampled_from([True, {"tags": {"a b": "c: d"}, "public": False}]),
        "proxy": st.sampled_from(["none", "http://u:p@proxy.example:1", "http://u:${U}@proxy.example:1"]),
        "unknown": words,
    },
)
prefixes = st.builds(
    lambda host, path: f"{host}{path}",
    st.sampled_from(["a.example", "b.example:5000", "docker.io", "index.docker.io", "https://a.example/"]),
    st.sampled_from(["", "/team"]),
)
ENVIRON = {"U": "user", "R": "r.example"}


def load(folder, environ, **contents):
    files = {}
    for role, content in contents.items():
        files[role] = str(Path(folder, f"{role}.yaml"))
        Path(files[role]).write_text(content, encoding="utf-8")
    return load_configuration(**files, environ=environ), files


def rules_of(configuration):
    return [(rule.source, rule.tags, rule.destinations, rule.platforms) for rule in configuration.rules]


def book_of(configuration):
    return {entry.prefix: entry for entry in configuration.registries.entries}


@given(
    st.dictionaries(prefixes, entries, max_size=3),
    st.dictionaries(
        names.filter(lambda name: "$" not in name), names | st.lists(names, min_size=1, max_size=2), min_size=1
    ),
    st.booleans(),
    st.booleans(),
)
def test_the_go_tools_files_mean_the_same_in_our_format(auth, images, single, with_secrets):
    dump = {"allow_unicode": True, "sort_keys": False}
    contents = {"auth": yaml.safe_dump(auth, **dump), "images": yaml.safe_dump(images, **dump)}
    if single:
        contents = {"config": yaml.safe_dump({"auth": auth, "images": images}, **dump)}
    with tempfile.TemporaryDirectory() as folder:
        try:
            before, files = load(folder, ENVIRON, **contents)
        except (ConfigurationError, ValueError):
            assume(False)
        words = {"file": files["config"]} if single else files
        done = convert_files(**words, options=ConversionOptions(with_secrets=with_secrets))
        after, _ = load(folder, ENVIRON | {secret.name: "hidden" for secret in done.secrets}, config=done.text)
    assert rules_of(after) == rules_of(before)
    assert done.left_out == 0
    assert len(after.registries.entries) == len(before.registries.entries)
    for entry in before.registries.entries:
        other = book_of(after)[entry.prefix]
        assert (other.credential is None) == (entry.credential is None)
        for field in ("insecure", "max_connections", "limits", "profile", "creation"):
            assert getattr(other, field) == getattr(entry, field)
        assert [name for name, _ in other.network.headers] == [name for name, _ in entry.network.headers]
        if with_secrets and not done.secrets:
            assert (other.credential, other.network) == (entry.credential, entry.network)


# --- Ranges in which prereleases are compared like other versions

numbers = st.tuples(*(st.integers(0, 2) for _ in range(3)))
operators = st.sampled_from([">=", "<=", ">", "<", "=", "!="])
terms = st.lists(st.tuples(operators, numbers), min_size=1, max_size=3)
listed = st.lists(
    st.tuples(numbers, st.sampled_from(["", "-rc.1", "-alpine"]), st.integers(0, 2), st.sampled_from(["", "v"])),
    max_size=12,
)


def written(version, rest, dropped, lead):
    """A tag; as many zeros at its end as `dropped` allows are left out."""
    parts = list(version)
    while dropped and len(parts) > 1 and parts[-1] == 0:
        parts.pop()
        dropped -= 1
    return lead + ".".join(map(str, parts)) + rest


def holds(operator, version, rest, bound):
    left, right = (version, not rest), (bound, True)  # a prerelease comes before its version
    return {
        ">=": left >= right,
        "<=": left <= right,
        ">": left > right,
        "<": left < right,
        "=": left == right,
        "!=": left != right,
    }[operator]


@given(st.lists(terms, min_size=1, max_size=2), listed)
def test_ranges_by_precedence_select_the_same_tags(groups, candidates):
    text = " || ".join(" ".join(f"{one}{'.'.join(map(str, bound))}" for one, bound in group) for group in groups)
    meant = {
        written(*each)
        for each in candidates
        if any(all(holds(one, each[0], each[1], bound) for one, bound in group) for group in groups)
    }
    selected = set()
    for part in by_precedence(text):
        versions = VersionSelection(check_range(part.within), part.prereleases)
        selection = TagSelection(versions=versions, exclude_regex="|".join(part.without) or None)
        selected |= set(selection.select([written(*each) for each in candidates]))
    assert selected == meant
    assert not re.search(r"\s\s", text)
