"""`WWW-Authenticate`: what was written is read back, however it is spaced and split, and no text is too strange."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from image_syncer.registry import Challenge, parse_challenges

TOKEN_CHARS = string.ascii_letters + string.digits + "!#$%&'*+.^_`|~-"
tokens = st.text(TOKEN_CHARS, min_size=1, max_size=12)
schemes = st.text(string.ascii_letters, min_size=1, max_size=8)
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=30)
names = tokens.map(str.lower).filter(lambda name: name != "token68")
token68s = st.from_regex(r"[A-Za-z0-9._~+/-]{1,20}={0,2}", fullmatch=True)
spaces = st.sampled_from(["", " ", "\t", "  "])


@st.composite
def challenges(draw: st.DrawFn) -> Challenge:
    scheme = draw(schemes).lower()
    if draw(st.booleans()):
        return Challenge(scheme, draw(st.dictionaries(names, values, max_size=4)))
    return Challenge(scheme, {"token68": draw(token68s)})


@st.composite
def written(draw: st.DrawFn, challenge: Challenge) -> str:
    """The challenge as a server may write it (RFC 9110, section 11.6.1)."""
    scheme = draw(st.sampled_from([challenge.scheme, challenge.scheme.upper(), challenge.scheme.title()]))
    if "token68" in challenge.params:
        return f"{scheme} {challenge.params['token68']}"
    params = []
    for name, value in challenge.params.items():
        bare = value and set(value) <= set(TOKEN_CHARS) and draw(st.booleans())
        quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        equals = draw(spaces) + "=" + draw(spaces)
        params.append(draw(st.sampled_from([name, name.upper()])) + equals + (value if bare else quoted))
    comma = draw(spaces) + "," + draw(spaces)
    return f"{scheme} {comma.join(params)}" if params else scheme


@given(st.data(), st.lists(challenges(), max_size=4))
def test_what_was_written_is_read_back(data: st.DataObject, given_: list[Challenge]) -> None:
    texts = [data.draw(written(each)) for each in given_]
    in_one = data.draw(st.sampled_from([", ", ",", " , ,"])).join(texts)
    assert parse_challenges(texts) == tuple(given_)
    assert parse_challenges([in_one]) == tuple(given_)


@given(st.lists(st.text(), max_size=3))
def test_any_text_is_read_without_a_fault(texts: list[str]) -> None:
    for challenge in parse_challenges(texts):
        assert challenge.scheme
        assert challenge.scheme == challenge.scheme.lower()


@given(st.lists(st.sampled_from(['"', "\\", "=", ",", " ", "Bearer", "realm", "a", "\t"]), max_size=40).map("".join))
def test_grammar_gone_wrong_is_read_without_a_fault(text: str) -> None:
    for challenge in parse_challenges([text]):
        assert all(name == name.lower() for name in challenge.params)
