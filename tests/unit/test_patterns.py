import re

import pytest

from image_syncer.patterns import lazy_pattern


def test_a_lazy_pattern_does_what_the_compiled_one_does():
    text, flags = r"(?P<name>[a-z]+)=(\d+)", re.IGNORECASE
    lazy, compiled = lazy_pattern(text, flags), re.compile(text, flags)
    for _ in range(2):
        assert lazy.fullmatch("Some=12").groupdict() == compiled.fullmatch("Some=12").groupdict()
        assert lazy.sub("x", "a=1 b=2") == compiled.sub("x", "a=1 b=2")
    assert (lazy.pattern, lazy.flags, lazy.groups) == (compiled.pattern, compiled.flags, compiled.groups)
    assert lazy_pattern(rb"\d").search(b"a1").group() == b"1"


def test_it_is_compiled_once_and_when_it_is_used(monkeypatch):
    compiled = []
    real = re.compile
    monkeypatch.setattr(re, "compile", lambda *given: compiled.append(given) or real(*given))
    lazy = lazy_pattern("a+")
    assert compiled == []
    assert lazy.match("aa")
    assert lazy.match("aa")
    assert compiled == [("a+", 0)]


def test_a_mistake_and_an_unknown_attribute_are_those_of_re():
    with pytest.raises(re.error):
        lazy_pattern("(").match("")
    with pytest.raises(AttributeError):
        lazy_pattern("a").no_such_method()
