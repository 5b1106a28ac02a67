"""JSON as a tree of texts with lines."""

from __future__ import annotations

import json

import pytest

from image_syncer.config.document import MAX_DEPTH, Duplicate, MalformedText, MappingNode, SequenceNode, parse_json


def as_data(node):
    """The tree as plain data: texts, lists, dicts."""
    if isinstance(node, MappingNode):
        return {key.text: as_data(value) for key, value in node.entries}
    if isinstance(node, SequenceNode):
        return [as_data(item) for item in node.items]
    return node.text


def test_values_and_lines():
    tree = parse_json(
        '{\n\t"a": ["x", 1.10, true, null],\r\n\t"b": {"c": "\\u00e9\\ud83d\\ude00"}, "d": {}, "e": []\n}'
    )
    assert as_data(tree.root) == {"a": ["x", "1.10", "true", "null"], "b": {"c": "é😀"}, "d": {}, "e": []}
    assert [key.line for key, _ in tree.root.entries] == [2, 3, 3, 3]
    assert [item.plain for item in tree.root.get("a").items] == [False, True, True, True]
    assert tree.is_json
    assert tree.rest_line is None


@pytest.mark.parametrize("text", ['"x"', "[]", "-1.5e3", "{}", '[[["deep"]], {"a": [{}]}]'])
def test_the_same_as_the_standard_library(text):
    assert as_data(parse_json(text).root) == json.loads(text, parse_int=str, parse_float=str)


def test_nothing():
    assert parse_json(" \n\t ").root is None


def test_duplicates_with_both_lines():
    tree = parse_json('{"a": 1,\n "b": {"c": 1, "c": 2},\n "a": 2}')
    assert tree.duplicates == (Duplicate("c", 2, 2), Duplicate("a", 1, 3))


def test_what_follows_is_told():
    assert parse_json('{}\n\n{"a": 1}').rest_line == 3


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ('{"a": 1,\n}', 2, "a comma after the last value"),
        ('["a",]', 1, "a comma after the last value"),
        ('{"a": 1\n "b": 2}', 2, "a comma is missing"),
        ('{"a"\n "b"}', 2, "a colon is missing"),
        ("{a: 1}", 1, "a key has to be in double quotes"),
        ("{'a': 1}", 1, "a key has to be in double quotes"),
        ("{,}", 1, "a key has to be in double quotes"),
        ('{"a": b}', 1, "a value that is not in double quotes"),
        ('{"a": 01}', 1, "a comma is missing"),
        ('{"a": NaN}', 1, "a value that is not in double quotes"),
        ('{"a": }', 1, "a value that is not in double quotes"),
        ('{"a": 1', 1, "the end comes too early"),
        ("{", 1, "the end comes too early"),
        ('{"a":', 1, "the end comes too early"),
        ("[1,", 1, "the end comes too early"),
        ('{"a": "b\n"}', 1, "invalid control character"),
        ('{"a": "b', 1, "unterminated string"),
        ('{"a": "\\q"}', 1, "invalid \\escape"),
        ('{"a": "\\ud800"}', 1, "half a character"),
        ("[}", 1, "a value that is not in double quotes"),
        ('{\n  // a comment\n  "a": 1}', 2, "a comment"),
        ('{"a": 1, # a comment\n}', 1, "a comment"),
        ('{"a": 1 /* a comment */}', 1, "a comment"),
    ],
)
def test_what_is_not_json(text, line, what):
    with pytest.raises(MalformedText) as caught:
        parse_json(text)
    assert what in caught.value.what
    assert caught.value.line == line


def test_values_are_not_told():
    with pytest.raises(MalformedText) as caught:
        parse_json('{"password": "hunter2\\q"}')
    assert "hunter2" not in str(vars(caught.value))


def test_depth_is_bounded():
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH).root is not None
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(MalformedText):
            parse_json("[" * depth)


def test_numbers_of_any_length_are_texts():
    assert parse_json("[" + "9" * 10_000 + "]").root.items[0].text == "9" * 10_000
