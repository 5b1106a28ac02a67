"""RE2 matches what `re` matches, and takes little time where `re` takes for ever."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from image_syncer.config import TagSelection
from image_syncer.config.regex import Matcher, RegexError, translate_regex
from support.own_process import in_own_process

ATOMS = st.sampled_from(
    [
        "a",
        "b",
        ".",
        r"\d",
        r"\w",
        r"\.",
        "-",
        "[ab]",
        "[^a]",
        "[a-c1]",
        "[[:alpha:]]",
        "^",
        "$",
        r"\b",
        r"\B",
        r"\A",
        r"\z",
    ]
)
REPEATS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "{0,}", "*?", "+?"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, REPEATS).map(lambda pair: f"({pair[0]}){pair[1]}"),
        inner.map(lambda text: f"(?i:{text})"),
    )


EXPRESSIONS = st.recursive(st.tuples(ATOMS, REPEATS).map("".join), grown, max_leaves=8)


@given(EXPRESSIONS, st.lists(st.text("abAB1.-_", min_size=1, max_size=8), min_size=1, max_size=5))
@example(r"^v?[0-9]+(\.[0-9]+)*$", ["1.2.3", "v1", "v1.", "1..2", ""])
@example(r"(?i)^ALPINE-\d{2}$", ["alpine-12", "alpine-123"])
@example(r"(?i:[^a])", ["A", "b"])
@example(r"(|a)+$", ["aa", ""])
@example(r"(a*)*", ["b"])
def test_it_says_what_re_says(expression: str, texts: list[str]) -> None:
    try:
        pattern = translate_regex(expression)
    except RegexError:
        assume(False)
    matcher = Matcher(pattern)
    for text in (*texts, *texts):
        assert matcher.search(text) is bool(re.search(pattern, text)), (pattern, text)
        assert matcher.fullmatch(text) is bool(re.fullmatch(pattern, text)), (pattern, text)


@pytest.mark.parametrize(
    "expression",
    [
        "^(a+)+$",
        "^(a|a)*$",
        "^(a|ab|b|ba)*c$",
        "(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)x$",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "^(a?){60}a{60}$",
        "((a{0,30}){0,30})$!",
    ],
)
@in_own_process
def test_expressions_that_never_end_elsewhere(expression: str) -> None:
    matcher = Matcher(translate_regex(expression))
    began = time.process_time()
    for _ in range(100):
        matcher.search("a" * 127 + "!")
    seconds = time.process_time() - began
    assert seconds < 5, f"{seconds:.1f} s"


def test_what_is_too_large_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    for expression in ("((a{0,100}){0,100}){0,100}", "a{1001}", "[^a]{1000}" * 90):
        with pytest.raises(RegexError, match="too large"):
            translate_regex(expression)
    assert capfd.readouterr().err == "", "RE2 logs its errors"


def test_the_end_of_the_text_is_spelled_for_both() -> None:
    assert Matcher(translate_regex(r"^v1\z")).search("v1")
    assert Matcher(translate_regex(r"^\\Z$")).search("\\Z")


def test_texts_that_are_no_names_match_nothing_by_chance() -> None:
    assert Matcher("^[a-z]+$").search("caf\ud800") is False
    assert Matcher("^caf.$").fullmatch("café") is True


@in_own_process
def test_rules_are_done_with_hostile_names_soon() -> None:
    began = time.process_time()
    tags = TagSelection(regex=translate_regex("^(a+)+$")).select(["a" * 127 + "_", "aaa"])
    assert tags == ["aaa"]
    seconds = time.process_time() - began
    assert seconds < 5, f"{seconds:.1f} s"


def test_an_expression_serves_many_names() -> None:
    matcher = Matcher("(a|b)(a|b)(a|b)c$")
    assert [matcher.search(text) for text in ("abac", "ababbac", "abab", "c", "bbbc")] == [
        True, True, False, False, True,
    ]  # fmt: skip
