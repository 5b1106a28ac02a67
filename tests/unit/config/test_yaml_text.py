"""YAML as a tree of texts with lines."""

from __future__ import annotations

import pytest
import yaml

from image_syncer.config.document import (
    MAX_DEPTH,
    Duplicate,
    MalformedText,
    MappingNode,
    ScalarNode,
    SequenceNode,
    parse_yaml,
)

LOADERS = ["SafeLoader", *(["CSafeLoader"] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=LOADERS, autouse=True)
def loader(request, monkeypatch):
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, request.param), raising=False)


def as_data(node):
    """The tree as plain data: texts, lists, dicts."""
    if isinstance(node, MappingNode):
        return {key.text: as_data(value) for key, value in node.entries}
    if isinstance(node, SequenceNode):
        return [as_data(item) for item in node.items]
    return node.text


def test_scalars_stay_as_they_were_written():
    tree = parse_yaml("1.10: 0012\nyes: 1e3\nx: 'true'\n")
    assert as_data(tree.root) == {"1.10": "0012", "yes": "1e3", "x": "true"}
    assert [value.plain for _, value in tree.root.entries] == [True, True, False]


def test_lines():
    tree = parse_yaml("# comment\na:\n  - x\n  - y\nb: {c: z}\n")
    (a, items), (b, inner) = tree.root.entries
    assert (a.line, items.line, [item.line for item in items.items], b.line, inner.line) == (2, 3, [3, 4], 5, 5)


def test_aliases_and_merge_keys():
    tree = parse_yaml("d: &d {p: 1, q: 2}\ne: &e {q: 3, r: 4}\nx: {<<: [*d, *e], p: 9}\ny: *d\nz: {<<: *e}\n")
    data = as_data(tree.root)
    assert data["x"] == {"p": "9", "q": "2", "r": "4"}
    assert data["y"] == {"p": "1", "q": "2"}
    assert data["z"] == {"q": "3", "r": "4"}


def test_a_quoted_merge_key_is_a_key():
    assert as_data(parse_yaml("'<<': x").root) == {"<<": "x"}


def test_duplicates_are_told_with_both_lines_and_merged_keys_are_none():
    tree = parse_yaml("a: 1\nb: &b {x: 1, x: 2}\na: 3\nc: {<<: *b, x: 5}\n")
    assert tree.duplicates == (Duplicate("x", 2, 2), Duplicate("a", 1, 3))


@pytest.mark.parametrize(("text", "is_null"), [("a:", True), ("a: ~", True), ("a: null", True), ("a: 'null'", False)])
def test_nothing_written(text, is_null):
    node = parse_yaml(text).root.get("a")
    assert isinstance(node, ScalarNode)
    assert node.is_null is is_null


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_nothing_at_all(text):
    assert parse_yaml(text).root is None


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: b\n---\nc: d\n", 2), ("a: b\n...\n}{\n", 3), ("a: b\n", None), ("---\na: b\n...\n", None)],
)
def test_only_the_first_document_is_read(text, line):
    tree = parse_yaml(text)
    assert as_data(tree.root) == {"a": "b"}
    assert tree.rest_line == line


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: b\n\tc: d\n", 2, "a tab"),
        ("a: b\nc: 'd\ne: f\n", 2, "not closed"),
        ("a: b\nc: [d, e\nf: g\n", 2, "not closed"),
        ("a: @b\n", 1, "begins with a character that YAML reserves"),
        ("a: `b`\n", 1, "begins with a character that YAML reserves"),
        ("a: b: c\n", 1, "a colon where no key can be"),
        ("a: b\n  c: d\n", 2, "a colon where no key can be"),
        ("a: b\nc\n", 3, "no “key: value”"),
        ("a: b\nc\nd: e\n", 3, "no “key: value”"),
        ("a:\n  - x\n - y\n", 3, "indentation"),
        ('a: "\\q"\n', 1, "unknown escape"),
        ("a: *nowhere\n", 1, "names an anchor"),
        ("a: &a [*a]\n", 1, "names an anchor"),
        ("a: !secret b\n", 1, "a YAML tag"),
        ("a: !!binary b\n", 1, "a YAML tag"),
        ("[a, b]: c\n", 1, "a key that is a list"),
        ("a: {<<: b}\n", 1, "<< merges"),
        ('a: "\\ud800"\n', 1, ""),
    ],
)
def test_what_is_not_yaml(text, line, what):
    with pytest.raises(MalformedText) as caught:
        parse_yaml(text)
    assert what in caught.value.what
    assert abs(caught.value.line - line) <= 1  # the two parsers differ by a line at the end of a block


def test_a_control_character():
    with pytest.raises(MalformedText) as caught:
        parse_yaml("a: \x07b")
    assert "may not be in a text file" in caught.value.what


@pytest.mark.parametrize(
    "text", ["p: *hunter2secret", "p: !hunter2secret", 'p: "hunter2\\secret"', "p: %hunter2secret"]
)
def test_values_are_not_told(text):
    with pytest.raises(MalformedText) as caught:
        parse_yaml(text)
    assert "hunter2" not in str(vars(caught.value))


def test_depth_is_bounded():
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH).root is not None
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(MalformedText):
            parse_yaml("[" * depth)


def test_an_alias_bomb_is_refused_before_it_unfolds():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    with pytest.raises(MalformedText) as caught:
        parse_yaml("\n".join(lines))
    assert "counting what aliases repeat" in caught.value.what
