"""Environment variables in values."""

from __future__ import annotations

import pytest

from image_syncer.config.fields import Expansion, ExpansionError, expand

ENVIRON = {"HOST": "quay.io", "EMPTY": "", "_x1": "one"}


@pytest.mark.parametrize(
    ("text", "style", "expanded"),
    [
        ("$HOST", Expansion.ANYWHERE, "quay.io"),
        ("${HOST}/a", Expansion.ANYWHERE, "quay.io/a"),
        ("$HOST/$_x1:${HOST}", Expansion.ANYWHERE, "quay.io/one:quay.io"),
        ("a${EMPTY}b", Expansion.ANYWHERE, "ab"),
        ("a$ b$", Expansion.ANYWHERE, "a$ b$"),
        ("pa$$!word$1", Expansion.ANYWHERE, "pa$$!word$1"),
        ("$HOST/${HOST}", Expansion.BRACED, "$HOST/quay.io"),
        ("${HOST}", Expansion.WHOLE, "quay.io"),
        ("x${HOST}", Expansion.WHOLE, "x${HOST}"),
        ("$HOST", Expansion.WHOLE, "$HOST"),
        ("${not a name}", Expansion.WHOLE, "${not a name}"),
        ("plain", Expansion.ANYWHERE, "plain"),
    ],
)
def test_expand(text, style, expanded):
    assert expand(text, style, ENVIRON) == expanded


def test_what_a_variable_holds_is_not_expanded_again():
    assert expand("$A", Expansion.ANYWHERE, {"A": "$B", "B": "x"}) == "$B"


@pytest.mark.parametrize(
    ("text", "style", "name", "is_telling"),
    [
        ("$UNSET", Expansion.ANYWHERE, "UNSET", True),
        ("${unset}", Expansion.ANYWHERE, "unset", True),
        ("${unset}", Expansion.WHOLE, "unset", True),
        ("pa$word", Expansion.ANYWHERE, "word", False),
        ("$word", Expansion.ANYWHERE, "word", False),
        ("pa${WORD}", Expansion.BRACED, "WORD", False),
        ("${", Expansion.ANYWHERE, None, False),
        ("a${}", Expansion.ANYWHERE, None, False),
        ("${a-b}", Expansion.BRACED, None, False),
    ],
)
def test_an_unset_variable_is_an_error_and_a_password_is_not_told(text, style, name, is_telling):
    with pytest.raises(ExpansionError) as caught:
        expand(text, style, {})
    assert (caught.value.name, caught.value.is_telling) == (name, is_telling)
