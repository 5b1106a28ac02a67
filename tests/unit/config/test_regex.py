"""Go's regular expressions in Python."""

from __future__ import annotations

import re
import warnings

import pytest

from image_syncer.config.regex import MAX_REGEX_CHARACTERS, RegexError, translate_regex


@pytest.mark.parametrize(
    ("expression", "found", "not_found"),
    [
        ("a+", "latest", "1.0"),
        (r"^v[0-9]+\.[0-9]+$", "v1.20", "v1.20.1"),
        (r"^v1\z", "v1", "v11"),
        (r"^[[:digit:]]+$", "123", "12a"),
        (r"^[[:alpha:]_[:digit:]]+$", "a_1", "a-1"),
        (r"^[^[:digit:]]+$", "abc", "ab1"),
        (r"\Q1.0\E", "v1.0", "v1x0"),
        (r"\Qa+", "xa+", "aa"),
        (r"(?<year>20[0-9]{2})", "2024-1", "1999"),
        (r"(?P<major>1)\.", "1.0", "10"),
        (r"(?i)^RC", "rc1", "1rc"),
        (r"(?i:RC)1", "rc1", "rc2"),
        (r"(?:a|b){2,3}?$", "ab", "a"),
        (r"^a{,2}$", "a{,2}", "aa"),
        (r"^[]a]+$", "a]", "b"),
        (r"^[[x]+$", "x[", "y"),
        (r"^\x41$", "A", "a"),
        (r"^[\d_]+$", "1_2", "a"),
        (r"^[a\-z]$", "-", "b"),
        (r"^{$", "{", "x"),
        (r"1\.0\+build|^x", "1.0+build", "y"),
        (r"^a&&[b&&~]$", "a&&~", "a&&c"),
        (r"^[+--]$", ",", "."),
        (r"^[--/]$", ".", "0"),
        (r"^[a-c--/]$", ".", "d"),
        (r"^[^--/]$", "0", "."),
        (r"^[a-]$", "-", "b"),
        (r"^[[:word:]-z]$", "-", "{"),
        (r"^[[:word:]-z]$", "_", "`"),
    ],
)
def test_what_go_understands(expression, found, not_found):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pattern = re.compile(translate_regex(expression))
    assert pattern.search(found)
    assert not pattern.search(not_found)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("(?=x)", "no look-around (at character 1)"),
        ("a(?!x)", "no look-around (at character 2)"),
        ("(?<=x)y", "no look-around"),
        ("(?<!x)y", "no look-around"),
        ("(?P=name)", "after (?"),
        ("(?>a)", "after (?"),
        ("(?#comment)", "after (?"),
        ("(?U)a", "after (?"),
        ("(?-i)a", "after (?"),
        ("a(?i)b", "flags stand at the beginning"),
        (r"(a)\1", r"\1 is not supported (a reference back to a group) (at character 4)"),
        (r"\pL", r"\p is not supported"),
        (r"a\Z", r"\Z is not supported"),
        (r"\u0041", r"\u is not supported"),
        (r"[\b]", r"\b is not supported"),
        ("a++", "a repetition of a repetition (at character 3)"),
        ("a**", "a repetition of a repetition"),
        ("a*??", "a repetition of a repetition"),
        ("[[:nothing:]]", "the class [:nothing:] is not supported"),
        ("[[:^digit:]]", "the class [:^digit:] is not supported"),
        ("x[a", "a [ that is not closed (at character 2)"),
        ("a\\", "a backslash at the end"),
        ("(a", "(at character 1)"),
        ("*a", "nothing to repeat"),
        ("a{3,2}", "min repeat greater than max repeat"),
        ("a" * (MAX_REGEX_CHARACTERS + 1), "longer than"),
    ],
)
def test_what_is_refused_says_why_and_where(expression, message):
    with pytest.raises(RegexError) as caught:
        translate_regex(expression)
    assert message in str(caught.value)
