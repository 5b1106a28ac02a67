"""Properties of what the user writes: nothing crashes, nothing secret is told, both spellings mean the same."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.config.document import (
    MalformedText,
    MappingNode,
    ScalarNode,
    SequenceNode,
    parse_document,
    parse_json,
    parse_yaml,
)
from image_syncer.config.fields import Expansion, ExpansionError, expand
from image_syncer.config.loader import load_configuration
from image_syncer.config.regex import RegexError, translate_regex
from image_syncer.errors import ConfigurationError
from image_syncer.oci import Repository
from image_syncer.registry import Credential

SECRET = "hunter2hunter2"
texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029\x85"), max_size=20
)
words = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,6}", fullmatch=True)
data = st.recursive(
    texts | st.integers().map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
noise = st.text(alphabet="{}[]:,-&*!|>'\"%@`#?\n\t ab$/.<=\\0", max_size=60)
names = st.sampled_from(["registries", "rules", "version", "auth", "images", "username", "password", "a.io", "nginx:1"])
keys = names | st.sampled_from(
    ["source", "destination", "tags", "platforms", "include", "regex", "insecure", "ca_file"]
)
values = (
    st.sampled_from(["2", "true", "r.io/x", "nginx", "$U", "${U}", "a.io/x:/(/", "linux/amd64", "", SECRET]) | texts
)
shapes = st.recursive(values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4))


def as_data(node):
    """The tree as plain data."""
    if isinstance(node, MappingNode):
        return {key.text: as_data(value) for key, value in node.entries}
    if isinstance(node, SequenceNode):
        return [as_data(item) for item in node.items]
    assert isinstance(node, ScalarNode)
    return node.text


def load(environ=None, **contents):
    """Loads files with these contents, each in its role."""
    with tempfile.TemporaryDirectory() as directory:
        files = {}
        for role, content in contents.items():
            files[role] = str(Path(directory, f"{role}.yaml"))
            Path(files[role]).write_text(content, encoding="utf-8")
        return load_configuration(**files, environ=environ or {})


def attempt(function, *args, **kwargs):
    """What a call gives, and None; or None, and the error that users are told."""
    try:
        return function(*args, **kwargs), None
    except (ConfigurationError, MalformedText, RegexError) as error:
        return None, error


@given(data)
def test_json_is_read_as_the_standard_library_reads_it(value):
    for options in ({}, {"indent": "\t", "ensure_ascii": False}):
        tree = parse_json(json.dumps(value, **options))
        assert as_data(tree.root) == value
        assert tree.rest_line is None


@given(data)
def test_yaml_is_read_as_it_was_written(value):
    for style in (True, False):
        assert as_data(parse_yaml(yaml.safe_dump(value, allow_unicode=True, default_flow_style=style)).root) == value


@given(st.binary(max_size=200) | noise.map(str.encode), st.sampled_from(["x.yaml", "x.json", "x"]))
def test_any_bytes_are_a_tree_or_malformed(raw, name):
    tree, error = attempt(parse_document, raw, name)
    assert error.what if error else tree.root is None or as_data(tree.root) is not None


@given(shapes, shapes, st.sampled_from(["config", "split"]))
def test_any_shape_is_a_configuration_or_problems_and_never_a_crash(one, other, flavour):
    files = (
        {"config": json.dumps(one)} if flavour == "config" else {"auth": json.dumps(one), "images": json.dumps(other)}
    )
    configuration, error = attempt(load, **files)
    if error is None:
        assert configuration.rules
    else:
        assert all(problem.file and problem.what for problem in error.problems)
        assert len(str(error).splitlines()) == len(error.problems)


@given(
    st.sampled_from(
        ["", "$", "${", "${A}", "$A ", "@", ": ", "\\", '"', "'", "#", "{", "[", "*", "&", "!", "%", "`", "| "]
    ),
    st.sampled_from(["", "$", "}", "'", '"', ": x", " #", "]", "@a.io", "$B"]),
    st.sampled_from(["a.io:\n  username: me\n  password: ", "a.io: {username: me, password: ", "a.io: ", "password: "]),
    st.booleans(),
)
def test_no_problem_tells_a_password_however_it_is_written(before, after, place, is_single):
    assume((before, after) != ("${", "}"))  # that is no password but the name of a variable
    text = f"{place}{before}{SECRET}{after}\n"
    files = {"config": f"auth:\n  {text}"} if is_single else {"auth": text, "images": "nginx: ''"}
    configuration, error = attempt(load, **files)
    told = f"{error} {error.problems}" if error else str(configuration.warnings)
    assert "hunter2" not in told


@given(words, st.lists(tags, min_size=1, max_size=4), st.lists(tags, min_size=1, max_size=4))
def test_tags_are_renamed_in_order_exactly_when_their_numbers_agree(name, sources, targets):
    images = json.dumps({f"a.io/{name}:{','.join(sources)}": f"b.io/{name}:{','.join(targets)}"})
    clash = len({target: source for source, target in zip(sources, targets, strict=False)}) < len(
        set(zip(sources, targets, strict=False))
    )
    configuration, error = attempt(load, images=images)
    if error is None:
        pairs = configuration.rules[0].pairs()
        assert [(a.tag, b.tag) for a, b in pairs] == list(dict.fromkeys(zip(sources, targets, strict=True)))
    else:
        assert len(sources) != len(targets) or clash, str(error)


@given(words, st.lists(words, min_size=1, max_size=3, unique=True), words, words)
def test_both_spellings_are_one_model(source, targets, username, password):
    destinations = [f"b.io/{target}" for target in targets]
    entry = {"a.io": {"username": username, "password": password}}
    go = load(config=json.dumps({"auth": entry, "images": {f"a.io/{source}": destinations}}))
    rule = {"source": f"a.io/{source}", "destination": destinations}
    own = load(config=json.dumps({"version": 2, "registries": entry, "rules": [rule]}))
    assert go.registries == own.registries
    assert [(r.source, r.tags, r.destinations) for r in go.rules] == [
        (r.source, r.tags, r.destinations) for r in own.rules
    ]


paths = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)


@given(st.lists(paths, unique=True, max_size=6), paths)
def test_the_longest_prefix_wins(prefixes, name):
    book = RegistryBook([RegistryEntry(f"a.io/{prefix}", Credential("u", "p")) for prefix in prefixes])
    fitting = [prefix for prefix in prefixes if f"{name}/".startswith(f"{prefix}/")]
    entry = book.entry_for(Repository("a.io", name))
    assert (entry.prefix if entry else None) == (f"a.io/{max(fitting, key=len)}" if fitting else None)


@given(texts, st.sampled_from(Expansion))
def test_text_without_a_dollar_sign_is_not_touched(text, style):
    plain = text.replace("$", "")
    assert expand(plain, style, {}) == plain


@given(st.lists(words | st.sampled_from(["$A", "${A}", "$", "${", "}", "$1"]), max_size=6).map("".join))
def test_expansion_gives_text_or_an_error(text):
    for style in Expansion:
        try:
            expanded = expand(text, style, {"A": "value"})
        except ExpansionError:
            assert "$" in text
        else:
            assert "${A}" not in expanded or style is Expansion.WHOLE


@given(st.text(alphabet=r"ab01[]{}()|*+?.^$\\,:-PQEzd<>=!i", max_size=16))
def test_a_translated_expression_always_compiles(text):
    pattern, error = attempt(translate_regex, text)
    assert str(error) if error else re.compile(pattern)
